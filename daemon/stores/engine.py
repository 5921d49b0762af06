"""Opens a database so that concurrent writers lose nothing."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from sqlalchemy.engine import make_url
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.stores.errors import StoreAway, StoreError

DEFAULT_CONNECTIONS: Final = 8

Exclude = Callable[[AsyncConnection, Collection[str] | None], Awaitable[None]]
"""Begins a write transaction by keeping out others: of these models, or with None all others."""


class Store:
    """A database with one writer for each model and any number of readers.

    ``begin`` yields a connection inside a write transaction that is committed at its end and rolled back by an
    exception; ``read`` yields a read-only one. Both may wait for other users of the same database, and raise StoreAway
    or ``sqlalchemy.exc.DBAPIError`` where it cannot be reached.
    """

    def __init__(self, writer: AsyncEngine, reader: AsyncEngine, exclude: Exclude | None = None) -> None:
        self._writer = writer
        self._reader = reader
        self._exclude = exclude

    @asynccontextmanager
    async def begin(self, models: Collection[str] | None = None) -> AsyncIterator[AsyncConnection]:
        """A write transaction, beside which no other process or task writes.

        Where ``models`` are given it changes nothing but what belongs to them, and to partitions that nobody else
        reads: then others may write beside it what belongs to other models, if the database can do that.
        """
        async with _free_connection(), self._writer.begin() as connection:
            if self._exclude is not None:
                await self._exclude(connection, models)
            yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A consistent view that cannot write."""
        async with _free_connection(), self._reader.connect() as connection:
            yield connection

    async def close(self) -> None:
        """Close every connection."""
        await self._reader.dispose()
        await self._writer.dispose()


@asynccontextmanager
async def _free_connection() -> AsyncIterator[None]:
    try:
        yield
    except PoolTimeoutError as busy:
        raise StoreAway(
            "every connection to the store is in use: it is slow, or DRIFTD_DATABASE_CONNECTIONS is too low"
        ) from busy


def open_store(url: str, *, connections: int = DEFAULT_CONNECTIONS) -> Store:
    """A Store for a database URL. Its tables must have been made by ``migrate``.

    ``connections`` is the most that are open to a database server at a time. Raises StoreError for a kind of database
    that is not supported, or parameters that it does not know.
    """
    kind = make_url(url).get_backend_name()
    if kind == "sqlite":
        from daemon.stores import sqlite

        return Store(sqlite.engine(url, writes=True), sqlite.engine(url, writes=False))
    if kind == "postgresql":
        from daemon.stores import postgresql

        writer, reader = postgresql.engines(url, connections)
        return Store(writer, reader, postgresql.exclude)
    raise StoreError(f"{kind} is not supported: use sqlite:///FILE or postgresql://...")


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file."""
    return f"sqlite:///{path}"


def first_line(error: BaseException) -> str:
    """What went wrong, in the database's words, without the statement that failed."""
    return (str(getattr(error, "orig", error)) or type(error).__name__).splitlines()[0]


def is_full(error: BaseException) -> bool:
    """Whether a write failed because the disk has no room."""
    original = getattr(error, "orig", error)
    postgresql_disk_full = getattr(original, "sqlstate", None) == "53100"
    return postgresql_disk_full or getattr(original, "sqlite_errorname", "").startswith("SQLITE_FULL")
