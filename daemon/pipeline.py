"""The way of an event, on one page.

    batch -> decode -> monitor (number, join, count, judge) -> findings -> checkpoint -> alarms, decisions, alerts
                 |  Rejected                                       |
            dead letters                                        archive

Everything between two checkpoints lives in memory; a checkpoint writes it, with the offsets that it came from, in one
transaction. After a crash the next start goes on from the stored offsets with the stored state, and comes to the same
outcome as an unbroken run.
"""

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import structlog
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon import checkpoint
from daemon.archive import Archive
from daemon.checkpoint import Fenced, MonitorSnapshot, Snapshot
from daemon.event import Event, Rejected, RejectReason, decode
from daemon.monitor import Monitor
from daemon.rows import Rows, from_events
from daemon.stores import tables
from daemon.stores.engine import Store
from daemon.transports.base import Batch, TopicPartition
from detectors.columns import Stream
from detectors.reference import Reference

log = structlog.get_logger(__name__)

RETRY_SECONDS = 1.0
MAX_RETRY_SECONDS = 30.0


class Respond(Protocol):
    """What follows from a model's findings, inside the checkpoint's transaction."""

    async def __call__(self, connection: AsyncConnection, found: MonitorSnapshot, now: float) -> None:
        """Raise alarms, decide, queue work and alerts."""
        ...


