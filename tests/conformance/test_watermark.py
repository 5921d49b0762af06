"""Up to when all that has arrived is known, on every kind of database."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from databases import Database
from sqlalchemy import insert

from daemon.fleet.watermark import heard_until, watermark
from daemon.stores import tables
from daemon.stores.engine import Store, open_store

NOW = 1_795_176_000.0
MODELS = ["churn", "loans"]


@pytest.fixture
async def store(database: Database, tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(database.store(tmp_path))
    yield store
    await store.close()


async def partitions(store: Store, *read: tuple[float, float | None]) -> None:
    """When each partition was last read, and up to when all of it is, in seconds before now."""
    rows = [
        {"topic": "events", "partition": number, "next_offset": 1, "mark": ""}
        | {"seen": NOW - seen, "watermark": None if until is None else NOW - until}
        for number, (seen, until) in enumerate(read)
    ]
    async with store.begin([]) as connection:
        await connection.execute(insert(tables.partitions), rows)


async def parcel(store: Store, model: str, first: float, events: int = 10, taken: int = 0) -> None:
    """Read and not yet judged, or not all of it: its first event arrived so many seconds before now."""
    row: dict[str, Any] = {"model": model, "topic": "events", "partition": 0, "first": NOW - first, "last": NOW}
    async with store.begin([]) as connection:
        await connection.execute(insert(tables.parcels).values(row | {"events": events, "taken": taken, "data": b""}))


async def heard(store: Store) -> list[float]:
    """Of each model, in seconds before now."""
    async with store.read() as connection:
        found = await heard_until(connection, MODELS, NOW)
    return [NOW - found[model] for model in MODELS]


async def test_where_nothing_is_read_yet_all_is_known(store: Store) -> None:
    assert await heard(store) == [0, 0]


async def test_all_is_known_up_to_where_the_partition_is_that_is_furthest_behind(store: Store) -> None:
    await partitions(store, (1, 1), (2, 700), (0, 0.5))
    assert await heard(store) == [700, 700]
    async with store.read() as connection:
        assert await watermark(connection, NOW) == NOW - 700


async def test_a_single_partition_has_its_backlog_as_well(store: Store) -> None:
    await partitions(store, (1, 900))
    assert await heard(store) == [900, 900]


async def test_a_partition_that_nobody_reads_holds_nobody_up_while_others_are_read(store: Store) -> None:
    await partitions(store, (1, 3), (500, 500))
    assert await heard(store) == [3, 3]


async def test_what_its_owner_has_yet_to_judge_is_not_known_of_a_model(store: Store) -> None:
    await partitions(store, (1, 2))
    await parcel(store, "loans", first=400)
    await parcel(store, "loans", first=300)
    await parcel(store, "churn", first=600, taken=10)
    assert await heard(store) == [2, 400]
