"""Cron work: each time of each entry is worked on once, by one process, and not missed for a restart.

APScheduler 3 gives the times and nothing else: its job store is memory, what is to be done is declared at each start,
and a row of the store for each (entry, time), written before the work, says that it is taken. A time that passed while
no daemon ran is made up for at the next start, once.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import func, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.lifecycle import cron
from daemon.lifecycle.triggers import Triggers
from daemon.logs import get_logger
from daemon.stores.engine import Store, first_line
from daemon.stores.tables import models, slots

if TYPE_CHECKING:
    from apscheduler.schedulers.asyncio import AsyncIOScheduler
    from apscheduler.triggers.base import BaseTrigger

RETRY_SECONDS: Final = 30.0
FINISH_SECONDS: Final = 10.0

log = get_logger("daemon.lifecycle.schedule")

Inside = Callable[[AsyncConnection, float], Awaitable[None]]
After = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something to do at certain times, under a name that stays the same over restarts.

    ``inside`` works in the transaction that takes the time, and so exactly once; ``after`` works after it, and has to
    be harmless to leave undone.
    """

    name: str
    times: str
    """Five cron fields."""
    inside: Inside | None = None
    after: After | None = None


def retrains(crons: Iterable[str], cron_of: Callable[[str], str | None], triggers: Triggers) -> list[Entry]:
    """Make an entry for each of ``crons``, at whose times the models train whose setting it is."""

    def entry(times: str) -> Entry:
        async def ask(connection: AsyncConnection, now: float) -> None:
            for name in (await connection.execute(select(models.c.model).order_by(models.c.model))).scalars().all():
                if cron_of(name) == times:
                    await triggers.schedule(connection, name, now)

        return Entry(name=f"retrain at {times}", times=times, inside=ask)

    return [entry(times) for times in sorted(set(crons))]


class Schedule:
    """Does the work of ``entries`` at their times, which are those of the time zone ``zone``."""

    def __init__(
        self, store: Store, entries: Sequence[Entry], *, zone: str = "UTC", clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._zone = zone
        self._clock = clock
        self._entries = {entry.name: entry for entry in entries}
        self._triggers: dict[str, BaseTrigger] = {entry.name: cron.parse(entry.times, zone) for entry in entries}
        self._stopping = asyncio.Event()
        self._working: set[asyncio.Task[bool]] = set()

    def stop(self) -> None:
        """Start nothing more."""
        self._stopping.set()

    async def run(self) -> None:
        """Do what is due until stopped."""
        if not self._entries:
            return
        for name in self._entries:
            await self.make_up(name)
        scheduler = self.scheduler()
        scheduler.start()
        try:
            await self._stopping.wait()
        finally:
            scheduler.shutdown(wait=False)
            await self.finish()

    async def finish(self) -> None:
        """Wait for the work under way: a store must not be closed under a transaction."""
        if self._working:
            _, late = await asyncio.wait(self._working, timeout=FINISH_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def scheduler(self) -> "AsyncIOScheduler":
        """Declare the entries: late is better than never, and one run makes up for many."""
        from apscheduler.jobstores.memory import MemoryJobStore
        from apscheduler.schedulers.asyncio import AsyncIOScheduler

        scheduler = AsyncIOScheduler(
            jobstores={"default": MemoryJobStore()},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone=self._zone,
        )
        for name, trigger in self._triggers.items():
            scheduler.add_job(self._fire, trigger, args=[name], id=name, name=name)
        return scheduler

    async def due(self, name: str) -> bool:
        """Do the work of an entry for its last time, unless that is taken. Returns whether it was done."""
        slot = cron.latest(self._triggers[name], self._clock())
        return slot is not None and await self._insist(name, lambda: self._work(self._entries[name], slot))

    async def _insist(self, name: str, work: Callable[[], Awaitable[bool]]) -> bool:
        """Try again while the store is away, until stopped."""
        while not self._stopping.is_set():
            try:
                return await work()
            except (DBAPIError, OSError) as error:
                log.warning("cron work has to wait", entry=name, error=first_line(error))
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), RETRY_SECONDS)
        return False

    async def _fire(self, name: str) -> None:
        """Do what is due in a task that the scheduler's own end does not cancel."""
        task = asyncio.create_task(self.due(name), name=name)
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        await asyncio.shield(task)

    async def make_up(self, name: str) -> bool:
        """Do the work of an entry if a time of it has passed since it was last done; not for a new entry."""
        slot = cron.latest(self._triggers[name], self._clock())
        if slot is None or not await self._insist(name, lambda: self._is_behind(name, slot)):
            return False
        return await self.due(name)

    async def _is_behind(self, name: str, slot: float) -> bool:
        async with self._store.begin() as connection:
            last = (await connection.execute(select(func.max(slots.c.slot)).where(slots.c.job == name))).scalar()
            if last is None:
                await _take(connection, name, slot)
        return last is not None and last < slot

    async def _work(self, entry: Entry, slot: float) -> bool:
        now = self._clock()
        async with self._store.begin() as connection:
            if not await _take(connection, entry.name, slot):
                return False
            log.info("cron work", entry=entry.name)
            if entry.inside is not None:
                await entry.inside(connection, now)
        if entry.after is not None:
            await entry.after(now)
        return True


async def _take(connection: AsyncConnection, name: str, slot: float) -> bool:
    """Take a time of an entry, before anything is done about it. False: somebody else has."""
    try:
        async with connection.begin_nested():
            await connection.execute(insert(slots).values(job=name, slot=slot))
    except IntegrityError:
        return False
    return True
