"""Lets go of what is older than the settings keep."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.lifecycle.job_folder import Places
from daemon.lifecycle.jobs import ACTIVE
from daemon.lifecycle.policy import DAY_SECONDS
from daemon.lifecycle.promotion import VersionState
from daemon.lifecycle.pruning import prune
from daemon.logs import get_logger
from daemon.stores.engine import Store
from daemon.stores.retention import delete_in_parts
from daemon.stores.tables import jobs, models, signals, slots, versions
from retrain.storage.base import JOBS

SLOT_DAYS: Final = 30.0
OVER: Final = (VersionState.REJECTED, VersionState.WITHDRAWN)
"""States of a version whose reference nobody needs any more."""

log = get_logger("daemon.lifecycle.housekeeping")


@dataclass(frozen=True, slots=True)
class Keep:
    """For how many days to keep what of a model, and of how many of its versions the files."""

    signal_days: float = 90.0
    archive_days: float = 90.0
    versions: int = 20


Expire = Callable[[str, float], Awaitable[object]]
"""Forgets the archived events of a model that are older than a time: ``Archive.expire``."""
Sweep = Callable[[float], Awaitable[object]]
"""Removes what crashes have left in the archive; told the time: ``Archive.sweep``."""


class Housekeeping:
    """Deletes old measurements, archived events, files of versions, folders of retrains and taken cron times."""

    def __init__(self, store: Store, places: Places, keep: Callable[[str], Keep], expire: Expire, sweep: Sweep) -> None:
        self._store = store
        self._places = places
        self._keep = keep
        self._expire = expire
        self._sweep = sweep

    async def __call__(self, now: float) -> None:
        """Do it all. What is cut short by a crash is done the next time."""
        async with self._store.read() as connection:
            known = (await connection.execute(select(models.c.model))).scalars().all()
            folders = await self._folders(connection, now)
        for model in known:
            keep = self._keep(model)
            old = (signals.c.model == model) & (signals.c.ts < now - keep.signal_days * DAY_SECONDS)
            await delete_in_parts(self._store, signals, old)
            await self._expire(model, now - keep.archive_days * DAY_SECONDS)
            await prune(self._store, self._places, model, keep.versions)
        await self._sweep(now)
        for folder in folders:
            await asyncio.to_thread(self._remove, folder)
        async with self._store.begin() as connection:
            same = slots.alias()
            newest = select(func.max(same.c.slot)).where(same.c.job == slots.c.job).scalar_subquery()
            old = slots.c.slot < now - SLOT_DAYS * DAY_SECONDS
            await connection.execute(delete(slots).where(old, slots.c.slot < newest))  # the last says what was done
        log.info("old things let go", folders=len(folders))

    async def _folders(self, connection: AsyncConnection, now: float) -> list[Path]:
        """Folders of retrains that are over, old, and not those of a version that may still be served."""
        needed = select(versions.c.job).where(versions.c.job.is_not(None), versions.c.state.not_in(OVER))
        query = select(jobs.c.id, jobs.c.model, jobs.c.finished).where(
            jobs.c.state.not_in(ACTIVE), jobs.c.id.not_in(needed), jobs.c.finished.is_not(None)
        )
        rows = (await connection.execute(query)).all()
        old = [row.id for row in rows if row.finished < now - self._keep(row.model).archive_days * DAY_SECONDS]
        there = await asyncio.to_thread(self._there)
        return [self._places.job(number) for number in old if str(number) in there]

    def _there(self) -> set[str]:
        """The names of the folders, on this machine and in what all nodes see."""
        names = {path.name for path in self._places.jobs.glob("*")}
        if self._places.shared:
            names |= {one.name.split("/")[1] for one in self._places.storage.files(JOBS)}
        return names

    def _remove(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        if self._places.shared:
            for one in self._places.storage.files(f"{JOBS}/{folder.name}"):
                self._places.storage.remove(one.name)
