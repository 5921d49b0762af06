"""A store of its own for each run of a benchmark: a file, or a new database on the server of `--store`."""

import argparse
import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

HELP = "postgresql://... of a server on which databases may be made, instead of SQLite"


def add_option(parser: argparse.ArgumentParser) -> None:
    """`--store`."""
    parser.add_argument("--store", metavar="URL", help=HELP)


@contextmanager
def new_store(server: str | None) -> Iterator[tuple[dict[str, str], Callable[[Path], int]]]:
    """Settings of a daemon on a new store, and what tells its size in bytes, given the data folder."""
    if server is None:
        yield {}, lambda folder: sum(path.stat().st_size for path in folder.glob("store.db*"))
        return
    name = f"driftd_bench_{token_hex(4)}"
    url = _in_database(server, name)
    _ask(server, f"create database {name}")
    try:
        settings = {"DRIFTD_DATABASE_URL": url}
        yield settings, lambda folder: sum(table_bytes(folder, settings).values())
    finally:
        _ask(server, f"drop database {name} with (force)")


TABLES = """
select relname, pg_total_relation_size(oid) from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace
"""


def table_bytes(folder: Path, store: dict[str, str]) -> dict[str, int]:
    """The room that each table takes, its indexes with it; ``store`` are the settings that ``new_store`` gave."""
    if store:
        return {row[0]: int(row[1]) for row in _ask(store["DRIFTD_DATABASE_URL"], TABLES)}
    with closing(sqlite3.connect(folder / "store.db")) as connection:
        rows = connection.execute(
            "select m.tbl_name, sum(d.pgsize) from dbstat d join sqlite_schema m on m.name = d.name group by 1"
        )
        return {name: int(size) for name, size in rows}


def _in_database(server: str, name: str) -> str:
    from sqlalchemy.engine import make_url

    return make_url(server).set(database=name).render_as_string(hide_password=False)


def _ask(url: str, question: str) -> list[Any]:
    import asyncpg

    async def ask() -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            return list(await connection.fetch(question))
        finally:
            await connection.close()

    return asyncio.run(ask())


def first_column(url: str, question: str) -> list[Any]:
    """What a store answers to a question."""
    if url.startswith("sqlite:///"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as store:
            return [row[0] for row in store.execute(question)]
    import asyncpg

    async def ask() -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            return [row[0] for row in await connection.fetch(question)]
        finally:
            await connection.close()

    return asyncio.run(ask())
