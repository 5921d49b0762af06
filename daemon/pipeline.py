"""The way of an event, on one page.

    batch -> decode -> monitor (number, join, count, judge) -> findings -> checkpoint -> alarms, decisions, alerts
                 |  Rejected                                       |
            dead letters                                        archive

Everything between two checkpoints lives in memory; a checkpoint writes it, with the offsets that it came from, in one
transaction, while the next batches are being taken in. After a crash the next start goes on from the stored offsets
with the stored state, and comes to the same outcome as an unbroken run.
"""

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon import checkpoint
from daemon.archive import Archive
from daemon.checkpoint import Fenced, MonitorSnapshot, Snapshot, Stored
from daemon.checkpoint_writer import CheckpointWriter
from daemon.events.ahead import Ahead
from daemon.events.event import EventDecoder, EventLimits, Rejected
from daemon.events.intake import Intake, chunks
from daemon.events.rows import Rows
from daemon.monitoring.monitor import Monitor
from daemon.stores.engine import Store
from daemon.transports.base import Batch, TopicPartition

log = structlog.get_logger(__name__)

MOST_HELD: Final = 100_000
"""Events that may be in memory only, while the store is slow to take the ones before them."""

LARGE_BATCH: Final = 1 << 17
"""Bytes of events that take longer than a thread takes to start."""


class Respond(Protocol):
    """What follows from a model's findings, inside the checkpoint's transaction."""

    async def __call__(self, connection: AsyncConnection, found: MonitorSnapshot, now: float, /) -> None:
        """Raise alarms, decide, queue work and alerts.

        Called again with the same findings where the transaction failed.
        """
        ...


@dataclass(slots=True)
class Taken:
    """How many events a batch held, and what was put aside; ``Rejected.value`` is the place of the record."""

    events: int
    rejected: list[Rejected]


