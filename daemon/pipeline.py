"""The way of an event, on one page, where one process does it all.

    batch -> decode -> monitor (number, join, count, judge) -> findings -> checkpoint -> alarms, decisions, alerts
                 |  Rejected                                       |
            dead letters                                        archive

Everything between two checkpoints lives in memory; a checkpoint writes it, with the offsets that it came from, in one
transaction, while the next batches are being taken in. After a crash the next start goes on from the stored offsets
with the stored state, and comes to the same outcome as an unbroken run.

Where several processes share the work, ``fleet.ingest`` is the part before the monitor and ``fleet.owners`` the rest.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final

import structlog
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon import stored_state
from daemon.archive import Archive
from daemon.checkpoint import Fenced, Respond, Snapshot
from daemon.checkpoint_writer import CheckpointWriter
from daemon.events.event import EventLimits
from daemon.events.reading import BatchReader, Taken
from daemon.events.rows import Rows
from daemon.models import Models
from daemon.monitoring.monitor import Monitor
from daemon.stores.engine import Store
from daemon.transports.base import Batch, TopicPartition

log = structlog.get_logger(__name__)

LARGE_BATCH: Final = 1 << 17
"""Bytes of events that take longer than a thread takes to start."""


async def aside(work: Callable[[], object], batch: Batch) -> None:
    """Do work on a batch, in a thread if it is a large one, so that the event loop goes on meanwhile."""
    if sum(len(record.value) for record in batch.records) < LARGE_BATCH:
        work()
    else:
        await in_thread(work)


async def in_thread(work: Callable[[], object]) -> None:
    """Do work in a thread, to its end even where this is cancelled: nobody else may change what it changes before."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


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
        loaded: Callable[[AsyncConnection], Awaitable[None]] | None = None,
        committed: Callable[[Mapping[TopicPartition, int], Snapshot], Awaitable[None]] | None = None,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        lag: Callable[[], int] = lambda: 0,
    ) -> None:
        self._store = store
        self._clock = clock
        self._lag = lag
        self._checkpoint_seconds = checkpoint_seconds
        self._loaded = loaded
        self._committed = committed
        self._sleep = sleep
        self._writer = CheckpointWriter(store, archive, respond, clock, sleep, checkpoint_seconds)
        self._lock = asyncio.Lock()
        self._models = Models(make_monitor)
        self.monitors = self._models.monitors
        self._reader = BatchReader(
            limits or EventLimits(),
            most_models,
            lambda: self.monitors,
            make_monitor,
            self._models.know,
            self._take,
        )
        self._offsets: dict[TopicPartition, int] = {}  # as the store has them
        self._positions: dict[TopicPartition, int] = {}  # as memory has them
        self._lost: set[TopicPartition] = set()
        self._torn = False  # a batch was taken in part: what is in memory must not be stored

    # --- where it stands

    async def load(self) -> None:
        """Bring memory to where the last checkpoint left the store."""
        async with self._store.read() as connection:
            self._offsets = await stored_state.load_offsets(connection)
            self._positions = dict(self._offsets)
            loaded = await stored_state.load_monitors(connection, self._models.make)
            if self._loaded is not None:
                await self._loaded(connection)
        self._models.drop(list(self.monitors))
        self._models.put(loaded)
        stored_state.warn_of_fresh_starts(self.monitors.values())
        self._reader.empty()
        self._writer.held = 0

    async def offsets(self) -> Mapping[TopicPartition, int]:
        """The next offset of each partition, as stored: where the stream is to begin, or to begin again."""
        self._lost.clear()
        return dict(self._offsets)

    @property
    def stored_offsets(self) -> Mapping[TopicPartition, int]:
        """The next offset of each partition, as of the last checkpoint."""
        return dict(self._offsets)

    async def may(self, name: str) -> bool:  # noqa: ARG002 (a fleet's members have to ask)
        """Whether this process is the one that does what one does at a time: there is no other."""
        return True

    async def still_owns(self, connection: AsyncConnection, models: Collection[str]) -> Collection[str]:  # noqa: ARG002
        """Which of these models may be written of what memory says: all."""
        return models

    async def heard_until(self, connection: AsyncConnection, now: float) -> Mapping[str, float]:  # noqa: ARG002
        """Of each model the time up to which all that has arrived has been judged.

        While events wait in the log, that is when the last one arrived that was taken from it.
        """
        if self._lag():
            now = min(now, max((one.last_arrival for one in self.monitors.values()), default=0.0))
        return dict.fromkeys(self.monitors, now)

    async def hand_over(self) -> None:
        """Store what was read, as partitions are taken away. Raises Fenced."""
        await self.flush()

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
        self._reader.foresee(batch)

    async def process(self, batch: Batch) -> None:
        """Take in a batch, and begin a checkpoint where one is due. Raises Fenced where another worker took over."""
        async with self._lock:
            if batch.target in self._lost:
                raise Fenced(f"{batch.target.topic}/{batch.target.partition} is another worker's: begin again")
            await aside(lambda: self.take_batch(batch), batch)
            await self._begin_if_due()

    async def flush(self) -> None:
        """Write a checkpoint if there is anything to write, and wait for it. Raises Fenced."""
        async with self._lock:
            await self._begin_checkpoint()
            await self._end_checkpoint()

    async def change(self, model: str, change: Callable[[Monitor], None]) -> None:
        """Change a model's monitor between two batches (another version, another reference), and store that."""
        async with self._lock:
            self._models.change(model, change)
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
        self._torn = True
        taken = self._reader.read(batch)
        self._torn = False
        self._writer.held += taken.events
        self._positions[batch.target] = batch.next_offset
        return taken

    def _take(self, model: str, rows: Rows, arrivals: NDArray[Any]) -> None:
        self._models.take(model, rows, float(arrivals[-1]))

    def take(self, model: str, rows: Rows, arrival: float) -> None:
        """Take in rows of one model that are decoded already: where history is replayed, this is the way in."""
        self._models.take(model, rows, arrival)

    # --- the checkpoint

    async def _begin_if_due(self) -> None:
        if self._writer.due:
            await self._begin_checkpoint()

    async def _begin_checkpoint(self) -> None:
        """Once the last one is written, write what has come since: in the background."""
        await self._end_checkpoint()
        now = self._writer.count_again()
        moved = {
            target: (self._offsets.get(target, 0), after)
            for target, after in self._positions.items()
            if self._offsets.get(target, 0) != after
        }
        if self._torn or not (moved or self._models.changed):
            return
        monitors = self._models.snapshots(now)
        dead, rejected = self._reader.empty()
        self._writer.begin(Snapshot(moved, dead, monitors, rejected), self._stored)

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
