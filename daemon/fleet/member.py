"""One worker of a fleet: what it reads with, what it owns models with, and its signs of life."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.archive import Archive
from daemon.checkpoint import Fenced, Respond, Snapshot
from daemon.events.event import EventLimits
from daemon.fleet import leases, workers
from daemon.fleet.asking import AskOwner
from daemon.fleet.ingest import Ingest
from daemon.fleet.leases import MODEL
from daemon.fleet.outage import Outage
from daemon.fleet.owners import Owners
from daemon.fleet.watermark import heard_until
from daemon.fleet.workers import BEAT_SECONDS, Role, Worker
from daemon.monitoring.changes import Change
from daemon.monitoring.monitor import Monitor
from daemon.stores.engine import Store
from daemon.transports.base import Batch, TopicPartition

T = TypeVar("T")


class Stream(Protocol):
    """What a reader asks of the stream that it reads."""

    def caught_up(self) -> Mapping[TopicPartition, float]:
        """When each assigned partition was last read to its end, in epoch seconds."""
        ...

    def behind(self) -> Mapping[TopicPartition, int]:
        """How many records of each assigned partition are not read."""
        ...

    def partitions(self) -> Collection[TopicPartition]:
        """All partitions of the topics."""
        ...

    def begin_again(self) -> None:
        """Ask for the offsets anew."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the settings say of the events."""

    checkpoint_seconds: float
    most_models: int
    events: EventLimits


class FleetMember:
    """Does what ``daemon.pipeline.Pipeline`` does, as far as its roles go, with others beside it.

    ``stream`` answers the stream that is read, which is made after this. ``judged`` and ``stored`` are told of the
    checkpoints of what was judged and what was read; ``claimed`` of models that this worker has come to own.
    """

    def __init__(
        self,
        store: Store,
        archive: Archive | None,
        make_monitor: Callable[[str], Monitor],
        respond: Respond,
        *,
        worker: Worker,
        limits: Limits,
        stream: Callable[[], Stream | None],
        stored: Callable[[Mapping[TopicPartition, int], Snapshot], Awaitable[None]],
        judged: Callable[[Snapshot], Awaitable[None]],
        claimed: Callable[[AsyncConnection, Sequence[str]], Awaitable[None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._worker = worker
        self._stream = stream
        self._stored = stored
        self._clock = clock
        self._owners = Owners(
            store,
            archive,
            make_monitor,
            respond,
            worker=worker.worker,
            clock=clock,
            checkpoint_seconds=limits.checkpoint_seconds,
            committed=judged,
            claimed=claimed,
        )
        self._ingest = Ingest(
            store,
            worker=worker.worker,
            clock=clock,
            checkpoint_seconds=limits.checkpoint_seconds,
            most_models=limits.most_models,
            limits=limits.events,
            committed=self._have_stored,
            caught_up=lambda: self._ask(lambda one: one.caught_up(), {}),
            behind=lambda: self._ask(lambda one: one.behind(), {}),
            partitions=lambda: self._ask(lambda one: one.partitions(), set()),
            begin_again=lambda: self._ask(lambda one: one.begin_again(), None),
        )
        self._asks = AskOwner(store, self._owners.wake, clock=clock)
        self._leases: set[str] = set()
        self.monitors = self._owners.monitors
        """Of the models that are owned here."""

    def _ask(self, what: Callable[[Stream], T], otherwise: T) -> T:
        stream = self._stream()
        return otherwise if stream is None else what(stream)

    # --- as a pipeline

    async def load(self) -> None:
        """Be there."""
        await self._beat()

    async def offsets(self) -> Mapping[TopicPartition, int]:
        """See ``Ingest.offsets``."""
        return await self._ingest.offsets()

    def begin(self, offsets: Mapping[TopicPartition, int]) -> None:
        """See ``Ingest.begin``."""
        self._ingest.begin(offsets)

    async def hand_over(self) -> None:
        """See ``Ingest.hand_over``."""
        await self._ingest.hand_over()

    def foresee(self, batch: Batch) -> None:
        """See ``Ingest.foresee``."""
        self._ingest.foresee(batch)

    async def process(self, batch: Batch) -> None:
        """See ``Ingest.process``."""
        await self._ingest.process(batch)

    async def change(self, model: str, change: Change) -> None:
        """See ``daemon.monitoring.changes.Changes``."""
        await self._asks.change(model, change)

    @property
    def waits_for(self) -> str | None:
        """What a checkpoint waits for, if one does: the store, which is away or full."""
        return self._ingest.waits_for or self._owners.waits_for

    async def run(self) -> None:
        """Work as far as the roles go. Ends by being cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._be_there(), name="signs of life")
            if Role.INGEST in self._worker.roles:
                group.create_task(self._ingest.run(), name="reading")
            if Role.DETECT in self._worker.roles:
                group.create_task(self._owners.run(), name="judging")

    async def flush(self) -> None:
        """Store what is in memory, and let others go on: to be called when ``run`` and the stream have ended."""
        await self._ingest.flush()
        with suppress(Fenced):
            await self._owners.flush()
        await self._owners.leave()
        async with self._store.begin([]) as connection:
            await workers.leave(connection, self._worker.worker)

    # --- among others

    async def may(self, name: str) -> bool:
        """Whether this worker is the one that does what one worker does at a time: once it is, until it is gone."""
        async with self._store.begin([]) as connection:
            mine = bool(await leases.take(connection, [name], self._worker.worker, self._clock()))
        (self._leases.add if mine else self._leases.discard)(name)
        return mine

    @property
    def stored_offsets(self) -> Mapping[TopicPartition, int]:
        """The next offset of each partition that is read here, as of the last checkpoint."""
        return self._ingest.stored_offsets

    async def still_owns(self, connection: AsyncConnection, models: Collection[str]) -> set[str]:
        """Which of these models are this worker's, and stay so until this transaction ends.

        It may have slept for long, and others have taken over what it has in memory.
        """
        names = [MODEL + model for model in models]
        kept = await leases.renew(connection, names, self._worker.worker, self._clock())
        return {name.removeprefix(MODEL) for name in kept}

    async def heard_until(self, connection: AsyncConnection, now: float) -> Mapping[str, float]:
        """Of each model that is owned here the time up to which all that has arrived has been judged."""
        return await heard_until(connection, list(self.monitors), now)

    async def _have_stored(self, offsets: Mapping[TopicPartition, int], snapshot: Snapshot) -> None:
        self._owners.wake()
        await self._stored(offsets, snapshot)

    async def _be_there(self) -> None:
        outage = Outage("signs of life")
        while True:
            try:
                await self._beat()
                outage.over()
            except (DBAPIError, OSError) as error:
                outage.met(error)
            await asyncio.sleep(BEAT_SECONDS)

    async def _beat(self) -> None:
        now = self._clock()
        async with self._store.begin([]) as connection:
            await workers.beat(connection, replace(self._worker, seen=now))
            await workers.forget(connection, now)
            self._leases &= await leases.renew(connection, self._leases, self._worker.worker, now)
