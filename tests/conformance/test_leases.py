"""A lease belongs to one worker at a time, on each database that this machine offers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
from databases import Database
from sqlalchemy import text

from daemon.fleet import leases
from daemon.fleet.leases import LEASE_SECONDS
from daemon.stores.engine import Store, open_store

NOW = 1_795_176_000.0
LATER = NOW + LEASE_SECONDS / 2
GONE = NOW + LEASE_SECONDS + 1
ROUNDS, WORKERS = 10, 6


@pytest.fixture
async def stores(database: Database, tmp_path: Path) -> AsyncIterator[tuple[Store, Store]]:
    """The same new store, as two processes open it."""
    url = database.store(tmp_path)
    both = open_store(url), open_store(url)
    yield both
    for one in both:
        await one.close()


@pytest.fixture
def store(stores: tuple[Store, Store]) -> Store:
    return stores[0]


async def take(store: Store, names: str, worker: str, now: float) -> set[str]:
    async with store.begin([]) as connection:
        return await leases.take(connection, names.split(), worker, now)


async def renew(store: Store, names: str, worker: str, now: float) -> set[str]:
    async with store.begin([]) as connection:
        return await leases.renew(connection, names.split(), worker, now)


async def hold(store: Store, names: str, worker: str, mark: str = "m") -> bool:
    async with store.begin([]) as connection:
        return await leases.hold(connection, names.split(), worker, mark)


async def give_back(store: Store, names: str, worker: str) -> None:
    async with store.begin([]) as connection:
        await leases.give_back(connection, names.split(), worker)


async def holders(store: Store, now: float) -> dict[str, str]:
    async with store.read() as connection:
        return await leases.holders(connection, now)


async def is_marked(store: Store, mark: str) -> bool:
    async with store.read() as connection:
        return await leases.is_marked(connection, mark)


# taking, keeping, losing


async def test_what_nobody_has_is_taken_and_known_to_be(store: Store) -> None:
    assert await take(store, "model:a model:b", "one", NOW) == {"model:a", "model:b"}
    assert await holders(store, NOW) == {"model:a": "one", "model:b": "one"}


async def test_a_name_given_twice_is_one_lease_and_no_name_is_none(store: Store) -> None:
    assert await take(store, "a a", "one", NOW) == {"a"}
    assert await take(store, "", "one", NOW) == set()
    assert await renew(store, "", "one", NOW) == set()
    assert await holders(store, NOW) == {"a": "one"}


async def test_what_another_has_is_not_taken_and_of_several_only_the_free_ones_are(store: Store) -> None:
    await take(store, "a b", "one", NOW)
    assert await take(store, "b c", "two", LATER) == {"c"}
    assert await holders(store, LATER) == {"a": "one", "b": "one", "c": "two"}


async def test_what_is_renewed_is_kept_and_what_is_not_goes_to_who_asks(store: Store) -> None:
    await take(store, "a b", "one", NOW)
    assert await renew(store, "a", "one", LATER) == {"a"}
    assert await holders(store, GONE) == {"a": "one"}
    assert await take(store, "a b", "two", GONE) == {"b"}


async def test_to_the_last_second_it_is_the_holders(store: Store) -> None:
    await take(store, "a", "one", NOW)
    assert await take(store, "a", "two", NOW + LEASE_SECONDS) == set()
    assert await holders(store, NOW + LEASE_SECONDS) == {"a": "one"}
    assert await take(store, "a", "two", NOW + LEASE_SECONDS + 0.001) == {"a"}


async def test_to_take_what_one_has_is_to_renew_it(store: Store) -> None:
    await take(store, "a", "one", NOW)
    assert await take(store, "a", "one", LATER) == {"a"}
    assert await take(store, "a", "two", GONE) == set()


async def test_who_has_slept_too_long_keeps_what_nobody_else_wanted(store: Store) -> None:
    await take(store, "a b", "one", NOW)
    await take(store, "b", "two", GONE)
    assert await renew(store, "a b", "one", GONE + 1) == {"a"}
    assert await holders(store, GONE + 1) == {"a": "one", "b": "two"}


async def test_only_a_holder_renews(store: Store) -> None:
    assert await renew(store, "a", "one", NOW) == set()
    await take(store, "a", "one", NOW)
    assert await renew(store, "a", "two", GONE) == set()
    assert await holders(store, GONE) == {}


async def test_what_is_given_back_is_free_at_once_and_nobody_gives_back_what_is_anothers(store: Store) -> None:
    await take(store, "a b", "one", NOW)
    await give_back(store, "a b", "two")
    assert await holders(store, NOW) == {"a": "one", "b": "one"}
    await give_back(store, "a", "one")
    assert await holders(store, NOW) == {"b": "one"}
    assert await take(store, "a b", "two", NOW) == {"a"}


async def test_a_lease_that_was_taken_in_a_transaction_that_failed_is_free(store: Store) -> None:
    async def fail() -> None:
        async with store.begin([]) as connection:
            await leases.take(connection, ["a"], "one", NOW)
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        await fail()
    assert await take(store, "a", "two", NOW) == {"a"}


# what relies on a lease


async def test_who_holds_all_of_them_may_go_on_and_who_lacks_one_may_not(store: Store) -> None:
    await take(store, "a b", "one", NOW)
    await take(store, "c", "two", NOW)
    assert await hold(store, "a b", "one")
    assert await hold(store, "", "one")
    assert not await hold(store, "a c", "one")
    assert not await hold(store, "a never-taken", "one")


async def test_a_lease_that_has_run_out_is_good_until_another_has_it(store: Store) -> None:
    await take(store, "a", "one", NOW)
    assert await hold(store, "a", "one")
    await take(store, "a", "two", GONE)
    assert not await hold(store, "a", "one")
    assert await hold(store, "a", "two")


async def test_a_mark_says_that_its_transaction_was_committed(store: Store) -> None:
    await take(store, "a b", "one", NOW)
    assert not await is_marked(store, "first")
    await hold(store, "a b", "one", "first")
    assert await is_marked(store, "first")
    await hold(store, "a", "one", "second")
    assert await is_marked(store, "first")  # on b still
    await hold(store, "b", "one", "third")
    assert not await is_marked(store, "first")
    assert await is_marked(store, "second")


async def test_a_transaction_that_failed_leaves_no_mark_and_a_hold_that_failed_none_that_counts(store: Store) -> None:
    await take(store, "a", "one", NOW)

    async def fail() -> None:
        async with store.begin([]) as connection:
            assert await leases.hold(connection, ["a"], "one", "first")
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        await fail()
    assert not await is_marked(store, "first")
    assert not await hold(store, "a", "two", "second")
    assert not await is_marked(store, "second")


async def test_a_mark_outlives_a_renewal(store: Store) -> None:
    await take(store, "a", "one", NOW)
    await hold(store, "a", "one", "first")
    await renew(store, "a", "one", LATER)
    assert await is_marked(store, "first")


# rivals


async def waits(store: Store, rival: "asyncio.Task[object]") -> None:
    """Wait until the database itself has the rival wait; on SQLite it cannot even begin."""
    async with store.read() as connection:
        if connection.dialect.name == "sqlite":
            for _ in range(20):
                await asyncio.sleep(0)
            assert not rival.done()
            return
    waiting = text(
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(30):
        while True:
            async with store.read() as connection:
                if await connection.scalar(waiting):
                    break
    assert not rival.done()


async def test_nobody_takes_a_lease_from_under_a_transaction_that_holds_it(stores: tuple[Store, Store]) -> None:
    mine, others = stores
    await take(mine, "a", "one", NOW)
    async with mine.begin([]) as connection:
        assert await leases.hold(connection, ["a"], "one", "first")
        rival = asyncio.create_task(take(others, "a", "two", GONE))
        await waits(mine, rival)
    assert await rival == {"a"}
    assert not await hold(mine, "a", "one", "second")


async def test_who_holds_while_another_takes_finds_the_lease_gone(stores: tuple[Store, Store]) -> None:
    mine, others = stores
    await take(mine, "a", "one", NOW)
    async with others.begin([]) as connection:
        assert await leases.take(connection, ["a"], "two", GONE) == {"a"}
        rival = asyncio.create_task(hold(mine, "a", "one"))
        await waits(others, rival)
    assert not await rival
    assert await holders(mine, GONE) == {"a": "two"}


async def test_a_new_lease_that_two_want_at_once_is_the_firsts(stores: tuple[Store, Store]) -> None:
    mine, others = stores
    async with mine.begin([]) as connection:
        assert await leases.take(connection, ["a"], "one", NOW) == {"a"}
        rival = asyncio.create_task(take(others, "a", "two", NOW))
        await waits(mine, rival)
    assert await rival == set()
    assert await holders(mine, NOW) == {"a": "one"}


async def test_many_who_race_for_the_same_leases_get_each_exactly_once(stores: tuple[Store, Store]) -> None:
    random = Random(7)
    names = [f"model:{number}" for number in range(5)]
    now = NOW
    for _ in range(ROUNDS):  # of the first all leases are new; of the others all have run out
        wanted = {f"worker {number}": random.sample(names, 4) for number in range(WORKERS)}
        got = await asyncio.gather(
            *(take(stores[number % 2], " ".join(wanted[worker]), worker, now) for number, worker in enumerate(wanted))
        )
        assert sum(map(len, got)) == len(set().union(*got)) == len(set().union(*wanted.values()))
        expected = {name: worker for worker, taken in zip(wanted, got, strict=True) for name in taken}
        assert await holders(stores[0], now) == expected
        now += LEASE_SECONDS + 1


async def test_who_ends_gives_back_whatever_it_holds(store: Store) -> None:
    await take(store, "one two", "a", NOW)
    await take(store, "three", "b", NOW)
    async with store.begin([]) as connection:
        await leases.give_all_back(connection, "a")
    assert await holders(store, NOW) == {"three": "b"}
    assert await take(store, "one two", "b", NOW) == {"one", "two"}