@contextmanager
def no_collection() -> Iterator[None]:
    """A batch makes hundreds of thousands of objects, and no cycles: a look for garbage among them finds nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Pipeline:
    """Takes batches in order and checkpoints what comes of them.

    ``process`` may wait for the database, as long as it is away, and so slows the stream down; it raises only what no
    waiting can mend. After Fenced, batches are refused until ``offsets`` is asked where to begin again.
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
        limits: EventLimits | None = None,
        committed: Callable[[Mapping[TopicPartition, int], Snapshot], Awaitable[None]] | None = None,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._make_monitor = make_monitor
        self._clock = clock
        self._checkpoint_seconds = checkpoint_seconds
        self._most_models = most_models
        self._committed = committed
        self._sleep = sleep
        self._decoder = EventDecoder(limits or EventLimits())
        self._writer = CheckpointWriter(store, archive, respond, clock, sleep)
        self._lock = asyncio.Lock()
        self.monitors: dict[str, Monitor] = {}
        self._in_store: dict[str, Stored] = {}
        self._offsets: dict[TopicPartition, int] = {}  # as the store has them
        self._positions: dict[TopicPartition, int] = {}  # as memory has them
        self._lost: set[TopicPartition] = set()
        self._dirty: set[str] = set()
        self._dead: list[dict[str, object]] = []
        self._rejected: Counter[str] = Counter()
        self._held = 0
        self._ahead = Ahead(limits or EventLimits())
        self._alone = ""  # the model of which all the last events were
        self._last_checkpoint = 0.0

    # --- where it stands

    async def load(self) -> None:
        """Bring memory to where the last checkpoint left the store."""
        async with self._store.read() as connection:
            self._offsets = await checkpoint.load_offsets(connection)
            self._positions = dict(self._offsets)
            loaded = await checkpoint.load_monitors(connection, self._make_monitor)
        self.monitors = {monitor.model: monitor for monitor, _ in loaded}
        self._in_store = {monitor.model: stored for monitor, stored in loaded}
        for monitor in self.monitors.values():
            if monitor.findings.afresh:
                log.warning("detectors start afresh", model=monitor.model, detectors=monitor.findings.afresh)
        self._dirty.clear()
        self._dead, self._rejected, self._held = [], Counter(), 0

    async def offsets(self) -> Mapping[TopicPartition, int]:
        """The next offset of each partition, as stored: where the stream is to begin, or to begin again."""
        self._lost.clear()
        return dict(self._offsets)

    @property
    def waits_for(self) -> str | None:
        """What the last checkpoint waits for, if it does: the store, which is away or full."""
        return self._writer.waits_for

    # --- the stream

    def begin(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Hear where the stream begins. That is before a stored offset only where the log was made anew."""
        for target, offset in offsets.items():
            if offset < self._offsets.get(target, 0):
                self._positions[target] = offset

    def foresee(self, batch: Batch) -> None:
        """Hear of a batch that is to come, and begin to decode it while the ones before it are worked on."""
        self._ahead.begin(batch)

    async def process(self, batch: Batch) -> None:
        """Take in a batch, and begin a checkpoint where one is due. Raises Fenced where another worker took over."""
        async with self._lock:
            if batch.target in self._lost:
                raise Fenced(f"{batch.target.topic}/{batch.target.partition} is another worker's: begin again")
            await self._take_aside(batch)
            await self._begin_if_due()

    async def _take_aside(self, batch: Batch) -> None:
        """Take a large batch in a thread, so that the event loop goes on meanwhile."""
        if sum(len(record.value) for record in batch.records) < LARGE_BATCH:
            self.take_batch(batch)
            return
        work = asyncio.ensure_future(asyncio.to_thread(self.take_batch, batch))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait({work})  # nobody else may change the monitors before that
            raise

    async def flush(self) -> None:
        """Write a checkpoint if there is anything to write, and wait for it. Raises Fenced."""
        async with self._lock:
            await self._begin_checkpoint()
            await self._end_checkpoint()

    async def change(self, model: str, change: Callable[[Monitor], None]) -> None:
        """Change a model's monitor between two batches (another version, another reference), and store that."""
        async with self._lock:
            change(self._monitor(model))
            self._dirty.add(model)
            await self._begin_checkpoint()
            await self._end_checkpoint()

    async def run(self) -> None:
        """Write what the stream leaves behind when it falls silent. Ends by being cancelled."""
        while True:
            await self._sleep(self._checkpoint_seconds)
            try:
                async with self._lock:
                    await self._begin_if_due()
            except Fenced as fenced:
                log.warning("another worker took over", detail=str(fenced))

    def take_batch(self, batch: Batch) -> Taken:
        """Take in what is new of a batch, without a checkpoint."""
        batch = batch.since(self._positions.get(batch.target, 0))
        taken = Taken(0, [])
        with no_collection():
            decoded = self._ahead.decoded(self.monitors.get(self._alone), batch)
            if decoded is not None:
                rows, taken.events = decoded
                self.take(self._alone, rows, batch.records[-1].timestamp)
            else:
                for first, part in chunks(batch):
                    taken.events += self._take_part(part, first, taken.rejected)
        self._held += taken.events
        self._positions[batch.target] = batch.next_offset
        if taken.rejected:
            one = taken.rejected[0]
            log.warning(
                "events put aside",
                count=len(taken.rejected),
                reason=one.reason.value,
                detail=one.detail,
                offset=batch.records[one.value].offset,
            )
        return taken

    def _take_part(self, batch: Batch, first: int, rejected: list[Rejected]) -> int:
        alone = self.monitors.get(self._alone)
        intake = Intake.of(batch, self._decoder, None if alone is None else alone.decoder.known(alone.model))
        met: dict[str, tuple[int, int]] = dict.fromkeys(self.monitors, (-1, -1))
        if len(intake.by_model) != 1:
            self._alone = ""
            self._ahead.forget()
        for model in intake.by_model:
            if model not in self.monitors and len(self.monitors) >= self._most_models:
                intake.refuse(model, self._most_models)
                continue
            monitor = self.monitors.get(model) or self._make_monitor(model)
            for rows in intake.rows(model, monitor):
                self._know(monitor)  # not before there is a row of it
                self.take(model, rows, intake.arrival)
                met.setdefault(model, intake.place(model))
                if len(intake.by_model) == 1:
                    self._alone = model
                    self._ahead.learn(monitor, rows, numeric_times=intake.decoded.numeric_times)
        for one in intake.rejected:
            known = one.model is not None and one.model in met and met[one.model] < (one.value, one.line)
            self._put_aside(one, batch, one.model if known and one.model else "")
            rejected.append(replace(one, value=first + one.value))
        return len(intake)

    def take(self, model: str, rows: Rows, arrival: float) -> None:
        """Take in rows of one model that are decoded already: where history is replayed, this is the way in."""
        self._monitor(model).take(rows, arrival)
        self._dirty.add(model)

    def _monitor(self, model: str) -> Monitor:
        if model not in self.monitors:
            self._know(self._make_monitor(model))
        return self.monitors[model]

    def _know(self, monitor: Monitor) -> None:
        self.monitors.setdefault(monitor.model, monitor)
        self._in_store.setdefault(monitor.model, Stored())

    def _put_aside(self, one: Rejected, batch: Batch, model: str) -> None:
        record = batch.records[one.value]
        self._dead.append(checkpoint.dead_letter(one, batch.target, record.offset, record.timestamp))
        self._rejected[model] += 1

    # --- the checkpoint

    async def _begin_if_due(self) -> None:
        """Begin a checkpoint if it is time, and leave the last one the time that it takes while memory allows it."""
        due = self._clock() - self._last_checkpoint >= self._checkpoint_seconds
        if due and (self._writer.idle or self._held >= MOST_HELD):
            await self._begin_checkpoint()

    async def _begin_checkpoint(self) -> None:
        """Once the last one is written, write what has come since: in the background."""
        await self._end_checkpoint()
        self._last_checkpoint = self._clock()
        moved = {
            target: (self._offsets.get(target, 0), after)
            for target, after in self._positions.items()
            if self._offsets.get(target, 0) != after
        }
        if not (moved or self._dirty):
            return
        monitors = [
            checkpoint.snapshot_of(self.monitors[model], self._in_store[model], self._last_checkpoint)
            for model in sorted(self._dirty)
        ]
        self._writer.begin(Snapshot(moved, self._dead, monitors, dict(self._rejected)), self._stored)
        self._dead, self._rejected, self._dirty, self._held = [], Counter(), set(), 0

    async def _stored(self, snapshot: Snapshot) -> None:
        self._offsets.update({target: after for target, (_, after) in snapshot.offsets.items()})
        if self._committed is not None:
            await self._committed(dict(self._offsets), snapshot)

    async def _end_checkpoint(self) -> None:
        try:
            await self._writer.end()
        except Fenced:
            # whatever memory holds rests on a partition that is another worker's
            self._lost |= self._positions.keys()
            await self.load()
            raise
