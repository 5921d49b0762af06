"""aiokafka's consumer in a thread and an event loop of its own: it stays in its group whatever the daemon does.

What is here runs in that thread, but for what says otherwise.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import IllegalStateError, KafkaError, NoOffsetForPartitionError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

from daemon.events.keys import count_all
from daemon.transports.base import Record, TopicPartition
from daemon.transports.faust_batches import feed_of
from daemon.transports.kafka_records import Asked, Pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from daemon.transports.base import FetchLimits
    from daemon.transports.kafka import KafkaTransport

logger = logging.getLogger(__name__)

SESSION_SECONDS = 6.0  # after which a worker that is gone is missed: the least that brokers allow by default
REBALANCE_SECONDS = 10.0  # that each worker has to hand its partitions over, once they are divided anew
HEARTBEAT_SECONDS = 1.0  # how soon a worker hears that partitions are divided anew
POLL_SECONDS = 600.0  # a store that is away for so long costs the partitions; until then they stay
METADATA_SECONDS = 10.0  # for new partitions, and topics that are deleted and made again
FETCH_BYTES = 8 << 20  # of one partition at once
FETCH_BYTES_IN_ALL = 32 << 20
WAIT_SECONDS = 0.5
TELL_SECONDS = 1.0
NOTHING_SECONDS = 0.1  # until it is asked again for partitions that are not, or no more, assigned


class Bounds(NamedTuple):
    """What a partition holds: from its first offset up to the end of what is committed, and how far we told we were.

    A broker forgets what it was told of a topic with the topic.
    """

    first: int
    end: int
    told: int | None


class Fetched(NamedTuple):
    """What came of one partition, the bytes of its values, and the offset at which the next fetch goes on."""

    target: TopicPartition
    records: list[Record]
    size: int
    next_offset: int


class ConsumerThread(AIOKafkaConsumerThread):
    """Reads committed records, and seeks only where it is told to."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._tombstones: set[str] = set()
        self._pieces: Pieces | None = None

    async def on_start(self) -> None:
        """Connect."""
        await super().on_start()
        self._pieces = Pieces(self._ensure_consumer())

    def _create_worker_consumer(self, transport: object) -> AIOKafkaConsumer:  # noqa: ARG002 - Faust's signature
        feed = feed_of(self.app)
        kafka = cast("KafkaTransport", feed.transport)
        return AIOKafkaConsumer(
            bootstrap_servers=list(kafka.cluster.servers),
            group_id=kafka.cluster.options.group,
            # static membership: a daemon that has crashed takes its partitions up again as soon as it is back
            group_instance_id=_instance(str(kafka.options.data_folder)),
            partition_assignment_strategy=[self.app.assignor],
            enable_auto_commit=False,
            auto_offset_reset="none",  # the offset that counts is in the store
            isolation_level="read_committed",
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_bytes=FETCH_BYTES_IN_ALL,
            fetch_max_wait_ms=round(WAIT_SECONDS * 1000),
            session_timeout_ms=round(SESSION_SECONDS * 1000),
            rebalance_timeout_ms=round(REBALANCE_SECONDS * 1000),
            heartbeat_interval_ms=round(HEARTBEAT_SECONDS * 1000),
            max_poll_interval_ms=round(POLL_SECONDS * 1000),
            metadata_max_age_ms=round(METADATA_SECONDS * 1000),
            **kafka.cluster.client_settings(),
        )

    def _stopped_set(self) -> None:
        with suppress(RuntimeError):  # its loop is closed: it has crashed, and ended by itself
            super()._stopped_set()

    async def on_thread_stop(self) -> None:
        """Tell how far the store is, if the broker listens, and leave."""
        offsets = cast("KafkaTransport", feed_of(self.app).transport).processed_offsets
        telling = asyncio.create_task(self._tell(dict(offsets)))
        # waited for, not cut off: what aiokafka still makes of it would be an error that nobody takes
        await asyncio.wait({telling}, timeout=TELL_SECONDS)
        self._leave_the_group()
        await super().on_thread_stop()
        telling.cancel()

    def _leave_the_group(self) -> None:
        """Have aiokafka leave the group as it stops: a static member would stay, and its partitions unread."""
        coordinator = None if self._consumer is None else self._consumer._coordinator  # noqa: SLF001
        if coordinator is not None:
            coordinator._group_instance_id = None  # noqa: SLF001

    async def bounds(self, targets: Iterable[TopicPartition]) -> dict[TopicPartition, Bounds]:
        """From where to where partitions hold records now. Raises KafkaError. Called from the daemon's thread."""
        return cast("dict[TopicPartition, Bounds]", await self.call_thread(self._bounds, list(targets)))

    async def _bounds(self, targets: list[TopicPartition]) -> dict[TopicPartition, Bounds]:
        consumer = self._ensure_consumer()
        asked = [KafkaPartition(*target) for target in targets]
        first = await consumer.beginning_offsets(asked)
        end = await consumer.end_offsets(asked)
        told = {one: await consumer.committed(one) for one in asked}
        return {TopicPartition(*one): Bounds(first[one], end[one], told[one]) for one in asked}

    async def seek_to(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Go to these offsets, where the partitions are still ours. Called from the daemon's thread."""
        await self.call_thread(self._seek_to, dict(offsets))

    async def _seek_to(self, offsets: Mapping[TopicPartition, int]) -> None:
        consumer = self._ensure_consumer()
        for target, offset in offsets.items():
            try:
                consumer.seek(KafkaPartition(*target), offset)
            except IllegalStateError:
                logger.info("%s/%d was taken away meanwhile", *target)

    async def fetch(self, nexts: Mapping[TopicPartition, int], limits: FetchLimits, timeout: float) -> list[Fetched]:  # noqa: ASYNC109 - Faust's
        """Return what there is of the first partition that has something, or what comes first within some seconds.

        `nexts` are the offsets at which each goes on. Where a log holds only marks of its own, records are none and
        the offset is a later one. Raises OffsetOutOfRangeError where one is not in its log. Called from the daemon's
        thread.
        """
        return cast("list[Fetched]", await self.call_thread(self._fetch, dict(nexts), limits, timeout))

    async def _fetch(self, nexts: dict[TopicPartition, int], limits: FetchLimits, timeout: float) -> list[Fetched]:  # noqa: ASYNC109
        assigned = self._ensure_consumer().assignment()
        if not self.consumer.flow_active:
            return []  # a wait for records here would hold up the assignment that is being made
        targets = [one for one in (KafkaPartition(*target) for target in nexts) if one in assigned]
        if not targets:
            await asyncio.sleep(NOTHING_SECONDS)
            return []
        got: dict[KafkaPartition, list[Record]] = {}
        try:
            for target in targets:
                got = await self._read(limits, target)
                if got:
                    break
            else:
                got = await self._read(limits, *targets, timeout=timeout)
        except NoOffsetForPartitionError:
            return []  # just assigned, and not yet sought
        found = []
        for target in targets:
            position = self._position(target)
            records = got.get(target, [])
            if records or (position is not None and position > nexts[TopicPartition(*target)]):
                after = max(position or 0, records[-1].offset + 1 if records else 0)
                found.append(self._fetched(target, records, after))
        return found

    async def _read(
        self,
        limits: FetchLimits,
        *targets: KafkaPartition,
        timeout: float = 0.0,  # noqa: ASYNC109
    ) -> dict[KafkaPartition, list[Record]]:
        """The records of one of these partitions, up to both limits or somewhat above that of the size."""
        consumer, pieces = self._ensure_consumer(), self._pieces
        if pieces is None:
            return {}
        pieces.most = limits.records
        got = await consumer.getmany(*targets, timeout_ms=round(timeout * 1000), max_records=1)
        for target, [first] in got.items():
            records = first.records
            size = last = _size(records)
            # a piece is of one record batch, which may be small. Nothing is waited for from here on, so that no
            # rebalance or seek comes in between
            while len(records) < limits.records and size + last <= limits.size:
                pieces.most = limits.records - len(records)
                more = await consumer.getmany(target, max_records=1)
                if not more:
                    break
                records += more[target][0].records
                last = _size(more[target][0].records)
                size += last
            return {target: records}
        return {}

    def _position(self, target: KafkaPartition) -> int | None:
        state = self._state(target)
        return state.position if state is not None and state.has_valid_position else None

    def _state(self, target: KafkaPartition) -> Any:
        """What aiokafka knows of an assigned partition; reading it never waits, as its own methods may."""
        consumer = self._ensure_consumer()
        subscription = consumer._subscription.subscription  # noqa: SLF001
        if subscription is None or subscription.assignment is None or target not in subscription.assignment.tps:
            return None
        return subscription.assignment.state_value(target)

    def _fetched(self, target: KafkaPartition, found: list[Record], next_offset: int) -> Fetched:
        values = [one.value for one in found]
        records = found if None not in values else [one for one in found if one.value is not None]
        if len(records) < len(found) and target.topic not in self._tombstones:
            self._tombstones.add(target.topic)
            logger.warning(
                "%s has records without a value (at offset %d of partition %d, for one): there is no event in them, "
                "and they are passed over",
                target.topic,
                next(one.offset for one in found if one.value is None),
                target.partition,
            )
        counts = count_all(values if records is found else [one.value for one in records])
        if counts.count(1) < len(counts):
            records = [one._replace(events=count) for one, count in zip(records, counts, strict=True)]
        return Fetched(TopicPartition(*target), records, _size(records), next_offset)

    def ends(self) -> dict[TopicPartition, int | None]:
        """The ends of what is committed in the assigned partitions, as of the last fetch. Called from any thread."""
        if self._consumer is None:
            return {}
        states = {target: self._state(target) for target in self._consumer.assignment()}
        return {TopicPartition(*target): state.lso for target, state in states.items() if state is not None}

    def partitions(self, topics: Iterable[str]) -> set[TopicPartition]:
        """All partitions of the topics, as the cluster's metadata has them. Called from any thread."""
        if self._consumer is None:
            return set()
        cluster = self._consumer._client.cluster  # noqa: SLF001
        return {TopicPartition(topic, one) for topic in topics for one in cluster.partitions_for_topic(topic) or ()}

    def asked(self) -> dict[TopicPartition, Asked]:
        """What brokers have said of the ends of the assigned partitions. Called from any thread."""
        if self._pieces is None or self._consumer is None:
            return {}
        assigned, asked = self._consumer.assignment(), self._pieces.asked
        return {TopicPartition(*target): asked[target] for target in assigned if target in asked}

    async def tell(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit offsets for others to see; nothing relies on it. Called from the daemon's thread."""
        await self.call_thread(self._tell, dict(offsets))

    async def _tell(self, offsets: Mapping[TopicPartition, int]) -> None:
        if self._consumer is None:
            return
        consumer = self._consumer
        assigned = consumer.assignment()
        mine = {KafkaPartition(*target): OffsetAndMetadata(offset, "") for target, offset in offsets.items()}
        mine = {target: offset for target, offset in mine.items() if target in assigned}
        try:
            if mine:
                await consumer.commit(mine)
        except (KafkaError, IllegalStateError) as error:
            logger.info("could not tell Kafka how far the store is: %r", error)


def _size(records: Iterable[Record]) -> int:
    return sum(len(one.value or b"") for one in records)


def _instance(data_folder: str) -> str:
    """A name for this worker that is the same after a restart, and no other's."""
    host = "".join(one if one.isalnum() else "-" for one in socket.gethostname())
    return f"{host}-{zlib.crc32(os.fsencode(data_folder)):08x}"
