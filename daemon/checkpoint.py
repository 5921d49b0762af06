"""State and offsets, written together or not at all."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import RowMapping, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon import charts
from daemon.event import Rejected
from daemon.monitor import Findings, Monitor
from daemon.stores import tables
from daemon.stores.upsert import add_up, insert_new, upsert
from daemon.transports.base import TopicPartition
from detectors.columns import Stream
from detectors.reference import Reference

CHART_ROWS = 500
"""Least rows of a point in a chart: fewer would draw noise."""
STATE_VERSION = 1


class Fenced(RuntimeError):
    """Another worker has moved this partition's offset: what this one made of it since must be dropped."""


@dataclass(slots=True)
class Snapshot:
    """Everything that one checkpoint writes, taken at one moment, so that writing it can be tried again."""

    offsets: dict[TopicPartition, tuple[int, int]]  # from, to
    dead: list[dict[str, Any]] = field(default_factory=list)
    monitors: list["MonitorSnapshot"] = field(default_factory=list)
    rejected: dict[str, int] = field(default_factory=dict)  # dead letters by model


@dataclass(slots=True)
class MonitorSnapshot:
    """What one model adds to a checkpoint."""

    monitor: Monitor
    findings: Findings
    row: dict[str, Any]
    states: dict[str, bytes]
    journals: dict[str, bytes]
    signals: list[dict[str, Any]]
    learned: frozenset[Stream]  # the streams that have a reference


def dead_letter(rejected: Rejected, target: TopicPartition, offset: int, at: float) -> dict[str, Any]:
    """A row of the table ``dead_letters``."""
    return {
        "topic": target.topic,
        "partition": target.partition,
        "offset": offset,
        "line": rejected.line,
        "model": rejected.model,
        "reason": rejected.reason.value,
        "detail": rejected.detail,
        "body": rejected.body,
        "at": at,
    }


def snapshot_of(monitor: Monitor, written: dict[Stream, Reference | None], now: float) -> MonitorSnapshot:
    """Take what a model adds. ``written`` names the references that the store already has, and is brought up to date."""
    signals = []
    states = {"monitor": msgspec.msgpack.encode({"v": STATE_VERSION, **monitor.state()})}
    for stream, window in monitor.windows.items():
        chunk = window.take_chunk(CHART_ROWS)
        if chunk is not None:
            signals += charts.rows_of(chunk, monitor.model, monitor.version)
        states[f"window:{stream}"] = msgspec.msgpack.encode(window.state())
        if stream not in written or written[stream] is not window.reference:
            data = None if window.reference is None else window.reference.to_dict()
            states[f"reference:{stream}"] = msgspec.msgpack.encode(data)
            written[stream] = window.reference
    learned = frozenset(stream for stream, window in monitor.windows.items() if not window.learning)
    taken = {"predictions": monitor.labels.take_journal(), "features": monitor.seen_features.take_journal()}
    journals = {name: packed for name, packed in taken.items() if packed is not None}
    return MonitorSnapshot(monitor, monitor.take_findings(), _row(monitor, now), states, journals, signals, learned)


def _row(monitor: Monitor, now: float) -> dict[str, Any]:
    performance = None
    if monitor.task is not None:
        performance = monitor.performance.report(monitor.task, monitor.reference_error())
    return {
        "model": monitor.model,
        "task": monitor.task,
        "state": "learning",
        "version": monitor.version,
        "rows": monitor.rows,
        "first_ts": monitor.first_ts,
        "last_ts": monitor.last_ts,
        "last_label_ts": monitor.last_label_ts,
        "last_arrival": monitor.last_arrival,
        "performance": performance,
        "created": now,
    }


async def write(connection: AsyncConnection, snapshot: Snapshot, now: float) -> None:
    """Write a snapshot, but for alarms and archive. Raises Fenced where an offset is not what this worker left."""
    for target, (before, after) in snapshot.offsets.items():
        await _move(connection, target, before, after)
    await insert_new(connection, tables.dead_letters, snapshot.dead)
    monitors = snapshot.monitors
    await _models(connection, [one.row for one in monitors])
    counts = [
        {"model": one.monitor.model, "name": name, "value": value}
        for one in monitors
        for name, value in one.findings.counts.items()
        if value
    ]
    counts += [{"model": model, "name": "dead_letters", "value": value} for model, value in snapshot.rejected.items()]
    await add_up(connection, tables.counters, "value", counts)
    gauges = [{"model": one.monitor.model, "name": "waiting", "value": one.monitor.labels.early} for one in monitors]
    await upsert(connection, tables.counters, gauges)
    states = [
        {"model": one.monitor.model, "part": part, "data": data}
        for one in monitors
        for part, data in one.states.items()
    ]
    await upsert(connection, tables.states, states)
    await _journals(connection, monitors)
    signals = [row for one in monitors for row in one.signals]
    if signals:
        await connection.execute(insert(tables.signals), signals)


