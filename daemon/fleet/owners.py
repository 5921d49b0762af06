"""The worker's side that judges: parcels of all partitions -> the monitors of the models that it owns.

A model has one owner at a time, by lease. Its owner takes the events of all partitions in the order in which they
arrived, up to the watermark: the time before which nothing is still to come of any partition. So the outcome is that of
one log with these events in this order, however many workers there are. What it has taken is struck off in the
transaction that stores what came of it, and that holds the lease.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import structlog
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon import stored_state
from daemon.archive import Archive
from daemon.checkpoint import Fenced, Respond, Snapshot
from daemon.checkpoint_writer import MOST_HELD, NO_WAITING_MENDS, RETRY_SECONDS, CheckpointWriter
from daemon.events.rows import Rows
from daemon.fleet import exchange, leases, workers
from daemon.fleet.inbox import Inbox, Ready
from daemon.fleet.leases import MODEL
from daemon.fleet.outage import Outage
from daemon.fleet.watermark import watermark
from daemon.fleet.workers import Role
from daemon.models import Models
from daemon.monitoring.changes import Change
from daemon.monitoring.monitor import Monitor
from daemon.pipeline import in_thread
from daemon.stores import tables
from daemon.stores.engine import Store

log = structlog.get_logger(__name__)

POLL_SECONDS: Final = 0.3
"""Between two looks at what there is to take; what is read in this process is seen at once."""
CLAIM_SECONDS: Final = 2.0
"""Between two looks at which models there are, and who owns them."""
_parcel = tables.parcels.c


@dataclass(slots=True)
class _Owned:
    """What an owner has of one model beside its monitor."""

    inbox: Inbox
    changes: set[int] = field(default_factory=set)  # made, and not yet struck off
    made: set[int] = field(default_factory=set)  # and all: who reads while they are struck off may still see them


class Owners:
    """Owns some of the models, and takes what the readers have ready for them."""

    def __init__(
        self,
        store: Store,
        archive: Archive | None,
        make_monitor: Callable[[str], Monitor],
        respond: Respond,
        *,
        worker: str,
        clock: Callable[[], float],
        checkpoint_seconds: float,
        committed: Callable[[Snapshot], Awaitable[None]],
        claimed: Callable[[AsyncConnection, Sequence[str]], Awaitable[None]] | None = None,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._worker = worker
        self._clock = clock
        self._committed = committed
        self._claimed = claimed
        self._sleep = sleep
        self._writer = CheckpointWriter(store, archive, respond, clock, sleep, checkpoint_seconds)
        self._lock = asyncio.Lock()
        self._models = Models(make_monitor)
        self.monitors = self._models.monitors
        """Of the models that are owned here."""
        self._owned: dict[str, _Owned] = {}
        self._woken = asyncio.Event()
        self._last_taken = ""
        self._claimed_at = 0.0
        self._torn = False  # events were taken in part: what is in memory must not be stored

    def wake(self) -> None:
        """There may be something to take."""
        self._woken.set()

    @property
    def waits_for(self) -> str | None:
        """What the last checkpoint waits for, if it does: the store, which is away or full."""
        return self._writer.waits_for

    async def run(self) -> None:
        """Own and judge. Ends by being cancelled."""
        outage = Outage("judging")
        while True:
            self._woken.clear()
            worked = False
            try:
                worked = await self.step()
                outage.over()
            except Fenced as fenced:
                log.warning("another worker has taken over a model", detail=str(fenced))
            except NO_WAITING_MENDS:
                raise
            except (DBAPIError, OSError) as error:
                outage.met(error)
                await self._sleep(RETRY_SECONDS)
            if not worked:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), POLL_SECONDS)

    async def step(self) -> bool:
        """Do what is due. Returns whether there was anything to take. Raises Fenced, and what the store raises."""
        async with self._lock:
            if self._clock() - self._claimed_at >= CLAIM_SECONDS:
                await self._claim()
            worked = await self._take_what_is_ready()
            if self._writer.due:
                await self._begin_checkpoint()
            return worked

    async def flush(self) -> None:
        """Write a checkpoint if there is anything to write, and wait for it. Raises Fenced."""
        async with self._lock:
            await self._begin_checkpoint()
            await self._end_checkpoint()

    async def leave(self) -> None:
        """Let others own what was owned here. To be called after ``flush``, when ``run`` has ended."""
        async with self._lock:
            self._drop(list(self._owned))
            async with self._store.begin([]) as connection:
                await leases.give_all_back(connection, self._worker)

    # --- which models

    async def _claim(self) -> None:
        """Keep what is owned, take what nobody owns, and leave to others what is more than a fair share."""
        now = self._clock()
        async with self._store.read() as connection:
            here = await workers.all_workers(connection)
            named = await connection.execute(select(tables.models.c.model))
            models = set(named.scalars())
            for column in (_parcel.model, tables.changes.c.model):
                models |= set((await connection.execute(select(column).distinct())).scalars())
            holders = await leases.holders(connection, now)
        alive = {one.worker for one in here if Role.DETECT in one.roles and one.is_alive(now)} | {self._worker}
        fair = workers.share(len(models), len(alive))
        surplus = sorted(self._owned)[fair:]
        if surplus:
            await self._begin_checkpoint()
            await self._end_checkpoint()
            self._drop(surplus)
        free = [model for model in models if holders.get(MODEL + model, self._worker) == self._worker]
        wanted = sorted(set(free) - self._owned.keys() - set(surplus))[: max(0, fair - len(self._owned))]
        if wanted:
            # what is on its way to the store may be of a model that was lost, and that others have owned since: once
            # its lease is held again, nothing would tell that it is out of date
            await self._end_checkpoint()
        async with self._store.begin([]) as connection:
            await leases.give_back(connection, [MODEL + model for model in surplus], self._worker)
            kept = await leases.renew(connection, [MODEL + model for model in self._owned], self._worker, now)
            taken = await leases.take(connection, [MODEL + model for model in wanted], self._worker, now)
        lost = [model for model in self._owned if MODEL + model not in kept]
        if lost:
            log.warning("other workers have taken over", models=lost)
            self._drop(lost)
        await self._load([model for model in wanted if MODEL + model in taken])
        self._claimed_at = now

    async def _load(self, models: Sequence[str]) -> None:
        if not models:
            return
        async with self._store.read() as connection:
            loaded = await stored_state.load_monitors(connection, self._models.make, models)
            if self._claimed is not None:
                await self._claimed(connection, models)
        self._models.put(loaded)
        stored_state.warn_of_fresh_starts(monitor for monitor, _ in loaded)
        self._owned.update({model: _Owned(Inbox(model)) for model in models})
        log.info("owns", models=len(self._owned), new=list(models))

    def _drop(self, models: Sequence[str]) -> None:
        self._models.drop(models)
        for model in models:
            self._owned.pop(model, None)

    # --- their events

    async def _take_what_is_ready(self) -> bool:
        if not self._owned:
            return False
        async with self._store.read() as connection:
            if not await exchange.is_anything_waiting(connection):
                return False
            until = await watermark(connection, self._clock())
            for row in await connection.execute(select(tables.changes).where(tables.changes.c.model.in_(self._owned))):
                self._make(row.id, row.model, Change.from_bytes(row.data))
            some = select(_parcel.model).where(_parcel.model.in_(self._owned), _parcel.first < until).distinct()
            waiting = (await connection.execute(some)).scalars().all()
        worked = False
        # one after the other, and from there on next time: what is owned has to be claimed again in between
        for model in sorted(waiting, key=lambda one: (one <= self._last_taken, one)):
            worked = await self._take_some(model, until) or worked
            self._last_taken = model
            if self._clock() - self._claimed_at >= CLAIM_SECONDS or self._writer.held >= MOST_HELD:
                break
        return worked

    def _make(self, number: int, model: str, change: Change) -> None:
        owned = self._owned[model]
        if number not in owned.made:
            self._models.change(model, change)
            owned.changes.add(number)
            owned.made.add(number)

    async def _take_some(self, model: str, until: float) -> bool:
        """Take some of a model's events that arrived before ``until``."""
        async with self._store.read() as connection:
            ready = await self._owned[model].inbox.ready(connection, until)
        if ready is None:
            return False
        self._writer.held += len(ready)
        await in_thread(lambda: self._take(model, ready))
        return True

    def _take(self, model: str, ready: Ready) -> None:
        self._torn = True
        monitor = self._models.get(model)
        for batch in ready.batches():
            for rows in until_learned(batch, monitor):
                self._models.take(model, rows, ready.last)
        ready.done()
        self._torn = False

    # --- the checkpoint

    async def _begin_checkpoint(self) -> None:
        """Once the last one is written, write what has come since: in the background."""
        await self._end_checkpoint()
        now = self._writer.count_again()
        if self._torn or not self._models.changed:
            return
        monitors = self._models.snapshots(now)
        judging = exchange.Judging(self._worker, {}, [])
        for one in monitors:
            owned = self._owned[one.model]
            judging.taken |= owned.inbox.to_strike_off()
            judging.changes += owned.changes
        self._writer.begin(Snapshot({}, [], monitors, {}, judging=judging), self._stored)

    async def _stored(self, snapshot: Snapshot) -> None:
        assert snapshot.judging is not None  # noqa: S101 (this class has made it)
        for one in snapshot.monitors:
            owned = self._owned.get(one.model)
            if owned is not None:
                owned.inbox.forget(snapshot.judging.taken)
                owned.changes.difference_update(snapshot.judging.changes)
        await self._committed(snapshot)

    async def _end_checkpoint(self) -> None:
        try:
            await self._writer.end()
        except Fenced:
            # one of the models is another worker's: all are loaded again, by whoever owns them then
            self._drop(list(self._owned))
            self._writer.held, self._claimed_at = 0, 0.0
            raise


def until_learned(batch: Rows, monitor: Monitor) -> Iterator[Rows]:
    """Cut a batch where a reference may be complete: what follows is seen in the light of it, wherever a batch ends."""
    rest = batch
    while True:
        stop = _complete(rest, monitor.until_learned())
        if stop is None:
            break
        yield rest.between(-np.inf, stop)
        rest = rest.between(stop, np.inf)
    if any(part is not None for part in rest.parts()):
        yield rest


def _complete(rows: Rows, missing: tuple[int, int] | None) -> int | None:
    """The place behind the event with which a reference can be complete at the earliest."""
    if missing is None:
        return None
    features, predicted = missing
    stops = []
    predictions = rows.predictions
    if predictions is not None and 0 < predicted <= len(predictions):
        stops.append(int(predictions.order[predicted - 1]) + 1)
    carrying = [] if rows.features is None else [rows.features.order]
    if predictions is not None:
        which = predictions.with_features
        carrying.append(predictions.order if which is None else predictions.order[which])
    if carrying and 0 < features <= sum(map(len, carrying)):
        stops.append(int(np.sort(np.concatenate(carrying))[features - 1]) + 1)
    return min(stops, default=None)
