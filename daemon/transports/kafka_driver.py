"""Faust's side of the Kafka transport: its aiokafka consumer, with a batch for each fetch and our own offsets.

It serves apps that daemon.stream builds: they carry a Feed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, cast

from aiokafka.errors import KafkaError, KafkaTimeoutError, OffsetOutOfRangeError
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as faust_aiokafka
from faust.transport.producer import Producer as BaseProducer
from faust.types import TP, ConsumerMessage
from mode import Service

from daemon.transports.base import Batch, Record, TopicPartition
from daemon.transports.faust_batches import feed_of, message_of
from daemon.transports.kafka_thread import Bounds, ConsumerThread, Fetched

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from daemon.transports.kafka import KafkaTransport
    from daemon.transports.kafka_records import Asked

logger = logging.getLogger(__name__)
faust_logger = logging.getLogger("faust.driftd")  # what Faust reports through classes of ours

SCHEME = "driftd-kafka"
TELL_SECONDS = 2.0
LEAVE_SECONDS = 3.0
ASK_AGAIN_SECONDS = 1.0
HAND_OVER_SECONDS = 5.0  # half of what a division takes at most


def register() -> None:
    """Make the scheme known to Faust."""
    TRANSPORTS.aliases.setdefault(SCHEME, f"{__name__}:Transport")


def begin_at(target: TopicPartition, stored: int | None, bounds: Bounds) -> int:
    """The offset at which a partition is read on: the store's, or the first that there is where that one is gone."""
    if stored is None:
        return bounds.first
    if stored < bounds.first:
        logger.error(
            "%s/%d: the records %d to %d were deleted before driftd had read them; it goes on at %d. Have Kafka keep "
            "them for longer (retention.ms and retention.bytes of the topic)",
            *target,
            stored,
            bounds.first - 1,
            bounds.first,
        )
        return bounds.first
    if stored > bounds.end:
        logger.error(
            "%s/%d ends at %d, and driftd had read it up to %d: it was deleted and made again, or has lost records. "
            "Read from its first record, %d, on",
            *target,
            bounds.end,
            stored,
            bounds.first,
        )
        return bounds.first
    if bounds.told is None and stored > bounds.first:
        logger.warning(
            "%s/%d is read on at %d, as the store says, and Kafka has not been told of any reading by this group. That "
            "is so where DRIFTD_KAFKA__GROUP is new; where the topic was deleted and made again, its first records, %d "
            "to %d, are left out: send them again",
            *target,
            stored,
            bounds.first,
            stored - 1,
        )
    return stored


