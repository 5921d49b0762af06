"""What the last checkpoint stored, read again at a start or when a model comes to this worker."""

import asyncio
from collections.abc import Callable, Collection, Iterable

import msgspec
import structlog
from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.checkpoint import ESTIMATE, LABELLED, REGIMES, SCHEMA, SEGMENTS, Stored
from daemon.lifecycle.promotion import VersionState
from daemon.monitoring.monitor import Monitor
from daemon.stores import tables
from daemon.transports.base import TopicPartition
from detectors.reference import Reference
from detectors.regimes import Regime

log = structlog.get_logger(__name__)


async def load_offsets(connection: AsyncConnection) -> dict[TopicPartition, int]:
    """Where each partition goes on."""
    rows = (await connection.execute(select(tables.partitions))).all()
    return {TopicPartition(row.topic, row.partition): row.next_offset for row in rows}


async def load_monitors(
    connection: AsyncConnection, make_monitor: Callable[[str], Monitor], only: Collection[str] | None = None
) -> list[tuple[Monitor, Stored]]:
    """The monitor of every model at its last checkpoint, or of ``only`` some, each with what the store has of it."""
    models, of = select(tables.models), tables.versions.c
    ours = select(of.model, of.version).where(of.state != VersionState.SEEN)
    if only is not None:
        models, ours = models.where(tables.models.c.model.in_(only)), ours.where(of.model.in_(only))
    rows = (await connection.execute(models)).mappings().all()
    versions = (await connection.execute(ours)).all()
    loaded = []
    for row in rows:
        monitor = make_monitor(row["model"])
        stored = await _load_monitor(connection, monitor, row)
        monitor.know_versions([version for model, version in versions if model == monitor.model])
        loaded.append((monitor, stored))
    return loaded


def warn_of_fresh_starts(monitors: Iterable[Monitor]) -> None:
    """Say which detectors did not know what to do with what was stored of them."""
    for monitor in monitors:
        if monitor.findings.afresh:
            log.warning("detectors start afresh", model=monitor.model, detectors=monitor.findings.afresh)


async def _load_monitor(connection: AsyncConnection, monitor: Monitor, row: RowMapping) -> Stored:
    states = tables.states.c
    found = (await connection.execute(select(states.part, states.data).where(states.model == monitor.model))).all()
    packed: dict[str, bytes] = {row.part: row.data for row in found}
    parts = {part: msgspec.msgpack.decode(data) for part, data in packed.items() if not part.startswith(SEGMENTS)}
    monitor.rows, monitor.first_ts, monitor.last_label_ts = row["rows"], row["first_ts"], row["last_label_ts"]
    monitor.last_ts = row["last_ts"] or 0.0
    monitor.last_arrival = row["last_arrival"] or 0.0
    stored = Stored()
    if "monitor" in parts:
        monitor.restore(parts["monitor"], row["task"], parts.get(LABELLED))
    for stream, window in monitor.windows.items():
        data = parts.get(f"reference:{stream}")
        stored.references[stream] = None if data is None else Reference.from_dict(data)
        if f"window:{stream}" in parts:
            monitor.findings.afresh += window.restore(
                stored.references[stream], parts[f"window:{stream}"], packed.get(f"segments:{stream}")
            )
    if monitor.estimate is not None and f"{ESTIMATE}:" in parts:  # none in older releases
        own = {name.removeprefix(f"{ESTIMATE}:"): one for name, one in parts.items() if name.startswith(f"{ESTIMATE}:")}
        monitor.estimate.restore(own, monitor.windows)
    regimes = parts.get(REGIMES, {"regimes": ()})["regimes"]
    monitor.regimes = stored.regimes = tuple(Regime.from_dict(one) for one in regimes)
    monitor.fit_decoder()
    stored.schema = parts.get(SCHEMA)
    waiting = tables.waiting.c
    rows = await connection.execute(
        select(waiting.partition, waiting.first, waiting.data)
        .where(waiting.model == monitor.model)
        .order_by(waiting.first)
    )
    chunks = [(one.partition, one.first, one.data) for one in rows]
    # hundreds of thousands of ids: the event loop goes on meanwhile
    await asyncio.to_thread(_apply_journals, monitor, stored, chunks)
    return stored


def _apply_journals(monitor: Monitor, stored: Stored, chunks: Iterable[tuple[str, int, bytes]]) -> None:
    for partition, number, data in chunks:
        join = monitor.labels if partition == "predictions" else monitor.seen_features
        join.apply_journal(data)
        stored.journals[partition] = number + 1
