"""Whatever ends the process, or keeps it from its store, the outcome is that of an unbroken run."""

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from databases import Database, Postgresql, Sqlite
from hypothesis import given, settings
from hypothesis import strategies as st
from pipelines import TARGET, World, batches, dying, small
from seeded_events import anything, traffic
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.archive import ORPHAN_SECONDS
from daemon.checkpoint import Fenced, MonitorSnapshot
from daemon.stores import tables
from daemon.stores.errors import StoreAway


async def unbroken(folder: Path, database: Database, log: list[bytes]) -> dict[str, Any]:
    world = World.made(folder, database, options=small())
    pipeline = await world.start()
    for one in batches(log):
        await pipeline.process(one)
    await pipeline.flush()
    outcome = await world.outcome()
    await world.close()
    return outcome


async def broken(
    folder: Path, database: Database, log: list[bytes], sizes: list[int], lives: list[tuple[int, int]], *, torn: bool
) -> dict[str, Any]:
    """The same log, through processes that each die: ``lives`` are batches taken, and batches per checkpoint."""
    world = World.made(folder, database, options=small())
    for taken, every in lives:
        pipeline = await world.start()
        first = (await pipeline.offsets()).get(TARGET, 0)
        for number, one in enumerate(batches(log[first:], sizes, first)[:taken]):
            world.now += 10 if number % every == every - 1 else 0
            await pipeline.process(one)
        await dying(torn=torn)
        await world.close()
    pipeline = await world.start()
    first = (await pipeline.offsets()).get(TARGET, 0)
    for one in batches(log[first:], sizes, first):
        await pipeline.process(one)
    await pipeline.flush()
    outcome = await world.outcome()
    await world.close()
    return outcome


lives_of_a_log = given(
    seed=st.integers(0, 10**9),
    count=st.integers(1, 300),
    sizes=st.lists(st.integers(1, 60), max_size=30),
    lives=st.lists(st.tuples(st.integers(1, 10), st.integers(1, 4)), min_size=1, max_size=6),
    torn=st.booleans(),
)


@lives_of_a_log
def test_a_process_that_dies_anywhere_changes_nothing(
    sqlite_databases: Sqlite, seed: int, count: int, sizes: list[int], lives: list[tuple[int, int]], torn: bool
) -> None:
    died_anywhere(sqlite_databases, anything(seed, count), sizes, lives, torn=torn)


@settings(max_examples=6)
@lives_of_a_log
def test_nor_does_it_on_a_server_that_others_use(
    postgresql_databases: Postgresql, seed: int, count: int, sizes: list[int], lives: list[tuple[int, int]], torn: bool
) -> None:
    died_anywhere(postgresql_databases, anything(seed, count), sizes, lives, torn=torn)
    postgresql_databases.drop()


