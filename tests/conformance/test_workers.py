"""Who works on a store is known to all who open it, on each database that this machine offers."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from databases import Database

from daemon.fleet import workers
from daemon.fleet.workers import ALL_ROLES, BEAT_SECONDS, FORGOTTEN_SECONDS, GONE_SECONDS, Role, Worker
from daemon.stores.engine import Store, open_store

NOW = 1_795_176_000.0
ONE = Worker(
    worker="one-1",
    host="one",
    roles=frozenset({Role.INGEST, Role.DETECT}),
    release="1.2.3",
    url="http://one.example:6066",
    started=NOW - 600,
    seen=NOW,
)
TWO = Worker(worker="two-1", host="two", roles=ALL_ROLES, release="1.2.3", url=None, started=NOW - 900, seen=NOW - 2)


@pytest.fixture
async def store(database: Database, tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(database.store(tmp_path))
    yield store
    await store.close()


async def beat(store: Store, *those: Worker) -> None:
    for worker in those:
        async with store.begin([]) as connection:
            await workers.beat(connection, worker)


async def known(store: Store) -> list[Worker]:
    async with store.read() as connection:
        return await workers.all_workers(connection)


async def test_a_worker_is_known_by_its_first_sign_of_life_and_the_longest_there_is_first(store: Store) -> None:
    assert await known(store) == []
    await beat(store, ONE, TWO)
    assert await known(store) == [TWO, ONE]


async def test_each_sign_of_life_says_how_it_is_now(store: Store) -> None:
    later = replace(ONE, seen=NOW + BEAT_SECONDS, roles=frozenset({Role.WEB}), url=None, release="1.2.4")
    await beat(store, ONE, later)
    assert await known(store) == [later]


async def test_who_leaves_is_gone_at_once_and_nobody_else(store: Store) -> None:
    await beat(store, ONE, TWO)
    async with store.begin([]) as connection:
        await workers.leave(connection, ONE.worker)
    assert await known(store) == [TWO]


async def test_who_falls_silent_is_shown_for_a_while_and_then_forgotten(store: Store) -> None:
    await beat(store, ONE, TWO)
    for now, left in ((NOW + FORGOTTEN_SECONDS - 1, [ONE]), (NOW + FORGOTTEN_SECONDS + 1, [])):
        async with store.begin([]) as connection:
            await workers.forget(connection, now)
        assert await known(store) == left


def test_a_worker_is_alive_until_it_has_been_silent_for_too_long() -> None:
    assert ONE.is_alive(NOW + GONE_SECONDS)
    assert not ONE.is_alive(NOW + GONE_SECONDS + 0.001)
    assert ONE.is_alive(NOW - 60)  # its clock is ahead


def test_several_missed_signs_of_life_are_no_death() -> None:
    assert GONE_SECONDS > 3 * BEAT_SECONDS


def test_no_two_names_are_the_same() -> None:
    assert len({workers.new_name() for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("things", "among", "each"), [(0, 3, 0), (1, 3, 1), (6, 3, 2), (7, 3, 3), (5, 1, 5), (5, 0, 5)]
)
def test_shares_are_as_even_as_they_can_be_and_leave_nothing_over(things: int, among: int, each: int) -> None:
    assert workers.share(things, among) == each
    assert each * max(among, 1) >= things
