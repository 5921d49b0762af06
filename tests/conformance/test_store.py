"""What every store promises, on each database that this machine offers."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import numpy as np
import pytest
from databases import Database
from sqlalchemy import Connection, MetaData, Table, func, insert, inspect, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.stores.engine import Store, open_store
from daemon.stores.errors import StoreError
from daemon.stores.migrate import MIGRATIONS, StoreTooNew, current, upgrade
from daemon.stores.migrations import HEAD
from daemon.stores.retention import delete_in_parts
from daemon.stores.tables import counters, dead_letters, jobs, metadata, versions

WRITERS, UPDATES = 8, 25


@pytest.fixture
def url(database: Database, tmp_path: Path) -> str:
    """An empty database of each kind."""
    return database.nothing(tmp_path)


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    await upgrade(url)
    store = open_store(url)
    yield store
    await store.close()


def shape(tables: MetaData) -> dict[str, tuple[object, ...]]:
    """Everything of the tables that a database keeps."""
    return {name: _table_shape(table) for name, table in tables.tables.items() if name != "alembic_version"}


def _table_shape(table: Table) -> tuple[object, ...]:
    columns = [(c.name, str(c.type), c.nullable, c.primary_key, _text(c.server_default)) for c in table.columns]
    indexes = sorted(
        (str(i.name), i.unique, tuple(c.name for c in i.columns), sorted(map(str, i.dialect_kwargs.values())))
        for i in table.indexes
    )
    unique = sorted(
        tuple(c.name for c in u.columns) for u in table.constraints if type(u).__name__ == "UniqueConstraint"
    )
    return columns, indexes, unique


def _text(default: object) -> str | None:
    return None if default is None else str(getattr(default, "arg", default))


def reflected(connection: Connection) -> dict[str, tuple[object, ...]]:
    found = MetaData()
    found.reflect(connection)
    return shape(found)


async def test_the_migrated_tables_are_those_of_the_code(url: str, tmp_path: Path) -> None:
    await upgrade(url)
    store = open_store(url)
    async with store.begin() as connection:
        migrated = await connection.run_sync(reflected)
        await connection.run_sync(lambda sync: sync.execute(text("drop table alembic_version")))
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)
        wanted = await connection.run_sync(reflected)
    await store.close()
    assert set(migrated) == set(metadata.tables)
    for table, columns in wanted.items():
        assert migrated[table] == columns, f"{table}: write a migration for what changed in tables.py"


def test_the_newest_revision_is_the_one_the_code_works_with() -> None:
    from alembic.script import ScriptDirectory

    assert ScriptDirectory(MIGRATIONS).get_heads() == [HEAD]


async def test_an_empty_database_has_no_revision_and_a_new_store_the_newest(url: str) -> None:
    assert await current(url) is None
    assert await upgrade(url) == HEAD
    assert await current(url) == HEAD


async def test_processes_that_start_at_once_migrate_once(url: str) -> None:
    assert await asyncio.gather(*(upgrade(url) for _ in range(4))) == [HEAD] * 4


async def test_migrating_again_keeps_what_is_stored(store: Store, url: str) -> None:
    async with store.begin() as connection:
        await connection.execute(insert(counters).values(model="loans", name="joined", value=7))
    await upgrade(url)
    async with store.read() as connection:
        assert (await connection.execute(select(counters.c.value))).scalar_one() == 7


async def test_a_store_of_a_newer_version_is_refused_with_what_to_do_and_left_alone(store: Store, url: str) -> None:
    async with store.begin() as connection:
        await connection.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(StoreTooNew, match=r"newer driftd .*9999.*pip install --upgrade driftd") as refusal:
        await upgrade(url)
    assert refusal.value.revision == "9999"
    assert await current(url) == "9999"


async def test_a_migration_that_fails_leaves_nothing_behind(url: str) -> None:
    store = open_store(url)
    async with store.begin() as connection:  # a table that is in the way of the last one
        await connection.execute(text("create table dead_letters (id integer)"))
    with pytest.raises(DBAPIError):
        await upgrade(url)
    async with store.begin() as connection:
        assert await connection.run_sync(lambda sync: inspect(sync).get_table_names()) == ["dead_letters"]
    await store.close()


async def test_concurrent_read_and_write_loses_no_update(store: Store) -> None:
    async with store.begin() as connection:
        await connection.execute(insert(counters).values(model="loans", name="joined", value=0))

    async def add() -> None:
        for _ in range(UPDATES):
            async with store.begin() as connection:
                row = select(counters.c.value).with_for_update()
                value = (await connection.execute(row)).scalar_one()
                await asyncio.sleep(0)
                await connection.execute(update(counters).values(value=value + 1))

    await asyncio.gather(*(add() for _ in range(WRITERS)))
    async with store.read() as connection:
        assert (await connection.execute(select(counters.c.value))).scalar_one() == WRITERS * UPDATES


async def test_an_exception_undoes_its_transaction(store: Store) -> None:
    async def fail() -> None:
        async with store.begin() as connection:
            await connection.execute(insert(counters).values(model="loans", name="joined", value=1))
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        await fail()
    async with store.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(counters))).scalar_one() == 0


async def test_a_reader_sees_one_moment_while_others_write(store: Store) -> None:
    async with store.read() as reading:
        await reading.execute(select(counters))
        async with store.begin() as connection:
            await connection.execute(insert(counters).values(model="loans", name="joined", value=1))
        assert (await reading.execute(select(func.count()).select_from(counters))).scalar_one() == 0
    async with store.read() as reading:
        assert (await reading.execute(select(func.count()).select_from(counters))).scalar_one() == 1


async def test_writers_of_other_models_are_not_waited_for_where_the_database_can_do_that(store: Store) -> None:
    value = update(counters).values(value=counters.c.value + 1)
    async with store.begin() as connection:
        rows = [{"model": model, "name": "joined", "value": 0} for model in ("loans", "churn")]
        await connection.execute(insert(counters), rows)

    async def add(model: str, models: list[str] | None) -> None:
        async with store.begin(models) as connection:
            await connection.execute(value.where(counters.c.model == model))

    async with store.begin(["loans"]) as connection:
        await connection.execute(value.where(counters.c.model == "loans"))
        if connection.dialect.name == "postgresql":
            await add("churn", ["churn"])
        others = [asyncio.create_task(add("loans", ["churn", "loans"])), asyncio.create_task(add("loans", None))]
        for _ in range(20):
            await asyncio.sleep(0)
        assert not [one for one in others if one.done()]
    await asyncio.gather(*others)
    async with store.read() as connection:
        found = {row.model: row.value for row in await connection.execute(select(counters))}
    assert found["loans"] == 3


async def test_writers_that_want_the_same_models_in_any_order_do_not_wait_in_a_circle(store: Store) -> None:
    names = [f"model {number}" for number in range(6)]
    async with store.begin() as connection:
        await connection.execute(insert(counters), [{"model": one, "name": "joined", "value": 0} for one in names])

    async def add(seed: int) -> None:
        mine = Random(seed).sample(names, 4)
        for _ in range(5):
            async with store.begin(mine) as connection:
                for one in mine:
                    changed = update(counters).where(counters.c.model == one)
                    await connection.execute(changed.values(value=counters.c.value + 1))

    await asyncio.gather(*(add(seed) for seed in range(WRITERS)))
    async with store.read() as connection:
        assert (await connection.execute(select(func.sum(counters.c.value)))).scalar_one() == WRITERS * 5 * 4


async def test_names_are_ordered_by_their_characters_numbers(store: Store) -> None:
    names = ["Zürich", "a b", "a-b", "ab", "Ärger", "zebra", "_x", "A"]
    async with store.begin() as connection:
        await connection.execute(insert(counters), [{"model": one, "name": "joined", "value": 0} for one in names])
    async with store.read() as connection:
        found = (await connection.execute(select(counters.c.model).order_by(counters.c.model))).scalars().all()
    assert found == sorted(names)


async def test_what_a_person_or_a_program_wrote_is_stored_whatever_it_is(store: Store) -> None:
    odd = {
        "a\0b": ["\0", "\\u0000", {"deep": "\0\0"}],
        "nan": float("nan"),
        "inf": [float("-inf")],
        "half": "\ud83d",
        "number": np.float64(1.5),
        "ä": "\U0001f600",
    }
    job = {"model": "loans", "state": "failed", "trigger": "manual", "created": 0.0, "by": "ann\0"}
    async with store.begin() as connection:
        await connection.execute(insert(jobs).values(**job, error="it said \0 and \ud83d", result=odd))
    async with store.read() as connection:
        row = (await connection.execute(select(jobs))).mappings().one()
    assert (row["by"], row["error"]) == ("ann\ufffd", "it said \ufffd and ?")
    assert (row["result"]["ä"], row["result"]["number"]) == ("\U0001f600", 1.5)
    assert len(row["result"]) == len(odd)


async def test_what_is_old_goes_in_parts_between_which_others_write(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.stores.retention.AT_ONCE", 10)
    letter = {"topic": "t", "partition": 0, "line": 0, "reason": "r", "detail": "", "body": b"", "at": 0.0}
    async with store.begin() as connection:
        await connection.execute(insert(dead_letters), [letter | {"offset": offset} for offset in range(45)])
    begin, between = store.begin, 0

    @asynccontextmanager
    async def counted(models: list[str] | None = None) -> AsyncIterator[AsyncConnection]:
        nonlocal between
        async with begin(models) as connection:
            yield connection
        async with begin() as connection:
            await connection.execute(insert(dead_letters).values(**letter, offset=1_000 + between))
        between += 1

    monkeypatch.setattr(store, "begin", counted)
    assert await delete_in_parts(store, dead_letters, dead_letters.c.offset < 40) == 40
    assert between == 5
    async with store.read() as connection:
        assert len((await connection.execute(select(dead_letters.c.offset))).all()) == 5 + between


@pytest.mark.parametrize("state", ["queued", "running"])
async def test_the_database_itself_allows_one_active_job_a_model(store: Store, state: str) -> None:
    job = {"model": "loans", "trigger": "manual", "created": 0.0}
    async with store.begin() as connection:
        await connection.execute(insert(jobs).values(**job, state=state))
        await connection.execute(insert(jobs).values(**job, state="failed"))
    with pytest.raises(IntegrityError):
        async with store.begin() as connection:
            await connection.execute(insert(jobs).values(**job, state="queued"))


@pytest.mark.parametrize("state", ["champion", "deploying"])
async def test_the_database_itself_allows_one_champion_and_one_deployment_a_model(store: Store, state: str) -> None:
    version = {"model": "loans", "state": state, "origin": "trained", "created": 0.0}
    async with store.begin() as connection:
        await connection.execute(insert(versions).values(**version, version="1"))
        await connection.execute(insert(versions).values(**(version | {"model": "churn"}), version="1"))
    with pytest.raises(IntegrityError):
        async with store.begin() as connection:
            await connection.execute(insert(versions).values(**version, version="2"))


async def test_the_same_dead_letter_is_kept_once(store: Store) -> None:
    letter = {"topic": "t", "partition": 0, "offset": 1, "line": 0, "reason": "r", "detail": "", "body": b"", "at": 0.0}
    async with store.begin() as connection:
        await connection.execute(insert(dead_letters).values(**letter))
    with pytest.raises(IntegrityError):
        async with store.begin() as connection:
            await connection.execute(insert(dead_letters).values(**letter))


def test_other_databases_are_refused_with_what_is_supported() -> None:
    with pytest.raises(StoreError, match=r"mysql is not supported: use sqlite:///FILE or postgresql://"):
        open_store("mysql://localhost/driftd")


async def test_readers_cannot_write(store: Store) -> None:
    with pytest.raises(DBAPIError, match=r"readonly|read-only"):
        async with store.read() as connection:
            await connection.execute(insert(counters).values(model="loans", name="joined", value=1))


def test_an_up_to_date_store_is_opened_without_alembic(database: Database, tmp_path: Path) -> None:
    url = database.store(tmp_path)
    again = (
        "import asyncio, sys; from daemon.stores.migrate import upgrade;"
        f"asyncio.run(upgrade({url!r})); sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-I", "-c", again], check=False, cwd=tmp_path).returncode == 0