def died_anywhere(
    database: Database, log: list[bytes], sizes: list[int], lives: list[tuple[int, int]], *, torn: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole = asyncio.run(unbroken(Path(folder) / "whole", database, log))
        cut = asyncio.run(broken(Path(folder) / "broken", database, log, sizes, lives, torn=torn))
    for part, outcome in whole.items():
        assert cut[part] == outcome, part


def test_what_is_drawn_is_the_same_through_any_number_of_lives(tmp_path: Path, sqlite_databases: Sqlite) -> None:
    log = [line.replace(b'"id"', b'"version": "1", "id"') for line in traffic(3_000)]
    log += [line.replace(b'"id": "p', b'"version": "2", "id": "q') for line in traffic(1_500, 2)]
    whole = asyncio.run(unbroken(tmp_path / "whole", sqlite_databases, log))
    lives = [(9, 2), (1, 1), (4, 3), (7, 1)]
    cut = asyncio.run(broken(tmp_path / "broken", sqlite_databases, log, [130, 41, 700, 3] * 5, lives, torn=True))
    assert len(whole["measured"]) > 4 * 7  # of seven signals
    assert cut["measured"] == whole["measured"]
    assert {version for version in ("'1'", "'2'") for row in whole["measured"] if f"'version': {version}" in row} == {
        "'1'",
        "'2'",
    }


# --- another worker


async def test_a_worker_that_was_overtaken_writes_nothing_and_takes_over_what_the_other_wrote(
    tmp_path: Path, database: Database
) -> None:
    log = anything(11, 200)
    whole = await unbroken(tmp_path / "whole", database, log)
    world = World.made(tmp_path / "data", database, options=small(), now=0.0)
    slow, fast = await world.start(), await world.start()
    first, second = batches(log, [80])
    await slow.process(first)  # in memory only
    await fast.process(first)
    await fast.flush()
    before = await world.counters()
    with pytest.raises(Fenced):
        await slow.flush()
    assert await world.counters() == before
    # nothing is taken from the stream as it was: it has to begin again where the store says
    with pytest.raises(Fenced):
        await slow.process(second)
    assert await slow.offsets() == {TARGET: 80}
    await slow.process(second)
    await slow.flush()
    assert await world.outcome() == whole
    await fast.process(second)
    with pytest.raises(Fenced):
        await fast.flush()  # and so the one that was in front is behind now
    await world.close()


async def test_a_change_made_by_an_overtaken_worker_is_lost(tmp_path: Path, database: Database) -> None:
    world = World.made(tmp_path, database, options=small(), now=0.0)
    slow, fast = await world.start(), await world.start()
    for one in (slow, fast):
        await one.process(batches(traffic(50))[0])
    await fast.flush()
    with pytest.raises(Fenced):
        await slow.change("loans", lambda monitor: monitor.adopt("9", {}))
    assert slow.monitors["loans"].version is None
    await world.close()


# --- a store that cannot be written


@contextmanager
def no_room(world: World) -> Iterator[Callable[[], None]]:
    """The disk is full, for every connection of the writer, until the answer is called."""
    engine = world.stores[-1]._writer.sync_engine
    full = True

    def limit(connection: Any) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages if full else 1_000_000}")

    def free() -> None:
        nonlocal full
        full = False

    event.listen(engine, "begin", limit)
    yield free
    event.remove(engine, "begin", limit)


async def test_a_full_disk_is_waited_for_and_nothing_is_lost(tmp_path: Path, sqlite_databases: Sqlite) -> None:
    log = anything(5, 250)
    whole = await unbroken(tmp_path / "whole", sqlite_databases, log)
    world = World.made(tmp_path / "data", sqlite_databases, options=small())
    pipeline = await world.start()
    with no_room(world) as free:
        stored_meanwhile = []

        async def look() -> None:
            stored_meanwhile.append(await world.counters())
            if len(world.waits) == 3:
                free()

        world.during_wait = look
        for one in batches(log, [60] * 10):
            world.now += 10
            await pipeline.process(one)
        await pipeline.flush()
    assert len(world.waits) >= 3
    assert world.waits[:3] == [1.0, 2.0, 4.0]
    assert not any(stored_meanwhile)
    assert await world.outcome() == whole
    await world.close()


