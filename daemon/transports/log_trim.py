"""Removes the oldest records of the event log, a chunk at a time so that appends go on between."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from daemon.transports.log_file import PAGE_BYTES, offset_of, position

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

CHUNK_RECORDS = 1000
CHUNK_BYTES = 4 << 20  # keeps the appends that wait behind a chunk below a tenth of a second
VACUUM_PAGES = CHUNK_BYTES // PAGE_BYTES
KEPT_FREE_PAGES = (64 << 20) // PAGE_BYTES  # free pages that stay in the file for the records to come


class Span(NamedTuple):
    """What may be removed from one partition: its records from `start`, and before `stop`."""

    id: int
    start: int
    stop: int


class Removed(NamedTuple):
    """What one chunk removed: of which partition, where that begins now, and how much it was."""

    id: int
    start: int
    records: int
    events: int
    size: int


def remove_chunk(
    connection: sqlite3.Connection, spans: Sequence[Span], before: float | None, excess: int
) -> Removed | None:
    """Remove the head of the partition whose oldest record is the oldest of all, in one transaction.

    A record goes if it was appended before the time `before` (epoch seconds), or while records of `excess` bytes
    are still to go. Records go in order only: one that has to stay protects those behind it. None when no span
    has a record that goes.
    """
    heads: list[tuple[float, Span]] = []
    for span in spans:
        row = connection.execute(
            "SELECT timestamp FROM records WHERE position >= ? AND position < ? ORDER BY position LIMIT 1",
            (position(span.id, span.start), position(span.id, span.stop)),
        ).fetchone()
        if row is not None:
            heads.append((row[0], span))
    for _, span in sorted(heads):
        removed = _remove_head(connection, span, before, excess)
        if removed.records:
            return removed
    return None


def _remove_head(connection: sqlite3.Connection, span: Span, before: float | None, excess: int) -> Removed:
    rows = connection.execute(
        "SELECT position, timestamp, events, length(value) + ifnull(length(key), 0) FROM records"
        " WHERE position >= ? AND position < ? ORDER BY position LIMIT ?",
        (position(span.id, span.start), position(span.id, span.stop), CHUNK_RECORDS),
    )
    records = events = size = 0
    last = -1
    for at, timestamp, record_events, record_size in rows:
        old = before is not None and timestamp < before
        if (not old and size >= excess) or size >= CHUNK_BYTES:
            break
        last = at
        records += 1
        events += record_events
        size += record_size
    if records == 0:
        return Removed(span.id, span.start, 0, 0, 0)
    # one statement is one transaction of its own
    connection.execute(
        "DELETE FROM records WHERE position >= ? AND position <= ?", (position(span.id, span.start), last)
    )
    return Removed(span.id, offset_of(last) + 1, records, events, size)


def give_back(connection: sqlite3.Connection) -> bool:
    """Return some of the file's free pages to the system, if there are many; True if there is more to return."""
    free: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    if free <= KEPT_FREE_PAGES:
        return False
    # executescript, because execute would stop after the first page
    connection.executescript(f"PRAGMA incremental_vacuum({min(free - KEPT_FREE_PAGES, VACUUM_PAGES)})")
    return free - VACUUM_PAGES > KEPT_FREE_PAGES
