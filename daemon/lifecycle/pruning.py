"""Removes the files of versions that nobody will serve any more; what is known of them stays in the store."""

import asyncio
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.lifecycle.job_folder import Places
from daemon.lifecycle.promotion import VersionState
from daemon.logs import get_logger
from daemon.stores.engine import Store
from daemon.stores.tables import versions
from retrain.publication import published, withdraw
from retrain.registry import Registry, safe_name

NEEDED: Final = (VersionState.CHAMPION, VersionState.DEPLOYING, VersionState.AWAITING)
"""In service, or on their way into it."""

log = get_logger("daemon.lifecycle.pruning")


async def prune(store: Store, places: Places, model: str, most: int) -> None:
    """Keep the files of the newest ``most`` versions that were made of ``model``, and of those that are needed.

    Needed are the version in service, the one before it, and those that wait or are being deployed. The store knows
    that the files are gone before they are, so that nobody deploys half of a version; what a crash leaves of them goes
    the next time.
    """
    registry = Registry(places.models)
    async with store.begin() as connection:
        await _forget_paths(connection, model, most)
        gone = (versions.c.model == model) & (versions.c.origin == "trained") & versions.c.path.is_(None)
        names = (await connection.execute(select(versions.c.version).where(gone))).scalars().all()
    left = [name for name in names if registry.path(model, name).is_dir()]
    for name in left:
        await asyncio.to_thread(registry.remove, model, name)
    if places.shared:
        there = await asyncio.to_thread(published, places.storage, model)
        for name in [name for name in names if safe_name(name) in there]:
            await asyncio.to_thread(withdraw, places.storage, model, name)
    if left:
        log.info("files of old versions removed", model=model, versions=left)


async def _forget_paths(connection: AsyncConnection, model: str, most: int) -> None:
    one = versions.c
    former = select(one.previous).where(
        one.model == model, one.state == VersionState.CHAMPION, one.previous.is_not(None)
    )
    made = (one.model == model) & (one.origin == "trained") & one.path.is_not(None)
    query = select(one.version).where(made).order_by(one.created.desc(), one.job.desc()).offset(most)
    old = (await connection.execute(query)).scalars().all()
    spare = one.version.in_(old) & one.state.not_in(NEEDED) & one.version.not_in(former)
    await connection.execute(update(versions).where(made, spare).values(path=None))
