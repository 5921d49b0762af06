"""The file behind the event log: its tables, its settings, and how SQLite's errors read to an operator.

A record's key in the file is `partition id << 40 | offset`, the table's own row id: reading from an offset is one
descent and a scan, and appending always extends the last page. With every record stand the totals of events and
bytes that were appended to its partition before it, so that the size of any stretch of the log is a subtraction.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from daemon.transports.errors import (
    AppendFailed,
    CannotOpen,
    DataFolderNotWritable,
    LogDamaged,
    LogFull,
    LogTooNew,
)

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME = "events.db"
FORMAT = 1
APPLICATION_ID = 0x64726966  # "drif", tells the file from other SQLite files
OFFSET_BITS = 40  # a million million records a partition, eight million partitions
PAGE_BYTES = 8192  # a single event rewrites two pages, a body of 200 KB fills 26

_TABLES = """
CREATE TABLE partitions (
    id INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    number INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    events INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    UNIQUE (topic, number)
);
CREATE TABLE records (
    position INTEGER PRIMARY KEY,
    timestamp REAL NOT NULL,
    events INTEGER NOT NULL,
    events_before INTEGER NOT NULL,
    bytes_before INTEGER NOT NULL,
    key BLOB,
    value BLOB NOT NULL
);
"""


def position(partition_id: int, offset: int) -> int:
    """Return the key of a record in the file."""
    return partition_id << OFFSET_BITS | offset


def offset_of(position: int) -> int:
    """Return a record's offset from its key in the file."""
    return position & ((1 << OFFSET_BITS) - 1)


def connect_writer(path: Path) -> sqlite3.Connection:
    """Open the file for writing, and make it if there is none.

    Commits are on the disk when they return (`synchronous=FULL`); the writer moves them from the write-ahead log
    into the file itself when it has nothing more urgent to do (see LogWriter).
    Raises what CannotOpen names.
    """
    try:
        connection = _connect(path)
    except sqlite3.Error as error:
        raise opening_error(path, error) from error
    try:
        # these two only work before the first table is made
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # a Mac's plain fsync does not reach the disk
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA journal_size_limit = {64 << 20}")
        _check_format(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise opening_error(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open the file for reading, beside the writer."""
    try:
        connection = _connect(path)
        connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error as error:
        raise opening_error(path, error) from error
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    # each connection stays on one thread, but is closed from another when opening failed half way
    return sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False)


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables == 0 and found == 0:
        connection.executescript(
            f"BEGIN IMMEDIATE; {_TABLES}"
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; COMMIT;"
        )
    elif application != APPLICATION_ID:
        raise LogDamaged(path, "another program made it")
    elif found > FORMAT:
        raise LogTooNew(path, found, FORMAT)


def opening_error(path: Path, error: sqlite3.Error) -> CannotOpen:
    """Return what an error of SQLite on opening the file means to an operator."""
    match _primary_code(error):
        case sqlite3.SQLITE_FULL:
            return CannotOpen(f"the disk that holds {path} is full; free some space and start again")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return DataFolderNotWritable(path.parent, str(error))
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return LogDamaged(path, str(error))
        case _:
            return CannotOpen(f"{path} cannot be opened: {error}")


def writing_error(path: Path, error: BaseException) -> AppendFailed:
    """Return what an error on writing means to whoever sent the events."""
    if isinstance(error, sqlite3.Error) and _primary_code(error) == sqlite3.SQLITE_FULL:
        return LogFull(f"the disk that holds {path} is full; free some space and send the events again")
    return AppendFailed(f"{path} cannot be written: {error}")


def _primary_code(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF
