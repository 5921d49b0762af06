"""What `driftd doctor` says where several daemons share the work."""

import asyncio
import time
from collections.abc import Iterator
from typing import Final

from sqlalchemy.exc import DBAPIError

from daemon.commands.finding import Finding
from daemon.fleet.view import Fleet, Member, few, view
from daemon.settings import Settings
from daemon.stores.engine import open_store
from daemon.stores.errors import StoreAway, StoreError
from daemon.web.reads import installed_version
from daemon.web.words import ago

CLOCK_SECONDS: Final = 3.0
"""By so much clocks may differ. Who holds a lease, and who is gone, goes by the clock of each machine."""


def examine(settings: Settings) -> Iterator[Finding]:
    """Who is there, whose clock is wrong, who runs another release, and what nobody does."""
    try:
        fleet, now = asyncio.run(_read(settings))
    except (StoreAway, StoreError, DBAPIError, OSError):
        return  # the store has a line of its own
    if not fleet.alive:
        yield Finding("workers", well=True, detail="nobody is there (start one with: driftd run)")
    for one in fleet.members:
        yield _worker(one, now)
    for one in fleet.alive:
        ahead = one.worker.seen - now
        if ahead > CLOCK_SECONDS:
            detail = f"{one.worker.host} is {ahead:.0f} s ahead of this machine"
            hint = "have all machines keep time by NTP, such as with chrony: leases go by it"
            yield Finding("clocks", well=False, detail=detail, hint=hint)
        if one.worker.release != installed_version():
            detail = f"{one.worker.worker} runs {one.worker.release}, this is {installed_version()}"
            hint = "install the same release everywhere, and start it again"
            yield Finding("release", well=True, detail=detail, hint=hint, doubtful=True)
    for trouble in fleet.troubles() if fleet.alive else ():
        yield Finding("fleet", well=False, detail=trouble.text, hint=trouble.hint)


async def _read(settings: Settings) -> tuple[Fleet, float]:
    store = open_store(settings.store_url, connections=2)
    try:
        async with store.read() as connection:
            fleet = await view(connection, time.time(), settings.topics)
        return fleet, time.time()
    finally:
        await store.close()


def _worker(one: Member, now: float) -> Finding:
    worker = one.worker
    if not one.alive:
        hint = "others take over what it had; start it again, or go on without it"
        detail = f"gone, last seen {ago(worker.seen, now)}"
        return Finding(f"worker {worker.worker}", well=True, detail=detail, hint=hint, doubtful=True)
    has = [
        ", ".join(one.roles),
        f"reads {one.reads}, {one.behind:,} behind" if one.partitions else "",
        f"watches {few(one.models)}" if one.models else "",
    ]
    return Finding(f"worker {worker.worker}", well=True, detail="; ".join(filter(None, has)))
