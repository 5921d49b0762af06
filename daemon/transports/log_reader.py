"""The reading side of the event log's file. Its calls block, and belong on one thread that is not the event loop's."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from daemon.transports.base import Record, TopicPartition
from daemon.transports.log_file import connect_reader, offset_of, opening_error, position
from daemon.transports.log_writer import Tail

if TYPE_CHECKING:
    from pathlib import Path


class Mark(NamedTuple):
    """A place in a partition: the offset, and how many events and bytes were appended before it."""

    offset: int
    events: int
    size: int


class LogReader:
    """A connection for reading, beside that of the writer."""

    def __init__(self, path: Path) -> None:
        """Open the file, which the writer has made. Raises CannotOpen."""
        self._path = path
        self._connection = connect_reader(path)

    def partitions(self) -> dict[TopicPartition, tuple[Tail, Mark]]:
        """Return where every partition ends and begins. Raises CannotOpen."""
        try:
            rows = self._connection.execute(
                "SELECT id, topic, number, next_offset, events, bytes FROM partitions"
            ).fetchall()
            tails = {TopicPartition(topic, number): Tail(identity, *end) for identity, topic, number, *end in rows}
            return {target: (tail, self.mark(tail, 0)) for target, tail in tails.items()}
        except sqlite3.Error as error:
            raise opening_error(self._path, error) from error

    def mark(self, tail: Tail, offset: int) -> Mark:
        """Return the place of the first record at or after the offset, or the partition's end."""
        row = self._connection.execute(
            "SELECT position, events_before, bytes_before FROM records"
            " WHERE position >= ? AND position < ? ORDER BY position LIMIT 1",
            (position(tail.id, offset), position(tail.id + 1, 0)),
        ).fetchone()
        if row is None:
            return Mark(tail.next_offset, tail.events, tail.size)
        return Mark(offset_of(row[0]), row[1], row[2])

    def records(self, partition_id: int, offset: int, max_records: int, max_bytes: int) -> list[Record]:
        """Return records from the offset on, up to both limits, but at least one if there is one."""
        rows = self._connection.execute(
            "SELECT position, timestamp, key, value, events FROM records"
            " WHERE position >= ? AND position < ? ORDER BY position LIMIT ?",
            (position(partition_id, offset), position(partition_id + 1, 0), max_records),
        )
        records: list[Record] = []
        size = 0
        for at, timestamp, key, value, events in rows:
            size += len(value) + (len(key) if key else 0)
            if records and size > max_bytes:
                break
            records.append(Record(offset_of(at), timestamp, key, value, events))
        # an unfinished statement would hold its snapshot, and the write-ahead log could not be emptied
        rows.close()
        return records

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
