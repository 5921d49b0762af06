"""SQLite as the store: one file, nothing to install, one writer at a time."""

import sqlite3
import time
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

BUSY_TIMEOUT_SECONDS: Final = 15.0


def engine(url: str, *, writes: bool) -> AsyncEngine:
    """Connections to the file of ``url``, read-only ones unless it ``writes``."""
    made = create_async_engine(
        make_url(url).set(drivername="sqlite+aiosqlite"),
        # one writer: SQLite has one lock, and waiting in our own queue is fair
        pool_size=1 if writes else 4,
        max_overflow=0 if writes else 4,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS},
    )

    @event.listens_for(made.sync_engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves: the driver's own begins too late
        cursor = connection.cursor()
        _set_wal(cursor)
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        if not writes:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    @event.listens_for(made.sync_engine, "begin")
    def begin(connection: Any) -> None:
        # a transaction that starts by reading and then writes can fail at once with "database is locked"
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return made


def _set_wal(cursor: Any) -> None:
    """Take the write-ahead log, which two that make the file at once cannot both do: SQLite does not wait there."""
    until = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.005)
        else:
            return
