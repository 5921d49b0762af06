"""A durable, append-only log of events in one SQLite file: the broker of an installation that has none.

Written by hand because nothing that exists gives group commit, back-pressure and readers that wake at once, in one
process and without a server. `append` returns after the commit is on the disk: what it acknowledged survives a
`kill -9` and, as far as the disk keeps its word, a power cut.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, ParamSpec, Self, TypeVar

from daemon.transports.base import BacklogLimits, Record, TopicPartition
from daemon.transports.errors import Backlog, LogClosed
from daemon.transports.folder_lock import FolderLock
from daemon.transports.log_file import FILE_NAME, connect_writer
from daemon.transports.log_reader import LogReader, Mark
from daemon.transports.log_trim import Span, give_back, remove_chunk
from daemon.transports.log_writer import Append, LogWriter, Tail
from daemon.transports.pace import Pace

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from daemon.transports.errors import AppendFailed

LOCK_NAME = "events.lock"

_T = TypeVar("_T")
_P = ParamSpec("_P")


class Unread(NamedTuple):
    """What waits to be processed: how many events, and how many bytes of keys and values."""

    events: int
    size: int


class _Partition:
    """What the event loop knows of a partition: where it begins, was processed up to, and ends."""

    def __init__(self, tail: Tail, start: Mark) -> None:
        self.tail = tail
        self.start = start
        self.processed = start

    @property
    def end(self) -> Mark:
        return Mark(self.tail.next_offset, self.tail.events, self.tail.size)


class EventLog:
    """The log of one data folder, used from one event loop.

    Partitions come into being with their first record; offsets begin at 0 and have no gaps, except where
    `advance` made one.
    """

    def __init__(self, folder: Path, limits: BacklogLimits, lock: FolderLock) -> None:
        """Use `EventLog.open`."""
        self.path = folder / FILE_NAME
        self.limits = limits
        self._lock = lock
        self._loop = asyncio.get_running_loop()
        self._writer = LogWriter(self.path, self._post, self._settled)
        self._reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="event-log-reader")
        self._reader: LogReader
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._waiters: set[asyncio.Future[None]] = set()
        self._committing = Unread(0, 0)
        self._pace = Pace()
        self._closed = False

    @classmethod
    async def open(cls, folder: Path, limits: BacklogLimits | None = None) -> Self:
        """Open the log of this folder, or make both.

        Raises DataFolderInUse, DataFolderNotWritable, LogTooNew, LogDamaged, or CannotOpen for anything else.
        """
        lock = FolderLock.acquire(folder, LOCK_NAME)
        try:
            log = cls(folder, limits or BacklogLimits(), lock)
            log._reader = await log._read(log._connect)
        except BaseException:
            lock.release()
            raise
        return log

    async def close(self) -> None:
        """Commit what is being appended, and let go of the folder. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        await self._read(self._reader.close)
        # what it commits now settles before this returns: the loop takes the calls of other threads in their order
        await self._loop.run_in_executor(self._reading, self._writer.stop)
        self._reading.shutdown(wait=False)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(LogClosed("the event log was closed"))
        self._lock.release()

    async def append(
        self, topic: str, value: bytes, events: int, *, timestamp: float, key: bytes | None = None, partition: int = 0
    ) -> int:
        """Store one record, and return its offset after its commit is on the disk.

        `value` is one event or NDJSON of `events` many, `timestamp` the time of arrival in epoch seconds. Appends
        that wait at the same time share one commit. They are stored in the order of the calls.
        Raises Backlog (slow down), LogFull or AppendFailed (an operator is needed), LogClosed; in each case nothing
        was stored. A cancelled append may be stored all the same.
        """
        if self._closed:
            raise LogClosed("the event log was closed")
        self._hold_back()
        append = Append(TopicPartition(topic, partition), timestamp, key, value, events, self._loop.create_future())
        self._committing = Unread(self._committing.events + events, self._committing.size + append.size)
        self._writer.append(append)
        return await append.future

    async def read(self, topic: str, partition: int, offset: int, max_records: int, max_bytes: int) -> list[Record]:
        """Return the records from this offset on, in order, up to both limits but at least one if there is one.

        An offset before the start of the log reads from its start.
        """
        known = self._partitions.get(TopicPartition(topic, partition))
        if known is None or offset >= known.tail.next_offset:
            return []
        return await self._read(self._reader.records, known.tail.id, offset, max_records, max_bytes)

    async def wait_beyond(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Wait until one of these partitions has a record at or after the offset given for it.

        Raises LogClosed when the log is closed meanwhile.
        """
        while not any(self.end_offset(*target) > offset for target, offset in offsets.items()):
            if self._closed:
                raise LogClosed("the event log was closed")
            waiter = self._loop.create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)

    @property
    def commits(self) -> int:
        """How many transactions were committed since the log was opened."""
        return self._writer.commits

    def partitions(self) -> list[TopicPartition]:
        """Return every partition that something was appended to."""
        return sorted(self._partitions)

    def start_offset(self, topic: str, partition: int = 0) -> int:
        """Return the offset of the oldest record that is kept, or the end offset if there is none."""
        known = self._partitions.get(TopicPartition(topic, partition))
        return known.start.offset if known else 0

    def end_offset(self, topic: str, partition: int = 0) -> int:
        """Return the offset that the next record will get."""
        known = self._partitions.get(TopicPartition(topic, partition))
        return known.tail.next_offset if known else 0

    def size_bytes(self) -> int:
        """Return how many bytes of keys and values are kept."""
        return sum(known.tail.size - known.start.size for known in self._partitions.values())

    def file_bytes(self) -> int:
        """Return what the log takes on the disk, its write-ahead log included."""
        files = [self.path, self.path.with_name(self.path.name + "-wal")]
        return sum(file.stat().st_size for file in files if file.exists())

    def backlog(self) -> Unread:
        """Return what was stored and not yet processed, over all partitions."""
        unread = [(known.end, known.processed) for known in self._partitions.values()]
        return Unread(
            sum(end.events - processed.events for end, processed in unread),
            sum(end.size - processed.size for end, processed in unread),
        )

    async def processed(self, topic: str, partition: int, next_offset: int) -> None:
        """Hear that everything before this offset is processed: it counts as backlog no more.

        Nothing of this is stored: after opening, everything that is kept counts as backlog until this is called.
        """
        known = self._partitions.get(TopicPartition(topic, partition))
        if known is None:
            return
        mark = known.end
        if known.start.offset < next_offset < mark.offset:
            mark = await self._read(self._reader.mark, known.tail, next_offset)
        elif next_offset <= known.start.offset:
            mark = known.start
        self._pace.consumed(max(0, mark.size - known.processed.size), now=self._loop.time())
        known.processed = mark

    async def advance(self, topic: str, partition: int, next_offset: int) -> None:
        """Let the next record have at least this offset.

        For a log that begins anew beside a store that has seen an older one: what is appended from here on must
        not look as if it had been processed.
        """
        target = TopicPartition(topic, partition)
        end = self.end_offset(topic, partition)
        self._extend(await self._write(partial(self._writer.advance, target=target, next_offset=next_offset)))
        known = self._partitions[target]
        if known.start.offset == end:  # nothing is kept
            known.start = known.processed = known.end

    async def trim(
        self, keep_from: Mapping[TopicPartition, int], *, before: float | None = None, max_bytes: int | None = None
    ) -> int:
        """Remove the oldest records and return how many that were; appends go on meanwhile.

        Those appended earlier than `before` (epoch seconds) go, and as many as it takes to keep no more than
        `max_bytes` of keys and values. What is at or after the offset that `keep_from` has for its partition stays,
        and so does all of a partition that is not in it.
        """
        total = 0
        # what is there now decides: a trim that chased the appends would never end
        by_id = {known.tail.id: known for target, known in self._partitions.items() if target in keep_from}
        stops = {
            self._partitions[target].tail.id: min(offset, self._partitions[target].tail.next_offset)
            for target, offset in keep_from.items()
            if target in self._partitions
        }
        excess = 0 if max_bytes is None else max(0, self.size_bytes() - max_bytes)
        while True:
            spans = [Span(identity, by_id[identity].start.offset, stop) for identity, stop in stops.items()]
            removed = await self._write(partial(remove_chunk, spans=spans, before=before, excess=excess))
            if removed is None:
                break
            known = by_id[removed.id]
            known.start = Mark(removed.start, known.start.events + removed.events, known.start.size + removed.size)
            known.processed = max(known.processed, known.start)
            excess = max(0, excess - removed.size)
            total += removed.records
        while await self._write(give_back):
            pass
        return total

    def _hold_back(self) -> None:
        unread, committing = self.backlog(), self._committing
        events, size = unread.events + committing.events, unread.size + committing.size
        if events >= self.limits.events or size >= self.limits.size:
            retry_after = self._pace.retry_after(size, now=self._loop.time())
            raise Backlog(events=events, size=size, retry_after=retry_after)
        if committing.size >= self.limits.in_flight:
            raise Backlog(events=events, size=size, retry_after=1.0)

    def _post(self, callback: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            # the loop was closed and the log was not: nobody is left to hear of it
            if not self._loop.is_closed():
                raise

    def _settled(self, group: Sequence[Append], error: AppendFailed | None, tails: dict[TopicPartition, Tail]) -> None:
        events = sum(append.events for append in group)
        size = sum(append.size for append in group)
        self._committing = Unread(self._committing.events - events, self._committing.size - size)
        self._extend(tails)
        for append in group:
            if append.future.done():  # its sender was cancelled
                continue
            if error is None:
                append.future.set_result(append.offset)
            else:
                append.future.set_exception(error)

    def _extend(self, tails: Mapping[TopicPartition, Tail]) -> None:
        for target, tail in tails.items():
            if target in self._partitions:
                self._partitions[target].tail = tail
            else:
                self._partitions[target] = _Partition(tail, Mark(0, 0, 0))
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _read(self, work: Callable[_P, _T], *arguments: _P.args, **options: _P.kwargs) -> _T:
        return await self._loop.run_in_executor(self._reading, partial(work, *arguments, **options))

    async def _write(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        if self._closed:
            raise LogClosed("the event log was closed")
        future: asyncio.Future[_T] = self._loop.create_future()

        def settle(result: _T, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        self._writer.run(work, settle)
        return await future

    def _connect(self) -> LogReader:
        writing = connect_writer(self.path)
        try:
            reader = LogReader(self.path)
            partitions = reader.partitions()
        except BaseException:
            writing.close()
            raise
        self._partitions = {target: _Partition(tail, start) for target, (tail, start) in partitions.items()}
        self._writer.start(writing, {target: tail for target, (tail, _) in partitions.items()})
        return reader
