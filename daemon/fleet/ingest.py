"""The worker's side that reads: batches of the log -> parcels for the owners of the models.

What it takes in is in memory only until a checkpoint writes the parcels and the dead letters in the transaction that
moves the offsets. A partition that another worker has taken over meanwhile refuses that transaction: then all that is
in memory is dropped, and read again from where the store says.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from daemon.checkpoint import Fenced, Snapshot
from daemon.checkpoint_writer import NO_WAITING_MENDS, RETRY_SECONDS, CheckpointWriter, what_is_wrong
from daemon.events.event import EventLimits
from daemon.events.reading import BatchReader
from daemon.events.rows import Rows
from daemon.fleet import exchange, parcels
from daemon.fleet.learned import LearnedModels
from daemon.fleet.outage import Outage
from daemon.fleet.watermark import watermark
from daemon.pipeline import aside
from daemon.stores.engine import Store
from daemon.stores.tables import partitions
from daemon.transports.base import Batch, TopicPartition

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 1.0
"""Between two looks at what the owners have learned of their models; and how often partitions that are read to their
end are said to be, while an owner may wait for that."""
QUIET_SECONDS: Final = 5.0
"""The same while nobody waits."""
MOST_READY: Final = 1_000_000
"""Events that may wait in the store for owners that could take them; from there on readers go slowly."""
BRAKE_SECONDS: Final = 1.0
"""Before each batch then. It is a brake and no bar: an owner may need what a slow partition has yet to bring."""


@dataclass(slots=True)
class _Parcel:
    """What has come of one model in one partition since the last checkpoint."""

    pieces: list[dict[str, Any]] = field(default_factory=list)
    first: float = 0.0
    last: float = 0.0
    events: int = 0


class Ingest:
    """Takes batches of the partitions that this worker has been given.

    ``partitions`` are all that there are, of which this worker reads some. ``caught_up`` answers for each of these when
    it was last read to its end, in epoch seconds, ``behind`` how many records it was not; ``begin_again`` has the
    stream ask ``offsets`` where to go on.
    """

    def __init__(
        self,
        store: Store,
        *,
        worker: str,
        clock: Callable[[], float],
        checkpoint_seconds: float,
        most_models: int,
        limits: EventLimits,
        committed: Callable[[Mapping[TopicPartition, int], Snapshot], Awaitable[None]],
        caught_up: Callable[[], Mapping[TopicPartition, float]],
        behind: Callable[[], Mapping[TopicPartition, int]],
        partitions: Callable[[], Collection[TopicPartition]],
        begin_again: Callable[[], None],
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._worker = worker
        self._clock = clock
        self._checkpoint_seconds = checkpoint_seconds
        self._committed = committed
        self._caught_up = caught_up
        self._behind = behind
        self._partitions = partitions
        self._begin_again = begin_again
        self._sleep = sleep
        self._writer = CheckpointWriter(store, None, None, clock, sleep, checkpoint_seconds)
        self._lock = asyncio.Lock()
        self._learned = learned = LearnedModels(limits, clock)
        self._reader = BatchReader(limits, most_models, lambda: learned.by_name, learned.make, learned.know, self._take)
        self._offsets: dict[TopicPartition, int] = {}  # as the store has them
        self._positions: dict[TopicPartition, int] = {}  # as memory has them
        self._arrived: dict[TopicPartition, float] = {}  # nothing to come counts as having arrived before
        self._stale = False  # what is being delivered is to be asked for anew
        self._no_offsets: str | None = None  # why the store could not say where to begin
        self._outage = Outage("reading")
        self._target = TopicPartition("", 0)  # of the batch in work
        self._clamped: tuple[Any, NDArray[np.float64]] = (None, np.empty(0))
        self._parcels: dict[tuple[str, TopicPartition], _Parcel] = {}
        self._looked_at = self._said_at = 0.0
        self._registered: set[TopicPartition] = set()
        self._owners_are_behind = False
        self._torn = False  # a batch was taken in part: what is in memory must not be stored

    # --- where it stands

    async def offsets(self) -> Mapping[TopicPartition, int]:
        """Where the stream is to begin, or to begin again, as the store says: others may have moved it on.

        A store that is away is waited for, without end.
        """
        while True:
            try:
                async with self._lock:
                    offsets = await self._ask_offsets()
            except NO_WAITING_MENDS:
                raise
            except (DBAPIError, OSError) as error:
                self._no_offsets = what_is_wrong(error)
                self._outage.met(error)
                await self._sleep(RETRY_SECONDS)
            else:
                self._no_offsets = None
                self._outage.over()
                return offsets

    async def _ask_offsets(self) -> dict[TopicPartition, int]:
        try:
            await self._write_all()
        except Fenced as fenced:
            log.info("drops what another worker has read", detail=str(fenced))
        async with self._store.begin([]) as connection:
            await exchange.expect(connection, self._partitions(), self._clock())
        async with self._store.read() as connection:
            rows = (await connection.execute(select(partitions))).all()
            await self._learned.look(connection)
        self._offsets = {TopicPartition(row.topic, row.partition): row.next_offset for row in rows}
        self._arrived = {TopicPartition(row.topic, row.partition): row.watermark or 0.0 for row in rows}
        self._registered = set(self._offsets)
        self._positions = {}
        self._stale = False
        return dict(self._offsets)

    def begin(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Hear which partitions are read, and from where on."""
        self._positions = dict(offsets)

    @property
    def stored_offsets(self) -> Mapping[TopicPartition, int]:
        """The next offset of each partition that is read here, as of the last checkpoint."""
        return {target: self._offsets.get(target, 0) for target in self._positions}

    @property
    def waits_for(self) -> str | None:
        """What the last checkpoint waits for, if it does, or the stream to begin: the store, which is away or full."""
        return self._writer.waits_for or self._no_offsets

    # --- the stream

    def foresee(self, batch: Batch) -> None:
        """Hear of a batch that is to come."""
        self._reader.foresee(batch)

    async def process(self, batch: Batch) -> None:
        """Take in a batch, and begin a checkpoint where one is due."""
        if self._owners_are_behind:
            await self._sleep(BRAKE_SECONDS)
        async with self._lock:
            if self._stale or batch.target not in self._positions:
                return  # it will be delivered again, here or to whoever reads its partition now
            await aside(lambda: self._take_batch(batch), batch)
            await self._guarded(self._begin_if_due)

    def _take_batch(self, batch: Batch) -> None:
        batch = batch.since(self._positions[batch.target])
        self._target = batch.target
        self._torn = True
        self._writer.held += self._reader.read(batch).events
        self._torn = False
        self._positions[batch.target] = batch.next_offset

    def _take(self, model: str, rows: Rows, arrivals: NDArray[np.float64]) -> None:
        self._learned.guess(model, rows)
        piece = parcels.piece_of(rows, self._never_falling(arrivals))
        parcel = self._parcels.setdefault((model, self._target), _Parcel())
        if not parcel.pieces:
            parcel.first = piece.first
        parcel.last = piece.last
        parcel.events += len(piece)
        parcel.pieces.append(parcels.plain(piece))

    def _never_falling(self, arrivals: NDArray[np.float64]) -> NDArray[np.float64]:
        """The arrivals of a batch, none before one that came before it, nor in the future: clocks of senders differ."""
        if self._clamped[0] is not arrivals:
            before = self._arrived.get(self._target, 0.0)
            known = np.minimum(np.maximum.accumulate(arrivals), max(self._clock(), before))
            clamped = np.maximum(known, before)
            self._clamped = (arrivals, clamped)
            self._arrived[self._target] = float(clamped[-1])
        return self._clamped[1]

    # --- the checkpoint

    async def flush(self) -> None:
        """Write a checkpoint if there is anything to write, and wait for it."""
        async with self._lock:
            await self._guarded(self._write_all)

    async def hand_over(self) -> None:
        """Store what is in memory of partitions that are taken away, and leave them alone from here on."""
        async with self._lock:
            await self._guarded(self._write_all)
            self._positions = {}

    async def _write_all(self) -> None:
        await self._begin_checkpoint()
        await self._end_checkpoint()

    async def run(self) -> None:
        """Write what the stream leaves behind when it falls silent, and tell others. Ends by being cancelled."""
        while True:
            await self._sleep(min(self._checkpoint_seconds, LOOK_SECONDS))
            try:
                async with self._lock:
                    await self._guarded(self._begin_if_due)
                    await self.tell()
                self._outage.over()
            except NO_WAITING_MENDS:
                raise
            except (DBAPIError, OSError) as error:
                self._outage.met(error)
                await self._sleep(RETRY_SECONDS)

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Fenced as fenced:
            log.warning("another worker has taken over a partition", detail=str(fenced))
            self._begin_again()

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
        if self._torn or not moved:
            return
        # before anything is let go of: this may be cancelled
        ready = await asyncio.to_thread(_rows, self._parcels)
        self._parcels = {}
        dead, rejected = self._reader.empty()
        watermarks = {target: self._arrived.get(target) if target in moved else None for target in self._positions}
        reading = exchange.Reading(self._worker, self._unknown(), watermarks, ready, now)
        self._writer.begin(Snapshot(moved, dead, [], rejected, reading), self._stored)

    async def _stored(self, snapshot: Snapshot) -> None:
        self._offsets.update({target: after for target, (_, after) in snapshot.offsets.items()})
        if snapshot.reading is not None:
            self._registered |= set(snapshot.reading.new_partitions)
        await self._committed(dict(self._offsets), snapshot)

    def _unknown(self) -> set[TopicPartition]:
        """Partitions of which the store may not know."""
        return {*self._partitions(), *self._positions} - self._registered

    async def _end_checkpoint(self) -> None:
        try:
            await self._writer.end()
        except Fenced:
            # whatever memory holds rests on a partition that is another worker's
            self._stale = True
            self._positions, self._parcels, self._writer.held = {}, {}, 0
            self._reader.empty()
            raise

    # --- what others are told, and what they have learned

    async def tell(self) -> None:
        """Say how far each partition is, and hear what the owners have learned, where it is time for that."""
        now = self._clock()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        async with self._store.read() as connection:
            wanted = await exchange.is_anything_waiting(connection)
            ready = await exchange.waiting_for_owners(connection, await watermark(connection, now)) if wanted else 0
        self._owners_are_behind = ready > MOST_READY
        if not wanted and now - self._said_at < QUIET_SECONDS:
            return
        self._said_at = now
        async with self._store.read() as connection:
            await self._learned.look(connection)
        read = self._caught_up()
        said: dict[TopicPartition, float | None] = {}
        for target, position in self._positions.items():
            stored = self._offsets.get(target, 0) == position
            at = read.get(target) if stored else None
            if at is not None:
                # what comes later counts as having come after this, whatever its sender's clock says
                self._arrived[target] = max(self._arrived.get(target, 0.0), min(at, now))
            said[target] = self._arrived.get(target) if stored else None
        unknown = self._unknown()
        async with self._store.begin([]) as connection:
            await exchange.register(connection, unknown, now)
            await exchange.still_reading(connection, self._worker, said, self._behind(), now)
        self._registered |= unknown


def _rows(found: Mapping[tuple[str, TopicPartition], _Parcel]) -> list[dict[str, Any]]:
    """Rows of the table."""
    return [
        {
            "model": model,
            "topic": target.topic,
            "partition": target.partition,
            "first": parcel.first,
            "last": parcel.last,
            "events": parcel.events,
            "taken": 0,
            "data": parcels.pack(parcel.pieces),
        }
        for (model, target), parcel in sorted(found.items())
    ]
