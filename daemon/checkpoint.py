"""State and offsets, written together or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any, Final, Protocol

import msgspec
import structlog
from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.fleet import exchange, leases
from daemon.monitoring import charts
from daemon.monitoring.findings import Findings
from daemon.monitoring.monitor import Monitor
from daemon.monitoring.performance import classes_of, mean_of
from daemon.stores import tables
from daemon.stores.upsert import add_up, insert_new, upsert
from daemon.transports.base import TopicPartition
from detectors.columns import Stream
from detectors.reference import Reference
from detectors.regimes import Regime

log = structlog.get_logger(__name__)

STATE_VERSION: Final = 1

SCHEMA: Final = "schema"
"""The part of a model's state that says how its features are decoded: by the types that it has learned."""

REGIMES: Final = "regimes"
"""The part that holds the laws which a model's rows followed before."""

LABELLED: Final = "labelled"
"""The part that holds the rows which performance is measured on, but for their errors."""

SEGMENTS: Final = "segments"
"""The part that says how each segment does, as it is shown; beside it ``segments:STREAM``, from which it goes on."""

ESTIMATE: Final = "estimate"
"""The part that says how good the model is by its estimates, as it is shown; beside it ``estimate:PART``, from which
they go on."""

ELSEWHERE: Final = frozenset({"state", "created", "version"})
"""Columns of a model that are set with its first checkpoint, and from then on by others."""


class Fenced(RuntimeError):
    """Another worker has moved this partition's offset: what this one made of it since must be dropped."""


@dataclass(slots=True)
class Stored:
    """What the store has of a model already."""

    references: dict[Stream, Reference | None] = field(default_factory=dict)
    journals: dict[str, int] = field(default_factory=dict)  # number of the next chunk of each
    schema: dict[str, str] | None = None  # by which features are decoded
    regimes: tuple[Regime, ...] = ()


@dataclass(frozen=True, slots=True)
class JournalChunk:
    """What has changed in a join: a chunk may go once it speaks only of what is before ``horizon``."""

    number: int
    until: int
    horizon: int
    data: bytes


@dataclass(slots=True)
class MonitorSnapshot:
    """What one model adds to a checkpoint.

    The monitor itself may be further on already when this is written.
    """

    model: str
    monitor: Monitor
    findings: Findings
    row: dict[str, Any]
    states: dict[str, bytes]
    journals: dict[str, JournalChunk]
    signals: list[dict[str, Any]]
    learned: frozenset[Stream]  # the streams that have a reference
    waiting: int  # labels whose prediction has not come


@dataclass(slots=True)
class Snapshot:
    """Everything that one checkpoint writes, taken at one moment, so that writing it can be tried again.

    ``mark`` is one that no other checkpoint has: it tells, where the answer to a commit was lost, whether it was made.
    """

    offsets: dict[TopicPartition, tuple[int, int]]  # from, to
    dead: list[dict[str, Any]] = field(default_factory=list)
    monitors: list[MonitorSnapshot] = field(default_factory=list)
    rejected: dict[str, int] = field(default_factory=dict)  # dead letters by model, "" for those of no known one
    reading: exchange.Reading | None = None  # in a fleet, of a worker that reads
    judging: exchange.Judging | None = None  # and of one that owns models

    mark: str = field(default_factory=lambda: token_hex(8))

    @property
    def models(self) -> set[str]:
        """All whose rows it changes."""
        return {one.model for one in self.monitors} | self.rejected.keys()


class Respond(Protocol):
    """What follows from a model's findings, inside the checkpoint's transaction."""

    async def __call__(self, connection: AsyncConnection, found: MonitorSnapshot, now: float, /) -> None:
        """Raise alarms, decide, queue work and alerts.

        Called again with the same findings where the transaction failed.
        """
        ...


def snapshot_of(monitor: Monitor, stored: Stored, now: float) -> MonitorSnapshot:
    """Take what a model adds; ``stored`` is brought up to date."""
    findings = monitor.take_findings()
    signals = charts.rows_of(findings.measured, monitor.model)
    signals += charts.rows_of_estimates(findings.estimated, monitor.model)
    states = {"monitor": _packed({"v": STATE_VERSION, **monitor.state()})}
    if monitor.performance.labelled.changed:
        states[LABELLED] = _packed(monitor.performance.labelled.state())
        monitor.performance.labelled.changed = False
    for stream, window in monitor.windows.items():
        if window.changed:
            states[f"window:{stream}"] = _packed(window.state())
            window.changed = False
        if window.segments is not None and window.segments.changed:
            states[f"segments:{stream}"] = window.segments.state()
            window.segments.changed = False
        if stream not in stored.references or stored.references[stream] is not window.reference:
            states[f"reference:{stream}"] = _packed(None if window.reference is None else window.reference.to_dict())
            stored.references[stream] = window.reference
    if any(name.startswith("segments:") for name in states):
        states[SEGMENTS] = _packed(monitor.segment_report())
    if monitor.estimate is not None and monitor.estimate.changed:
        parts = monitor.estimate.take_parts()
        states |= {f"{ESTIMATE}:{name}": _packed(data) for name, data in parts.items()}
        states[ESTIMATE] = _packed(monitor.estimate.report(monitor.task))
        monitor.estimate.changed = False
    if (stored.schema or {}) != monitor.decoder.schema:
        states[SCHEMA] = _packed(dict(monitor.decoder.schema))
        stored.schema = dict(monitor.decoder.schema)
    if stored.regimes is not monitor.regimes:
        states[REGIMES] = _packed({"regimes": [one.to_dict() for one in monitor.regimes]})
        stored.regimes = monitor.regimes
    return MonitorSnapshot(
        monitor.model,
        monitor,
        findings,
        _row(monitor, now),
        states,
        _journals(monitor, stored),
        signals,
        frozenset(stream for stream, window in monitor.windows.items() if not window.learning),
        len(monitor.labels.early),
    )