class Pipeline:
    """Takes batches in order and checkpoints what comes of them.

    ``process`` may wait for the database, as long as it is away, and so slows the stream down; it raises only what no
    waiting can mend.
    """

    def __init__(
        self,
        store: Store,
        archive: Archive | None,
        make_monitor: Callable[[str], Monitor],
        respond: Respond,
        *,
        clock: Callable[[], float],
        checkpoint_seconds: float,
        most_models: int,
        committed: Callable[[Mapping[TopicPartition, int], Snapshot], Awaitable[None]] | None = None,
    ) -> None:
        self._store = store
        self._archive = archive
        self._make_monitor = make_monitor
        self._respond = respond
        self._clock = clock
        self._checkpoint_seconds = checkpoint_seconds
        self._most_models = most_models
        self._committed = committed
        self._lock = asyncio.Lock()
        self.monitors: dict[str, Monitor] = {}
        self._written: dict[str, dict[Stream, Reference | None]] = {}
        self._offsets: dict[TopicPartition, int] = {}  # as the store has them
        self._positions: dict[TopicPartition, int] = {}  # as memory has them
        self._dirty: set[str] = set()
        self._dead: list[dict[str, object]] = []
        self._rejected: Counter[str] = Counter()
        self._last_checkpoint = 0.0

    # --- where it stands

    async def load(self) -> None:
        """Bring memory to where the last checkpoint left the store."""
        async with self._store.read() as connection:
            self._offsets = await checkpoint.load_offsets(connection)
            self._positions = dict(self._offsets)
            rows = (await connection.execute(select(tables.models))).mappings().all()
            versions = (await connection.execute(select(tables.versions.c.model, tables.versions.c.version))).all()
            self.monitors, self._written = {}, {}
            for row in rows:
                monitor = self._make_monitor(row["model"])
                self._written[monitor.model] = await checkpoint.load_monitor(connection, monitor, row)
                monitor.know_versions([version for model, version in versions if model == monitor.model])
                self.monitors[monitor.model] = monitor
                if monitor.findings.afresh:
                    log.warning("detectors start afresh", model=monitor.model, detectors=monitor.findings.afresh)
        self._dirty.clear()
        self._dead, self._rejected = [], Counter()

    async def offsets(self) -> Mapping[TopicPartition, int]:
        """The next offset of each partition, as stored."""
        return dict(self._offsets)

    # --- the stream

    async def process(self, batch: Batch) -> None:
        """Take in a batch, and write a checkpoint where one is due."""
        async with self._lock:
            self._take(batch.since(self._positions.get(batch.target, 0)))
            if self._clock() - self._last_checkpoint >= self._checkpoint_seconds:
                await self._write()

    async def flush(self) -> None:
        """Write a checkpoint if there is anything to write."""
        async with self._lock:
            await self._write()

    async def change(self, model: str, change: Callable[[Monitor], None]) -> None:
        """Change a model's monitor between two batches (another version, another reference), and store that."""
        async with self._lock:
            change(self._monitor(model))
            self._dirty.add(model)
            await self._write()

    async def run(self) -> None:
        """Write what the stream leaves behind when it falls silent. Ends by being cancelled."""
        while True:
            await asyncio.sleep(self._checkpoint_seconds)
            await self.flush()

    def _take(self, batch: Batch) -> None:
        decoded = decode([record.value for record in batch.records])
        for one in decoded.rejected:
            self._put_aside(one, batch, decoded.ends)
        by_model: dict[str, list[Event]] = {}
        for place, event in enumerate(decoded.events):
            if event.ts is None:
                event.ts = batch.records[bisect_right(decoded.ends, decoded.lines[place])].timestamp
            if event.model not in by_model and not self._room_for(event.model, len(by_model)):
                number = decoded.lines[place]
                detail = f"{self._most_models} models are watched already: DRIFTD_LIMITS__MODELS allows more"
                line = b"".join(record.value for record in batch.records).splitlines()[number : number + 1]
                self._put_aside(
                    Rejected(number, RejectReason.TOO_MANY_MODELS, detail, b"".join(line), event.model),
                    batch,
                    decoded.ends,
                )
                continue
            by_model.setdefault(event.model, []).append(event)
        arrival = batch.records[-1].timestamp if batch.records else 0.0
        for model, events in by_model.items():
            monitor = self._monitor(model)
            self.take(model, from_events(events, arrival, monitor.decoder), arrival)
        self._positions[batch.target] = batch.next_offset

    def take(self, model: str, rows: Rows, arrival: float) -> None:
        """Take in rows of one model that are decoded already: where history is replayed, this is the way in."""
        self._monitor(model).take(rows, arrival)
        self._dirty.add(model)

    def _monitor(self, model: str) -> Monitor:
        monitor = self.monitors.get(model)
        if monitor is None:
            monitor = self.monitors[model] = self._make_monitor(model)
            self._written[model] = {}
        return monitor

    def _room_for(self, model: str, new: int) -> bool:
        return model in self.monitors or len(self.monitors) + new < self._most_models

    def _put_aside(self, one: Rejected, batch: Batch, ends: Sequence[int]) -> None:
        place = bisect_right(ends, one.line)
        first = ends[place - 1] if place else 0
        record = batch.records[place]
        self._dead.append(
            checkpoint.dead_letter(one, batch.target, record.offset, one.line - first, record.timestamp)
        )
        if one.model in self.monitors:
            self._rejected[one.model] += 1
        log.warning("event put aside", reason=one.reason.value, detail=one.detail, offset=record.offset)

    # --- the checkpoint

    async def _write(self) -> None:
        self._last_checkpoint = self._clock()
        moved = {
            target: (self._offsets.get(target, 0), after)
            for target, after in self._positions.items()
            if self._offsets.get(target, 0) != after
        }
        if not (moved or self._dirty):
            return
        snapshot = Snapshot(
            moved,
            self._dead,
            [
                checkpoint.snapshot_of(self.monitors[model], self._written[model], self._last_checkpoint)
                for model in sorted(self._dirty)
            ],
            dict(self._rejected),
        )
        self._dead, self._rejected, self._dirty = [], Counter(), set()
        wait = RETRY_SECONDS
        while True:
            try:
                await self._commit(snapshot)
                break
            except Fenced as fenced:
                log.warning("another worker took over; loading its state", detail=str(fenced))
                await self.load()
                return
            except (DBAPIError, OSError) as error:
                # a full disk or a database that is away: nothing is lost, the stream waits with us
                log.error("checkpoint failed, trying again", error=str(error), seconds=wait)
                await asyncio.sleep(wait)
                wait = min(2 * wait, MAX_RETRY_SECONDS)
        self._offsets.update({target: after for target, (_, after) in moved.items()})
        if self._committed is not None:
            await self._committed(dict(self._offsets), snapshot)

    async def _commit(self, snapshot: Snapshot) -> None:
        now = self._clock()
        async with self._store.begin() as connection:
            await checkpoint.write(connection, snapshot, now)
            for one in snapshot.monitors:
                if self._archive is not None:
                    await self._archive.write(connection, one.monitor.model, one.monitor.task, one.findings, now)
                await self._respond(connection, one, now)
