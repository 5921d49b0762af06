"""The one thread that writes the event log: it commits whatever waits as one transaction.

The thread owns its connection. Others hand it appends and jobs through a queue, in order; a job (trimming, the
closing of the log) has the thread to itself. Whoever waits hears of the outcome only after the commit.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from daemon.transports.log_file import PAGE_BYTES, position, writing_error

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from daemon.transports.base import TopicPartition
    from daemon.transports.errors import AppendFailed

logger = logging.getLogger(__name__)

GROUP_BYTES = 16 << 20  # what one transaction takes up at most, if more than one append waits
CHECKPOINT_BYTES = 16 << 20  # how much the write-ahead log gathers before it is moved into the file


@dataclass(slots=True)
class Append:
    """A record on its way into the log; the writer fills in its offset, the event loop resolves its future."""

    target: TopicPartition
    timestamp: float
    key: bytes | None
    value: bytes
    events: int
    future: asyncio.Future[int]
    offset: int = -1

    @property
    def size(self) -> int:
        """How many bytes of key and value the record has."""
        return len(self.value) + (len(self.key) if self.key else 0)


@dataclass(frozen=True, slots=True)
class Tail:
    """Where a partition ends: the next offset, and what was appended to it since it was made."""

    id: int
    next_offset: int
    events: int
    size: int


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    settle: Callable[[Any, BaseException | None], None]


@dataclass(slots=True)
class LogWriter:
    """Commits groups of appends on a thread of its own.

    `post` hands a callable to the event loop that owns the log (`loop.call_soon_threadsafe`).
    `settled` is called there once a group, after its commit or its failure, with the tails of all partitions.
    """

    path: Path
    post: Callable[..., object]
    settled: Callable[[Sequence[Append], AppendFailed | None, dict[TopicPartition, Tail]], None]
    commits: int = 0
    _queue: SimpleQueue[Append | _Job | None] = field(default_factory=SimpleQueue)
    _thread: threading.Thread | None = None
    _tails: dict[TopicPartition, Tail] = field(default_factory=dict)
    _since_checkpoint: int = 0

    def start(self, connection: sqlite3.Connection, tails: dict[TopicPartition, Tail]) -> None:
        """Begin writing through this connection, which becomes the thread's own."""
        self._tails = dict(tails)
        self._thread = threading.Thread(target=self._run, args=(connection,), name="event-log", daemon=True)
        self._thread.start()

    def append(self, append: Append) -> None:
        """Queue a record."""
        self._queue.put(append)

    def run(
        self, work: Callable[[sqlite3.Connection], Any], settle: Callable[[Any, BaseException | None], None]
    ) -> None:
        """Queue a job behind the appends that wait already; `settle(result, error)` is called on the event loop."""
        self._queue.put(_Job(work, settle))

    def stop(self) -> None:
        """Write what is queued, and end the thread. Blocks; nothing may be queued any more."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _run(self, connection: sqlite3.Connection) -> None:
        waiting: Append | _Job | None = self._queue.get()
        while waiting is not None:
            if isinstance(waiting, _Job):
                self._do(connection, waiting)
                waiting = self._queue.get()
                continue
            group, size = [waiting], waiting.size
            while True:
                try:
                    # whoever arrived meanwhile shares the commit; a job or the end closes the group
                    waiting = self._queue.get_nowait()
                except Empty:
                    self._commit(connection, group)
                    waiting = self._queue.get()
                    break
                if not isinstance(waiting, Append) or size + waiting.size > GROUP_BYTES:
                    self._commit(connection, group)
                    break
                group.append(waiting)
                size += waiting.size
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            logger.warning("the write-ahead log of %s stays beside it: %s", self.path, error)
        connection.close()

    def _do(self, connection: sqlite3.Connection, job: _Job) -> None:
        result, error = None, None
        try:
            result = job.work(connection)
        except Exception as caught:  # noqa: BLE001 - raised again where the job's result is awaited
            error = caught
        self.post(job.settle, result, error)
        self._since_checkpoint += GROUP_BYTES
        self._checkpoint(connection)

    def _commit(self, connection: sqlite3.Connection, group: Sequence[Append]) -> None:
        error: AppendFailed | None = None
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                tails = self._insert(connection, group)
                connection.execute("COMMIT")
            except BaseException:
                # a full disk may have rolled back already
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except Exception as caught:  # noqa: BLE001 - every sender hears of it
            error = writing_error(self.path, caught)
        else:
            self._tails = tails
            self.commits += 1
        self.post(self.settled, group, error, self._tails)
        # a commit writes whole pages: those of the values, the last one of the table, and that of the partition
        self._since_checkpoint += sum(append.size for append in group) + 2 * PAGE_BYTES
        self._checkpoint(connection)

    def advance(
        self, connection: sqlite3.Connection, target: TopicPartition, next_offset: int
    ) -> dict[TopicPartition, Tail]:
        """Let a partition go on at this higher offset (a job for `run`), and return all tails."""
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            tail = self._tails.get(target) or _new_partition(connection, target)
            tail = replace(tail, next_offset=max(tail.next_offset, next_offset))
            connection.execute("UPDATE partitions SET next_offset = ? WHERE id = ?", (tail.next_offset, tail.id))
        self._tails = {**self._tails, target: tail}
        return self._tails

    def _insert(self, connection: sqlite3.Connection, group: Sequence[Append]) -> dict[TopicPartition, Tail]:
        tails = dict(self._tails)
        rows = []
        for append in group:
            tail = tails.get(append.target) or _new_partition(connection, append.target)
            append.offset = tail.next_offset
            rows.append(
                (
                    position(tail.id, tail.next_offset),
                    append.timestamp,
                    append.events,
                    tail.events,
                    tail.size,
                    append.key,
                    append.value,
                )
            )
            tails[append.target] = replace(
                tail,
                next_offset=tail.next_offset + 1,
                events=tail.events + append.events,
                size=tail.size + append.size,
            )
        connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        for target in {append.target for append in group}:
            tail = tails[target]
            connection.execute(
                "UPDATE partitions SET next_offset = ?, events = ?, bytes = ? WHERE id = ?",
                (tail.next_offset, tail.events, tail.size, tail.id),
            )
        return tails

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        """Move the write-ahead log into the file, after its senders were answered and only now and then."""
        if self._since_checkpoint < CHECKPOINT_BYTES:
            return
        self._since_checkpoint = 0
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            # what was acknowledged is safe in the write-ahead log, and after as much again it is tried again
            logger.warning("could not checkpoint %s: %s", self.path, error)


def _new_partition(connection: sqlite3.Connection, target: TopicPartition) -> Tail:
    """Make an empty partition, in the transaction of the caller."""
    cursor = connection.execute(
        "INSERT INTO partitions (topic, number, next_offset, events, bytes) VALUES (?, ?, 0, 0, 0)",
        (target.topic, target.partition),
    )
    assert cursor.lastrowid is not None  # noqa: S101 - an insert always has one
    return Tail(cursor.lastrowid, 0, 0, 0)