def _packed(values: dict[str, Any] | None) -> bytes:
    return msgspec.msgpack.encode(values)


def schema_of(data: bytes) -> dict[str, str]:
    """The state's part that is called ``SCHEMA``."""
    schema: dict[str, str] = msgspec.msgpack.decode(data)
    return schema


def _journals(monitor: Monitor, stored: Stored) -> dict[str, JournalChunk]:
    chunks = {}
    for name, join in (("predictions", monitor.labels), ("features", monitor.seen_features)):
        data = join.take_journal()
        if data is not None:
            number = stored.journals.get(name, 0)
            stored.journals[name] = number + 1
            chunks[name] = JournalChunk(number, join.ids.next, join.ids.next - join.ids.most, data)
    return chunks


def _row(monitor: Monitor, now: float) -> dict[str, Any]:
    performance, outcome = None, monitor.windows[Stream.OUTCOME].reference
    if monitor.task is not None:
        error = None if outcome is None else mean_of(outcome, "error")
        classes = classes_of(monitor.windows[Stream.PREDICTION].reference)
        performance = monitor.performance.report(monitor.task, error, classes)
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


async def write(connection: AsyncConnection, snapshot: Snapshot) -> None:
    """Write a snapshot, but for alarms and archive. Raises Fenced where an offset is not what this worker left.

    Inside ``Store.begin`` of the snapshot's models.
    """
    if snapshot.judging is not None:
        await _take_over(connection, snapshot, snapshot.judging)
    if snapshot.reading is not None:
        await exchange.hand_over(connection, snapshot.reading)
    # in one order, so that two workers that both have taken the same partitions for theirs cannot wait for each other
    for target, (before, after) in sorted(snapshot.offsets.items()):
        await _move(connection, target, before, after, snapshot.mark)
    await insert_new(connection, tables.dead_letters, snapshot.dead)
    monitors = snapshot.monitors
    await upsert(connection, tables.models, [one.row for one in monitors], keep=ELSEWHERE)
    await add_up(connection, tables.counters, "value", _counts(snapshot))
    gauges = [{"model": one.model, "name": "waiting", "value": one.waiting} for one in monitors]
    await upsert(connection, tables.counters, gauges)
    states = [{"model": one.model, "part": part, "data": data} for one in monitors for part, data in one.states.items()]
    await upsert(connection, tables.states, states)
    await _write_journals(connection, monitors)
    signals = [row for one in monitors for row in one.signals]
    if signals:
        await connection.execute(insert(tables.signals), signals)


def _counts(snapshot: Snapshot) -> list[dict[str, Any]]:
    counts = [
        {"model": one.model, "name": name, "value": value}
        for one in snapshot.monitors
        for name, value in one.findings.counts.items()
        if value
    ]
    return counts + [
        {"model": model, "name": "dead_letters", "value": value} for model, value in snapshot.rejected.items()
    ]


async def is_written(connection: AsyncConnection, snapshot: Snapshot) -> bool:
    """Whether the store holds this snapshot already. Of one that moves no offset and relies on no lease: False."""
    partition = tables.partitions.c
    if await leases.is_marked(connection, snapshot.mark):
        return True
    return await connection.scalar(select(partition.topic).where(partition.mark == snapshot.mark).limit(1)) is not None


async def _move(connection: AsyncConnection, target: TopicPartition, before: int, after: int, mark: str) -> None:
    partition = tables.partitions.c
    here = (partition.topic == target.topic) & (partition.partition == target.partition)
    moved = await connection.execute(
        update(tables.partitions).where(here, partition.next_offset == before).values(next_offset=after, mark=mark)
    )
    if moved.rowcount:
        return
    first = {"topic": target.topic, "partition": target.partition, "next_offset": after, "mark": mark}
    if before == 0 and await insert_new(connection, tables.partitions, [first]):
        return
    stored = (await connection.execute(select(partition.next_offset).where(here))).scalar()
    raise Fenced(f"{target.topic}/{target.partition} stands at {stored}, not at {before}")


async def _take_over(connection: AsyncConnection, snapshot: Snapshot, judging: exchange.Judging) -> None:
    """Make sure that the models are still this worker's, and that nobody takes again what it has taken."""
    models = [one.model for one in snapshot.monitors]
    if not await leases.hold(connection, [leases.MODEL + model for model in models], judging.worker, snapshot.mark):
        raise Fenced(f"{judging.worker} has lost the lease of one of {', '.join(models)}")
    await exchange.take(connection, judging)


async def _write_journals(connection: AsyncConnection, monitors: Sequence[MonitorSnapshot]) -> None:
    chunks = [(one.model, name, chunk) for one in monitors for name, chunk in one.journals.items()]
    if not chunks:
        return
    await connection.execute(
        insert(tables.waiting),
        [
            {"model": model, "partition": name, "first": chunk.number, "rows": chunk.until, "data": chunk.data}
            for model, name, chunk in chunks
        ],
    )
    waiting = tables.waiting.c
    beyond = [
        {"in_model": model, "in_partition": name, "horizon": chunk.horizon}
        for model, name, chunk in chunks
        if chunk.horizon > 0
    ]
    if beyond:
        which = (waiting.model == bindparam("in_model")) & (waiting.partition == bindparam("in_partition"))
        await connection.execute(delete(tables.waiting).where(which, waiting.rows < bindparam("horizon")), beyond)
