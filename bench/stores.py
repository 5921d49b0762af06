"""A store of its own for each run of a benchmark: a file, or a new database on the server of `--store`."""

import argparse
import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        yield {"DRIFTD_DATABASE_URL": url}, lambda _folder: int(_ask(url, SIZE))
    finally:
        _ask(server, f"drop database {name} with (force)")


SIZE = """
select sum(pg_total_relation_size(oid)) from pg_class
where relkind = 'r' and relnamespace = 'public'::regnamespace
"""


def _in_database(server: str, name: str) -> str:
    from sqlalchemy.engine import make_url

    return make_url(server).set(database=name).render_as_string(hide_password=False)


def _ask(url: str, question: str) -> Any:
    import asyncpg

    async def ask() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(question)
        finally:
            await connection.close()

    return asyncio.run(ask())
