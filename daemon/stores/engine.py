"""Opens a database so that concurrent writers lose nothing."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

BUSY_TIMEOUT_SECONDS = 15.0


class StoreError(RuntimeError):
    """The store cannot be used as it is."""


class Store:
    """A database with one writer and any number of readers.

    ``begin`` yields a connection inside a write transaction that is committed at its end and rolled back by an
    exception; ``read`` yields a read-only one. Both may wait for other users of the same database, and raise
    ``sqlalchemy.exc.OperationalError`` where it cannot be reached.
    """

    def __init__(self, writer: AsyncEngine, reader: AsyncEngine) -> None:
        self._writer = writer
        self._reader = reader

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A write transaction."""
        async with self._writer.begin() as connection:
            yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A consistent view that cannot write."""
        async with self._reader.connect() as connection:
            yield connection

    async def close(self) -> None:
        """Close every connection."""
        await self._reader.dispose()
        await self._writer.dispose()


def open_store(url: str) -> Store:
    """A Store for a database URL. Its tables must have been made by ``migrate``.

    Raises StoreError for a kind of database that is not supported.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        writer = _sqlite(url, writes=True)
        return Store(writer, _sqlite(url, writes=False))
    if parsed.get_backend_name() == "postgresql":
        engine = create_async_engine(parsed.set(drivername="postgresql+asyncpg"), pool_pre_ping=True)
        return Store(engine, engine)
    raise StoreError(f"{parsed.get_backend_name()} is not supported: use sqlite:///FILE or postgresql://...")


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file."""
    return f"sqlite:///{path}"


def _sqlite(url: str, *, writes: bool) -> AsyncEngine:
    parsed = make_url(url).set(drivername="sqlite+aiosqlite")
    engine = create_async_engine(
        parsed,
        # one writer: SQLite has one lock, and waiting in our own queue is fair
        pool_size=1 if writes else 4,
        max_overflow=0 if writes else 4,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves: the driver's own begins too late
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        if not writes:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:
        # a transaction that starts by reading and then writes can fail at once with "database is locked"
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def is_full(error: BaseException) -> bool:
    """Whether a write failed because the disk has no room."""
    original = getattr(error, "orig", error)
    return isinstance(original, sqlite3.OperationalError) and "full" in str(original)
