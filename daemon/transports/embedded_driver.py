"""Faust's side of the embedded transport: its Transport, Consumer and Producer over the event log.

Faust finds it by the URL scheme `embedded`, through the entry point group `faust.transports` where driftd is
installed, and through `register` in any case. It serves apps that daemon.stream builds: they carry a Feed.
"""

# ruff: noqa: ARG002 - the signatures are Faust's

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, ClassVar, cast

from faust.transport import base
from faust.transport.consumer import Consumer as BaseConsumer
from faust.transport.drivers import TRANSPORTS
from faust.transport.producer import Producer as BaseProducer
from faust.types import TP, ConsumerMessage, RecordMetadata

from daemon.transports.base import Batch, TopicPartition
from daemon.transports.faust_batches import feed_of, message_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping

    from faust.types import AppT

    from daemon.transports.embedded import EmbeddedTransport
    from daemon.transports.event_log import EventLog

faust_logger = logging.getLogger("faust.driftd")  # what Faust reports through classes of ours

SCHEME = "embedded"
GENERATION = 1  # there is one assignment in the life of a process: every partition is its own


def register() -> None:
    """Make the scheme known to Faust, installed or not."""
    TRANSPORTS.aliases.setdefault(SCHEME, f"{__name__}:Transport")


def _log(app: AppT) -> EventLog:
    return cast("EmbeddedTransport", feed_of(app).transport).log


class Consumer(BaseConsumer):
    """Fetches batches from the event log, on the event loop of the app.

    Nothing is ever committed here: the offset that counts is in the store, in the transaction that holds
    everything derived from the events before it, and that is where an assignment seeks to.
    """

    logger = faust_logger

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._feed = feed_of(self.app)
        self._log = _log(self.app)
        self._assigned: set[TP] = set()
        self._positions: dict[TP, int] = {}
        self._not_before = 0.0  # loop time of the next fetch, while batches are small

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Have all partitions of these topics assigned.

        In the background, because the assignment waits for the subscription that this call is part of.
        """
        self.add_future(self._assign(set(topics)))

    async def _assign(self, topics: set[str]) -> None:
        self.app.on_rebalance_start()
        await self.on_partitions_revoked(set())
        # a topic's partitions are those that something was appended to, and the first in any case
        self._assigned = {TP(topic, 0) for topic in topics}
        self._assigned |= {TP(*target) for target in self._log.partitions() if target.topic in topics}
        self.app.consumer_generation_id = GENERATION
        await self.on_partitions_assigned(self._assigned, GENERATION)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Go to the offsets that the store holds, and to the start of the log where it holds none."""
        async with self._feed.turn:
            stored = await self._feed.offsets()
            assigned = [TopicPartition(*tp) for tp in self._assigned]
            begins = {target: stored.get(target, self._log.start_offset(*target)) for target in assigned}
            await self._feed.transport.continue_from(begins)
            self._positions = {TP(*target): offset for target, offset in begins.items()}
            self._feed.in_flight.forget()
            self._feed.sought(begins)
        return dict(self._positions)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Mapping[TP, list[Batch]]:  # noqa: ASYNC109 - Faust's
        try:
            async with asyncio.timeout(timeout):
                await self._feed.in_flight.room()
                active = self._assigned if active_partitions is None else active_partitions
                positions = {tp: offset for tp, offset in self._positions.items() if tp in active}
                await self._log.wait_beyond(cast("dict[TopicPartition, int]", positions))
                await asyncio.sleep(self._not_before - self.loop.time())
        except TimeoutError:
            self._feed.idle()
            return {}
        return await self._fetch(positions)

    async def _fetch(self, positions: dict[TP, int]) -> Mapping[TP, list[Batch]]:
        """Read one batch, of the partition whose turn it is."""
        limits = self._feed.limits
        ready = [tp for tp, offset in positions.items() if self._log.end_offset(*tp) > offset]
        # positions are in the order in which they were last served, so the first has waited longest
        tp = ready[0]
        records = await self._log.read(*tp, positions[tp], limits.records, limits.size)
        if self._positions.get(tp) != positions[tp]:
            return {}  # sought elsewhere meanwhile
        batch = Batch(tp.topic, tp.partition, records, records[-1].offset + 1)
        del self._positions[tp]
        self._positions[tp] = batch.next_offset
        self._feed.in_flight.add(batch)
        self._feed.fetched(batch)
        caught_up = batch.next_offset == self._log.end_offset(*tp)
        self._not_before = self.loop.time() + (limits.linger if caught_up else 0.0)
        return {tp: [batch]}

    def _to_message(self, tp: TP, record: Batch) -> ConsumerMessage:
        return message_of(self.app, record)

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        return True

    async def _seek(self, partition: TP, offset: int) -> None:
        self._positions[partition] = offset

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Go to these offsets."""
        self._positions.update(partitions)

    async def seek_to_beginning(self, *partitions: TP) -> None:
        """Go to the oldest records that are kept."""
        self._positions.update({tp: self._log.start_offset(*tp) for tp in partitions})

    def assignment(self) -> set[TP]:
        """Return the partitions that this process reads."""
        return self._assigned

    async def position(self, tp: TP) -> int | None:
        """Return the offset of the next record to be fetched."""
        return self._positions.get(tp)

    def highwater(self, tp: TP) -> int:
        """Return the offset that the next record will get."""
        return self._log.end_offset(*tp)

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the offsets that the next records will get."""
        return {tp: self._log.end_offset(*tp) for tp in partitions}

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the offsets of the oldest records that are kept."""
        return {tp: self._log.start_offset(*tp) for tp in partitions}

    def topic_partitions(self, topic: str) -> int | None:
        """Return how many partitions the topic has."""
        return len([tp for tp in self._assigned if tp.topic == topic]) or None

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        """Return the partition of a record: 0, unless its sender names another."""
        return partition or 0

    async def create_topic(self, topic: str, partitions: int, replication: int, **options: Any) -> None:
        """Do nothing: a topic comes into being with its first record."""

    def verify_recovery_event_path(self, now: float, tp: TP) -> None:
        """Do nothing: there are no tables to recover."""


class Producer(BaseProducer):
    """Lets a Faust app send to the event log like to any broker. One message is one event."""

    logger = faust_logger

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
        *,
        transactional_id: str | None = None,
    ) -> Awaitable[RecordMetadata]:
        """Begin to append, and return what to wait for."""
        return asyncio.ensure_future(self.send_and_wait(topic, key, value, partition, timestamp, headers))

    async def send_and_wait(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
        *,
        transactional_id: str | None = None,
    ) -> RecordMetadata:
        """Append, and return once it is durable."""
        number = partition or 0
        offset = await _log(self.app).append(
            topic, value or b"", 1, timestamp=timestamp or 0.0, key=key, partition=number
        )
        return RecordMetadata(topic, number, TP(topic, number), offset, timestamp, 0)

    def key_partition(self, topic: str, key: bytes) -> TP:
        """Return the topic's first partition."""
        return TP(topic, 0)

    async def create_topic(self, topic: str, partitions: int, replication: int, **options: Any) -> None:
        """Do nothing: a topic comes into being with its first record."""


class Transport(base.Transport):
    """What Faust makes for an app whose broker is embedded://."""

    Consumer: ClassVar[Any] = Consumer
    Producer: ClassVar[Any] = Producer
    driver_version = "driftd event log"