async def _move(connection: AsyncConnection, target: TopicPartition, before: int, after: int) -> None:
    partition = tables.partitions.c
    here = (partition.topic == target.topic) & (partition.partition == target.partition)
    moved = await connection.execute(
        update(tables.partitions).where(here, partition.next_offset == before).values(next_offset=after)
    )
    if moved.rowcount:
        return
    stored = (await connection.execute(select(partition.next_offset).where(here))).scalar()
    if stored is not None or before != 0:
        raise Fenced(f"{target.topic}/{target.partition} stands at {stored}, not at {before}")
    await connection.execute(
        insert(tables.partitions).values(topic=target.topic, partition=target.partition, next_offset=after)
    )


async def _models(connection: AsyncConnection, rows: Iterable[dict[str, Any]]) -> None:
    rows = list(rows)
    await insert_new(connection, tables.models, rows)
    kept = {"model", "state", "created", "version"}  # these change elsewhere
    for row in rows:
        await connection.execute(
            update(tables.models)
            .where(tables.models.c.model == row["model"])
            .values({name: value for name, value in row.items() if name not in kept})
        )


async def _journals(connection: AsyncConnection, monitors: Iterable[MonitorSnapshot]) -> None:
    waiting = tables.waiting.c
    for one in monitors:
        for name, packed in one.journals.items():
            last = (
                await connection.execute(
                    select(waiting.first)
                    .where(waiting.model == one.monitor.model, waiting.partition == name)
                    .order_by(waiting.first.desc())
                    .limit(1)
                )
            ).scalar()
            await connection.execute(
                insert(tables.waiting).values(
                    model=one.monitor.model,
                    partition=name,
                    first=0 if last is None else last + 1,
                    rows=one.monitor.rows,
                    data=packed,
                )
            )
        if one.journals:
            # a chunk may go once every prediction that it can speak of is beyond the horizon
            await connection.execute(
                delete(tables.waiting).where(
                    waiting.model == one.monitor.model,
                    waiting.rows < one.monitor.rows - one.monitor.labels.max_waiting,
                )
            )


async def load_offsets(connection: AsyncConnection) -> dict[TopicPartition, int]:
    """Where each partition goes on."""
    rows = (await connection.execute(select(tables.partitions))).all()
    return {TopicPartition(row.topic, row.partition): row.next_offset for row in rows}


async def load_monitors(
    connection: AsyncConnection, make_monitor: Callable[[str], Monitor]
) -> list[tuple[Monitor, dict[Stream, Reference | None]]]:
    """Every model's monitor at its last checkpoint, each with the references that the store has of it."""
    rows = (await connection.execute(select(tables.models))).mappings().all()
    versions = (await connection.execute(select(tables.versions.c.model, tables.versions.c.version))).all()
    loaded = []
    for row in rows:
        monitor = make_monitor(row["model"])
        written = await _load_monitor(connection, monitor, row)
        monitor.know_versions([version for model, version in versions if model == monitor.model])
        loaded.append((monitor, written))
    return loaded


async def _load_monitor(
    connection: AsyncConnection, monitor: Monitor, row: RowMapping
) -> dict[Stream, Reference | None]:
    states = tables.states.c
    found = (await connection.execute(select(states.part, states.data).where(states.model == monitor.model))).all()
    parts = {part: msgspec.msgpack.decode(data) for part, data in found}
    for name in ("rows", "first_ts", "last_label_ts"):
        setattr(monitor, name, row[name])
    monitor.last_ts = row["last_ts"] or 0.0
    monitor.last_arrival = row["last_arrival"] or 0.0
    written: dict[Stream, Reference | None] = {}
    if "monitor" in parts:
        monitor.restore(parts["monitor"], row["task"])
    for stream, window in monitor.windows.items():
        data = parts.get(f"reference:{stream}")
        written[stream] = None if data is None else Reference.from_dict(data)
        if f"window:{stream}" in parts:
            monitor.findings.afresh += window.restore(written[stream], parts[f"window:{stream}"])
    monitor.fit_decoder()
    waiting = tables.waiting.c
    chunks = await connection.execute(
        select(waiting.partition, waiting.data).where(waiting.model == monitor.model).order_by(waiting.first)
    )
    for partition, data in chunks:
        join = monitor.labels if partition == "predictions" else monitor.seen_features
        join.apply_journal(data)
    return written
