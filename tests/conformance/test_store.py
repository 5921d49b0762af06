"""What every store promises, on each database that this machine offers."""

import asyncio
import importlib.util
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, MetaData, Table, func, insert, inspect, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from daemon.stores.engine import Store, StoreError, open_store, sqlite_url
from daemon.stores.migrate import MIGRATIONS, StoreTooNew, current, upgrade
from daemon.stores.migrations import HEAD
from daemon.stores.tables import counters, dead_letters, jobs, metadata, versions

POSTGRESQL = "DRIFTD_TEST_POSTGRESQL_URL"
WRITERS, UPDATES = 8, 25


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield sqlite_url(tmp_path / "store.db")
        return
    if importlib.util.find_spec("asyncpg") is None:
        pytest.skip("PostgreSQL: asyncpg is not installed")
    if POSTGRESQL not in os.environ:
        pytest.skip(f"PostgreSQL: {POSTGRESQL} names no empty database to test on")
    store = open_store(os.environ[POSTGRESQL])
    try:
        async with store.begin() as connection:
            await connection.execute(text("drop schema public cascade"))
            await connection.execute(text("create schema public"))
    finally:
        await store.close()
    yield os.environ[POSTGRESQL]


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
        if reading.dialect.name == "sqlite":  # PostgreSQL shows each statement what was committed before it
            assert (await reading.execute(select(func.count()).select_from(counters))).scalar_one() == 0
    async with store.read() as reading:
        assert (await reading.execute(select(func.count()).select_from(counters))).scalar_one() == 1


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


async def test_sqlite_readers_cannot_write(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "store.db")
    await upgrade(url)
    store = open_store(url)
    with pytest.raises(DBAPIError, match="readonly"):
        async with store.read() as connection:
            await connection.execute(insert(counters).values(model="loans", name="joined", value=1))
    await store.close()


def test_an_up_to_date_store_is_opened_without_alembic(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "store.db")
    asyncio.run(upgrade(url))
    again = (
        "import asyncio, sys; from daemon.stores.migrate import upgrade;"
        f"asyncio.run(upgrade({url!r})); sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-I", "-c", again], check=False, cwd=tmp_path).returncode == 0