async def test_a_locked_store_is_waited_for_and_nothing_is_lost(
    tmp_path: Path, sqlite_databases: Sqlite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.stores.sqlite.BUSY_TIMEOUT_SECONDS", 0.01)
    log = anything(6, 200)
    whole = await unbroken(tmp_path / "whole", sqlite_databases, log)
    world = World.made(tmp_path / "data", sqlite_databases, options=small())
    pipeline = await world.start()
    with closing(sqlite3.connect(world.folder / "store.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        async def let_go() -> None:
            if other.in_transaction and len(world.waits) == 2:
                other.execute("ROLLBACK")

        world.during_wait = let_go
        for one in batches(log, [60] * 10):
            world.now += 10
            await pipeline.process(one)
        await pipeline.flush()
    assert len(world.waits) == 2
    assert await world.outcome() == whole
    await world.close()


async def test_an_archive_that_cannot_be_written_is_waited_for(tmp_path: Path, sqlite_databases: Sqlite) -> None:
    world = World.made(tmp_path, sqlite_databases, options=small(), file_rows=1)
    pipeline = await world.start()
    in_the_way = tmp_path / "archive"
    in_the_way.write_text("a file where the folder should be")

    async def clear() -> None:
        in_the_way.unlink()

    world.during_wait = clear
    await pipeline.process(batches(traffic(40))[0])
    await pipeline.flush()
    assert world.waits == [1.0]
    [labels, events] = sorted(await world.rows(tables.archive_files), key=lambda row: row["rows"])
    assert (labels["kind"], events["kind"], events["rows"]) == ("labels", "events", 40)
    await world.close()


async def test_the_stream_goes_on_while_the_store_is_slow_but_not_without_end(
    tmp_path: Path, sqlite_databases: Sqlite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.checkpoint_writer.MOST_HELD", 100)
    world = World.made(tmp_path, sqlite_databases, options=small())
    released = asyncio.Event()

    async def slow(connection: AsyncConnection, found: MonitorSnapshot, now: float) -> None:
        await released.wait()

    pipeline = await world.start(respond=slow)
    log = batches(traffic(300), [40] * 20)
    taken = 0

    async def feed() -> None:
        nonlocal taken
        for one in log:
            world.now += 10
            await pipeline.process(one)
            taken += len(one.records)

    feeding = asyncio.create_task(feed())
    for _ in range(1_000):
        await asyncio.sleep(0)
    assert 100 <= taken <= 200
    released.set()
    await feeding
    await pipeline.flush()
    assert (await world.counters())["loans", "prediction"] == 300
    await world.close()


async def test_what_no_waiting_can_mend_is_raised(tmp_path: Path, database: Database) -> None:
    world = World.made(tmp_path, database, options=small())

    async def twice(connection: AsyncConnection, found: MonitorSnapshot, now: float) -> None:
        for _ in range(2):
            await connection.execute(tables.slots.insert().values(job="x", slot=1.0))

    pipeline = await world.start(respond=twice)
    await pipeline.process(batches(traffic(30))[0])
    with pytest.raises(IntegrityError):
        await pipeline.flush()
    assert world.waits == []
    assert await world.counters() == {}
    await world.close()


async def test_where_a_checkpoint_is_torn_its_files_are_swept(tmp_path: Path, database: Database) -> None:
    world = World.made(tmp_path, database, options=small(), file_rows=1)

    async def fail(connection: AsyncConnection, found: MonitorSnapshot, now: float) -> None:
        raise RuntimeError("the process died here")

    pipeline = await world.start(respond=fail)
    await pipeline.process(batches(traffic(40))[0])
    with pytest.raises(RuntimeError, match="died here"):
        await pipeline.flush()
    assert len(list((tmp_path / "archive").glob("*/*.parquet"))) == 2
    pipeline = await world.start()
    archive = world.archive_of(pipeline)
    assert await archive.sweep(time.time()) == 0  # another node may be about to name them
    assert await archive.sweep(time.time() + ORPHAN_SECONDS + 60) == 2
    await pipeline.process(batches(traffic(40))[0])
    await pipeline.flush()
    assert await archive.sweep(time.time() + ORPHAN_SECONDS + 60) == 0
    assert (await world.counters())["loans", "prediction"] == 40
    await world.close()


async def test_a_checkpoint_whose_answer_was_lost_is_not_written_twice(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = anything(7, 200)
    whole = await unbroken(tmp_path / "whole", database, log)
    world = World.made(tmp_path / "data", database, options=small())
    pipeline = await world.start()
    begin, lost = world.stores[-1].begin, 0

    @asynccontextmanager
    async def unanswered(models: Collection[str] | None = None) -> AsyncIterator[AsyncConnection]:
        nonlocal lost
        async with begin(models) as connection:
            yield connection
        if lost < 3:
            lost += 1
            raise StoreAway("committed, and then the network was gone")

    monkeypatch.setattr(world.stores[-1], "begin", unanswered)
    for one in batches(log, [60] * 10):
        world.now += 10
        await pipeline.process(one)
    await pipeline.flush()
    assert len(world.waits) == lost == 3
    assert await world.outcome() == whole
    await world.close()
