"""Who does what, and what nobody does, is read from the store alone, on each database that this machine offers."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from databases import Database
from seeded_fleet import ALL_ROUND, GONE, READER, seed_fleet
from seeded_store import NOW
from sqlalchemy import delete, insert, update

from daemon.fleet import view
from daemon.fleet.leases import LEASE_SECONDS
from daemon.fleet.view import Fleet, few, spoken
from daemon.fleet.workers import FORGOTTEN_SECONDS, GONE_SECONDS, Role
from daemon.stores import tables
from daemon.stores.engine import Store, open_store

DAY = 86_400.0


@pytest.fixture
async def store(database: Database, tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(database.store(tmp_path))
    yield store
    await store.close()


async def seen(store: Store, now: float = NOW, topics: tuple[str, ...] = ()) -> Fleet:
    async with store.read() as connection:
        return await view.view(connection, now, topics)


async def lag(store: Store, now: float = NOW, topics: tuple[str, ...] = ()) -> int | None:
    async with store.read() as connection:
        return await view.lag(connection, now, topics)


async def do(store: Store, *statements: Any) -> None:
    async with store.begin() as connection:
        for statement in statements:
            await connection.execute(statement)


async def test_a_daemon_alone_is_no_fleet_and_knows_its_lag_itself(store: Store) -> None:
    alone = insert(tables.partitions).values(topic="driftd.events", partition=0, next_offset=9, mark="", behind=5)
    await do(store, alone)
    assert await seen(store) == Fleet()
    assert await lag(store) is None
    assert list(Fleet().troubles()) == []


async def test_each_worker_is_shown_with_what_it_reads_and_watches(store: Store) -> None:
    await seed_fleet(store)
    reader, all_round, gone = (await seen(store)).members
    assert (reader.worker, reader.alive, reader.reads) == (READER, True, "driftd.events 0-2")
    assert (reader.behind, reader.models, reader.roles) == (1_240, ("churn", "loans"), (Role.INGEST, Role.DETECT))
    assert (all_round.worker, all_round.reads, all_round.behind) == (ALL_ROUND, "driftd.events 3", 5)
    assert all_round.models == ("fraud", "prices", "uplift <b>test</b>")
    assert (gone.worker, gone.alive, gone.reads, gone.behind, gone.models) == (GONE, False, "", 0, ())


async def test_the_lag_is_what_is_to_be_read_and_what_waits_to_be_judged(store: Store) -> None:
    await seed_fleet(store)
    fleet = await seen(store)
    assert (fleet.parcels, fleet.waiting) == (2, 310)  # one of three is judged to its end
    assert fleet.lag == 40 + 1_200 + 5 + 77 + 310
    assert await lag(store) == fleet.lag
    await do(store, delete(tables.parcels), update(tables.partitions).values(behind=None))
    assert await lag(store) == (await seen(store)).lag == 0


async def test_what_nobody_does_is_said_with_what_to_do(store: Store) -> None:
    await seed_fleet(store)
    fleet = await seen(store)
    assert [(one.topic, one.partition, one.behind) for one in fleet.unread] == [("driftd.events", 4, 77)]
    assert fleet.unowned == ("newcomer",)
    unread, unowned = fleet.troubles()
    assert unread.text == "nobody reads driftd.events 4"
    assert "DRIFTD_TOPICS" in unread.hint
    assert unowned.text == "nobody watches newcomer"


async def test_a_model_that_has_no_owner_is_named_as_soon_as_there_is_anything_of_it(store: Store) -> None:
    await seed_fleet(store)
    await do(
        store,
        insert(tables.models).values(model="idle", state="steady", created=NOW),
        insert(tables.changes).values(model="changed", data=b"", created=NOW),
    )
    assert (await seen(store)).unowned == ("changed", "idle", "newcomer")


async def test_a_new_partition_is_unread_once_somebody_has_had_time_to_read_it(store: Store) -> None:
    await seed_fleet(store)
    new = {"topic": "driftd.events", "partition": 5, "next_offset": 0, "mark": "", "seen": NOW}
    await do(store, insert(tables.partitions).values(new))
    assert [one.partition for one in (await seen(store)).unread] == [4]
    assert 5 in [one.partition for one in (await seen(store, NOW + GONE_SECONDS + 0.1)).unread]


async def test_a_role_that_nobody_has_is_named_with_what_waits_for_it(store: Store) -> None:
    await seed_fleet(store, replace(READER, roles=frozenset({Role.WEB})), GONE)
    troubles = list((await seen(store)).troubles())
    assert [one.text for one in troubles] == [
        "nobody has the role ingest: events wait in Kafka",
        "nobody has the role detect: events that were read wait to be judged",
        "nobody has the role train: retrains and deployments wait",
    ]
    assert troubles[2].hint == "start one with driftd run --role train"


async def test_a_partition_is_unread_once_its_worker_has_said_nothing_of_it_for_long(store: Store) -> None:
    await seed_fleet(store)
    said = NOW - 2  # of the partitions of the first worker
    assert len((await seen(store, said + GONE_SECONDS)).unread) == 1
    assert len((await seen(store, said + GONE_SECONDS + 0.1)).unread) == 4


async def test_a_model_is_unowned_once_its_lease_has_run_out(store: Store) -> None:
    await seed_fleet(store)
    until = NOW + 13
    assert (await seen(store, until)).unowned == ("newcomer",)
    later = await seen(store, until + LEASE_SECONDS)
    assert [one.models for one in later.members] == [(), (), ()]


async def test_a_worker_that_has_been_gone_for_long_is_shown_no_more_though_nobody_is_left_to_forget_it(
    store: Store,
) -> None:
    await seed_fleet(store)
    assert len((await seen(store, NOW + FORGOTTEN_SECONDS - 420)).members) == 3
    assert len((await seen(store, NOW + FORGOTTEN_SECONDS - 419)).members) == 2
    assert await seen(store, NOW + DAY) == Fleet()
    assert await lag(store, NOW + DAY) is None


async def test_a_topic_that_is_read_no_more_is_nobodys_trouble(store: Store) -> None:
    await seed_fleet(store)
    old = {"topic": "old", "partition": 0, "next_offset": 9, "mark": "", "worker": GONE.worker, "behind": 1_000}
    await do(store, insert(tables.partitions).values(old))
    assert [one.topic for one in (await seen(store)).unread] == ["driftd.events", "old"]
    fleet = await seen(store, topics=("driftd.events",))
    assert [one.topic for one in fleet.unread] == ["driftd.events"]
    assert await lag(store, topics=("driftd.events",)) == fleet.lag == await lag(store) - 1_000


@pytest.mark.parametrize(
    ("places", "text"),
    [
        ([], ""),
        ([("a", 0)], "a 0"),
        ([("a", 2), ("a", 0), ("a", 1), ("a", 7), ("a", 5), ("a", 4)], "a 0-2, 4-5, 7"),
        ([("b", 1), ("a", 1), ("b", 0)], "a 1; b 0-1"),
    ],
)
def test_partitions_are_named_in_few_words(places: list[tuple[str, int]], text: str) -> None:
    assert spoken(places) == text


def test_of_many_names_the_first_are_named() -> None:
    assert few(()) == ""
    assert few(("a", "b", "c")) == "a, b, c"
    assert few(tuple("abcde")) == "a, b, c and 2 more"
