"""A worker of a fleet knows what is its own, and leaves nothing behind when it ends, on every kind of database."""

from pathlib import Path
from typing import Any

from databases import Database
from sqlalchemy import select

from daemon.events.event import EventLimits
from daemon.fleet import leases
from daemon.fleet.leases import LEASE_SECONDS, MODEL
from daemon.fleet.member import FleetMember, Limits
from daemon.fleet.workers import ALL_ROLES, Worker
from daemon.monitoring.monitor import Monitor
from daemon.stores import tables
from daemon.stores.engine import Store, open_store

NOW = 1_795_176_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def member(store: Store, name: str, clock: Clock) -> FleetMember:
    async def heard(*_: Any) -> None:
        """Nobody else is to be told."""

    return FleetMember(
        store,
        None,
        Monitor,
        heard,
        worker=Worker(worker=name, host="here", roles=ALL_ROLES, release="1", url=None, started=NOW, seen=NOW),
        limits=Limits(checkpoint_seconds=1.0, most_models=10, events=EventLimits()),
        stream=lambda: None,
        stored=heard,
        judged=heard,
        claimed=heard,
        clock=clock,
    )


async def take(store: Store, name: str, worker: str, now: float) -> None:
    async with store.begin([]) as connection:
        assert await leases.take(connection, [name], worker, now)


async def owned(store: Store, one: FleetMember) -> set[str]:
    async with store.begin([]) as connection:
        return await one.still_owns(connection, ["loans", "churn"])


async def test_who_slept_owns_no_more_what_another_has_taken_over(database: Database, tmp_path: Path) -> None:
    store, clock = open_store(database.store(tmp_path)), Clock()
    slept = member(store, "slept", clock)
    await take(store, MODEL + "loans", "slept", clock())
    assert await owned(store, slept) == {"loans"}
    clock.now += LEASE_SECONDS + 1
    assert await owned(store, slept) == {"loans"}  # late, but nobody else has asked for it
    clock.now += LEASE_SECONDS + 1
    await take(store, MODEL + "loans", "awake", clock())
    assert await owned(store, slept) == set()
    await store.close()


async def test_who_ends_is_gone_at_once_with_all_that_was_its_own(database: Database, tmp_path: Path) -> None:
    store, clock = open_store(database.store(tmp_path)), Clock()
    ends, stays = member(store, "ends", clock), member(store, "stays", clock)
    for one in (ends, stays):
        await one.load()
    assert await ends.may("deploy")
    assert not await stays.may("deploy")
    await take(store, MODEL + "loans", "ends", clock())
    await take(store, MODEL + "churn", "stays", clock())
    await ends.flush()
    assert await stays.may("deploy")
    async with store.read() as connection:
        held = {row.name: row.worker for row in await connection.execute(select(tables.leases))}
        here = set((await connection.execute(select(tables.workers.c.worker))).scalars())
    await store.close()
    assert held == {MODEL + "churn": "stays", "deploy": "stays"}
    assert here == {"stays"}