class Consumer(faust_aiokafka.Consumer):
    """Hands over batches, and goes where the store says at each assignment.

    What the broker has for committed offsets is about how far we were some seconds ago, for others to look at.
    """

    logger = faust_logger

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._feed = feed_of(self.app)
        self._kafka = cast("KafkaTransport", self._feed.transport)
        self._kafka.reader = self
        self._reads = cast("ConsumerThread", self._thread)
        # held by a fetch and by a seek: what is fetched from before a seek must not be taken for what comes after it
        self._moving = asyncio.Lock()
        self._nexts: dict[TopicPartition, int] = {}  # in the order in which they were last served
        self._waiting: deque[Batch] = deque()
        self._ends: dict[TopicPartition, int] = {}
        self._told: dict[TopicPartition, int] = {}
        self._telling = asyncio.Lock()
        self._seeking: asyncio.Future[None] | None = None
        self._unassigned = False  # partitions were taken away, and what is ours now is not known yet
        self._not_before = 0.0  # loop time of the next fetch, while batches are small

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Drop what was read ahead, and let the batch in work be stored before anybody else reads on behind it.

        A store that is away holds nobody up for long: what is stored afterwards, it refuses by its offsets.
        """
        self._unassigned = True
        with suppress(TimeoutError):
            async with asyncio.timeout(TELL_SECONDS), self._telling:
                pass  # nothing is told from here on until there is an assignment, see _tell
        await super().on_partitions_revoked(revoked)
        self._drop()
        if revoked:
            await self._hand_over()

    async def on_stop(self) -> None:
        """The same, before this worker leaves its group."""
        await self._hand_over()
        await super().on_stop()

    async def _hand_over(self) -> None:
        async def once_nothing_is_in_work() -> None:
            async with self._feed.turn:
                await self._feed.revoked()

        await asyncio.wait({asyncio.create_task(once_nothing_is_in_work())}, timeout=HAND_OVER_SECONDS)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Begin with these partitions."""
        self._unassigned = False
        await super().on_partitions_assigned(assigned, generation_id)
        if not assigned:
            self.add_future(self.perform_seek())  # which Faust leaves out, where there is nothing to seek

    def _drop(self) -> None:
        self._nexts.clear()
        self._ends.clear()
        self._waiting.clear()
        self._feed.in_flight.forget()

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Go to the offsets that the store holds, and to the start of a log of which it holds none.

        Brokers that do not answer are asked again: a worker that has stood still may have lost them all.
        """
        while not self.should_stop:
            try:
                return await self._seek_to_stored()
            except KafkaError as error:
                if not (error.retriable or isinstance(error, KafkaTimeoutError)):
                    raise
                logger.warning("cannot learn from Kafka where partitions begin and end, trying again: %r", error)
            await self.sleep(ASK_AGAIN_SECONDS)
        return {}

    async def _seek_to_stored(self) -> Mapping[TP, int]:
        async with self._feed.turn, self._moving:
            if self._unassigned:
                return {}  # Faust asks where a fetch comes too late; the assignment seeks
            stored = await self._feed.offsets()
            bounds = await self._reads.bounds(TopicPartition(*tp) for tp in self.assignment())
            begins = {target: begin_at(target, stored.get(target), found) for target, found in bounds.items()}
            await self._reads.seek_to(begins)
            await self._kafka.continue_from(begins)
            self._drop()
            self._nexts = dict(begins)
            self._ends = {target: found.end for target, found in bounds.items()}
            self._feed.sought(begins)
        return {TP(*target): offset for target, offset in begins.items()}

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Mapping[TP, list[Batch]]:  # noqa: ASYNC109 - Faust's
        try:
            async with asyncio.timeout(timeout):
                await self._feed.in_flight.room()
                await asyncio.sleep(self._not_before - self.loop.time())
        except TimeoutError:
            self._feed.idle()
            return {}
        if not self._nexts:
            await self.perform_seek()  # Faust gives up a seek that a store holds up for long, and goes on all the same
        async with self._moving:
            if not self._waiting:
                await self._fetch(active_partitions or set(), timeout)
            batch = self._waiting.popleft() if self._waiting else None
        if batch is None:
            self._feed.idle()
            return {}
        self._feed.in_flight.add(batch)
        if batch.records:
            self._feed.fetched(batch)
        return {TP(*batch.target): [batch]}

    async def _fetch(self, active: set[TP], timeout: float) -> None:  # noqa: ASYNC109 - as above
        limits = self._feed.limits
        wanted = {target: offset for target, offset in self._nexts.items() if TP(*target) in active}
        try:
            found = await self._reads.fetch(wanted, limits, timeout)
        except OffsetOutOfRangeError:
            self._seek_again()
            return
        for one in found:
            if self._nexts.pop(one.target, None) is None:
                continue  # taken away meanwhile
            self._nexts[one.target] = one.next_offset
            self._waiting.extend(_batches(one, limits.size))
        caught_up = all(one.next_offset >= self.ends().get(one.target, 0) for one in found)
        self._not_before = self.loop.time() + (limits.linger if caught_up and found else 0.0)

    def _seek_again(self) -> None:
        """A log was cut or made anew under our hands."""
        if self._seeking is None or self._seeking.done():
            self._seeking = self.add_future(self.perform_seek())

    def ends(self) -> dict[TopicPartition, int]:
        """The ends of the assigned partitions: of what is committed, as of the last fetch."""
        return {target: self._ends.get(target, 0) if end is None else end for target, end in self._reads.ends().items()}

    def partitions(self, topics: Iterable[str]) -> set[TopicPartition]:
        """All partitions of the topics, as the cluster's metadata has them."""
        return self._reads.partitions(topics)

    def asked(self) -> dict[TopicPartition, Asked]:
        """What brokers have said of the ends of the assigned partitions."""
        return self._reads.asked()

    async def leave(self) -> None:
        """Stop the thread that reads, where a stop of the app has not come so far."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._reads.stop(), LEAVE_SECONDS)

    def _to_message(self, tp: TP, record: Batch) -> ConsumerMessage:  # noqa: ARG002 - Faust's signature
        return message_of(self.app, record)

    @Service.task
    async def _tell_now_and_then(self) -> None:
        while not self.should_stop:
            await self.sleep(TELL_SECONDS)
            if not self.should_stop:  # the thread tells as it leaves
                await self._tell()

    async def _tell(self) -> None:
        """Say how far the store is, but not while the group is divided anew.

        A broker answers one request of a connection after the other: it would take what it is told after the request
        to join, in the name of a generation that is over, and this worker would have to join again.
        """
        async with self._telling:
            offsets = dict(self._kafka.processed_offsets)
            if offsets != self._told and not self._unassigned:
                await self._reads.tell(offsets)
                self._told = offsets


def _batches(found: Fetched, most_bytes: int) -> Iterator[Batch]:
    """What was fetched as batches of about so many bytes; the last one reaches to where the next fetch goes on."""
    if found.size <= most_bytes:
        yield Batch(*found.target, found.records, found.next_offset)
        return
    records: list[Record] = []
    size = 0
    for record in found.records:
        if records and size + len(record.value) > most_bytes:
            yield Batch(*found.target, records, record.offset)
            records, size = [], 0
        records.append(record)
        size += len(record.value)
    yield Batch(*found.target, records, found.next_offset)


class Producer(BaseProducer):
    """Never connects: the app sends nothing. Events go in by KafkaTransport.append."""

    logger = faust_logger


class Transport(faust_aiokafka.Transport):
    """What Faust makes for an app whose broker is driftd-kafka://."""

    Consumer: ClassVar[Any] = Consumer
    Producer: ClassVar[Any] = Producer
