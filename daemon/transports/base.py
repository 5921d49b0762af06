"""The seam between where events are kept and the one Faust app that takes them through the pipeline.

A transport keeps *records* in topics and partitions, in order. A record's value is one event, or many as NDJSON.
Faust is handed *batches* (one Faust message per fetch and partition), because it costs as much for a message of
one event as for one of ten thousand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from daemon.transports.kafka_options import KafkaOptions

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from daemon.transports.in_flight import InFlight


class TopicPartition(NamedTuple):
    """One ordered log of a transport. Equal to Faust's and aiokafka's tuples of the same two values."""

    topic: str
    partition: int


class Record(NamedTuple):
    """One appended value: its place, when it was appended (epoch seconds), and how many events it holds."""

    offset: int
    timestamp: float
    key: bytes | None
    value: bytes
    events: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one partition in order, and the offset at which the next batch begins.

    `next_offset` is what the store keeps once the batch is processed. It may be more than one beyond the last
    record: logs have gaps, where a broker compacted them or keeps marks of its own. A batch that is nothing but a gap
    has no records.
    """

    topic: str
    partition: int
    records: Sequence[Record]
    next_offset: int

    @property
    def target(self) -> TopicPartition:
        """The partition that the records are of."""
        return TopicPartition(self.topic, self.partition)

    def since(self, offset: int) -> Batch:
        """Return the batch without the records before this offset."""
        if not self.records or self.records[0].offset >= offset:
            return self
        kept = [record for record in self.records if record.offset >= offset]
        return Batch(self.topic, self.partition, kept, max(self.next_offset, offset))


@dataclass(frozen=True, slots=True)
class BacklogLimits:
    """How much may wait to be processed before senders are told to slow down."""

    events: int = 5_000_000
    size: int = 2 << 30  # bytes
    in_flight: int = 64 << 20  # bytes that wait in memory for their commit


@dataclass(frozen=True, slots=True)
class Retention:
    """How long processed records are kept: whichever limit is met first. None keeps them for ever."""

    size: int | None = 4 << 30  # bytes of keys and values
    seconds: float | None = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """How large a batch gets, and how often there is one.

    A batch takes what is there at once, up to these sizes (a record larger than `size` comes alone). While traffic
    is so light that batches stay below them, there is at most one every `linger` seconds, so that a thousand
    senders of one event a second do not mean a thousand checkpoints a second.
    """

    records: int = 5000
    size: int = 1 << 23  # bytes
    linger: float = 0.05
    ahead: int = 3  # batches that are read and not yet processed, over all partitions


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """What any transport may need to know beside its URL."""

    data_folder: Path
    backlog: BacklogLimits = field(default_factory=BacklogLimits)
    retention: Retention = field(default_factory=Retention)
    topics: tuple[str, ...] = ()  # what will be read and appended to
    kafka: KafkaOptions = field(default_factory=KafkaOptions)


@dataclass(slots=True)
class Feed:
    """What the Faust side of a transport needs from the stream service: where to begin, and how far ahead to read."""

    transport: Transport
    limits: FetchLimits
    in_flight: InFlight
    offsets: Callable[[], Awaitable[Mapping[TopicPartition, int]]]
    # held while a batch is processed, and from asking for the offsets until they are sought: else a batch that is
    # stored in between would be read once more
    turn: asyncio.Lock
    # called with the offsets sought at each assignment, where fetching begins, or begins again
    sought: Callable[[Mapping[TopicPartition, int]], None]
    # called as partitions are taken away, with `turn` held: stores what there is in hand
    revoked: Callable[[], Awaitable[None]]
    # called with each batch that was fetched, before its turn has come
    fetched: Callable[[Batch], None]
    # called about every second in which there was nothing to fetch
    idle: Callable[[], None]


class Producer(Protocol):
    """Takes events in."""

    async def append(self, topic: str, value: bytes, events: int, *, timestamp: float, key: bytes | None = None) -> int:
        """Store one record and return its offset, once it is as safe as this transport makes it.

        `value` is one event or NDJSON of `events` many, `timestamp` the time of arrival in epoch seconds.
        Raises Backlog (send later), AppendFailed or LogFull (an operator is needed), LogClosed (stopping), each of
        which has stored nothing; and NotAcknowledged, which may have stored it (send the same events again).
        A cancelled append may be stored all the same.
        """
        ...


class Transport(Producer, Protocol):
    """A place where events are kept, and from which a Faust app reads them."""

    async def open(self) -> None:
        """Make it ready for `append`. Raises CannotOpen."""
        ...

    async def close(self) -> None:
        """Store what is being appended, and let go of files and connections. A second call does nothing."""
        ...

    async def continue_from(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Hear how far the store is, before events are taken in and at each assignment.

        A log that is younger than the store goes on at these offsets from here, if it is the transport's to say. Where
        it is not, an assignment begins at the first record that there is.
        """
        ...

    def app_settings(self) -> dict[str, Any]:
        """Return the settings of the Faust app that reads from here, its broker URL among them."""
        ...

    def end_offsets(self, topics: Iterable[str]) -> dict[TopicPartition, int]:
        """Return the next offset to be given out in each partition of the topics, as far as it is known now."""
        ...

    def partitions(self, topics: Iterable[str]) -> set[TopicPartition]:
        """Return all partitions of the topics, whoever reads them, as far as they are known now."""
        ...

    def caught_up(self, positions: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, float]:
        """Return, for each of these positions that is at the end of its log, a time (epoch seconds) as of which it is.

        Every record that was there at that time is before the position.
        """
        ...

    async def processed(self, target: TopicPartition, next_offset: int) -> None:
        """Hear that everything before this offset is processed, and its outcome stored."""
        ...

    async def trim(self, keep_from: Mapping[TopicPartition, int], *, now: float) -> int:
        """Remove what retention no longer keeps, and return how many records that were.

        Never removes a record at or after the offset in `keep_from` (the store's), nor anything of a partition
        that is not in it. `now` is in epoch seconds.
        """
        ...
