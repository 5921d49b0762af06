"""Produces to Kafka: idempotent, confirmed by all replicas, and bounded in what waits for its confirmation."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from daemon.transports.errors import Backlog, CannotOpen, LogClosed, NotAcknowledged, RecordTooLarge
from daemon.transports.kafka_keys import LARGEST_VALUE, Part, split
from daemon.transports.kafka_topics import ensure_topics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.transports.kafka_options import Cluster

logger = logging.getLogger(__name__)

CONFIRM_SECONDS = 15.0
STOP_SECONDS = 3.0
RETRY_SECONDS = 2.0
LARGEST_REQUEST = 64 << 20  # bytes; the topic's own limit is the one that counts
COMPRESSION = "lz4"


class KafkaSender:
    """One idempotent producer, made anew after a record that the broker refused.

    A refused record leaves a gap in the sequence that the broker expects, and everything behind it would be refused
    too.
    """

    def __init__(self, cluster: Cluster, most_waiting: int) -> None:
        self._cluster = cluster
        self._most_waiting = most_waiting  # bytes
        self._waiting = 0  # bytes that Kafka has not confirmed
        self._waiting_events = 0
        self._producer: AIOKafkaProducer | None = None
        self._renewing = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect. Raises KafkaError."""
        self._producer = await self._connected()

    async def stop(self) -> None:
        """Send what waits, for some seconds, and let go. A second call does nothing."""
        producer, self._producer = self._producer, None
        if self._looking is not None:
            self._looking.cancel()
        if producer is not None:
            await _stop(producer)

    async def send(self, topic: str, value: bytes, events: int, timestamp: float, key: bytes | None) -> int:
        """Store a value as one record or, by the ids of its events, as several; return the last offset given out.

        Raises Backlog, NotAcknowledged, RecordTooLarge or LogClosed, as `Transport.append` does.
        """
        producer = self._producer
        if producer is None:
            raise LogClosed("the connection to Kafka is closed: the daemon is stopping")
        if self._waiting and self._waiting + len(value) > self._most_waiting:
            raise Backlog(events=self._waiting_events, size=self._waiting, retry_after=RETRY_SECONDS)
        self._waiting += len(value)
        self._waiting_events += events
        sending = asyncio.ensure_future(self._send(producer, topic, value, events, timestamp, key))
        sending.add_done_callback(partial(self._sent, len(value), events))
        try:
            # what Kafka has not confirmed in time may still be stored: the producer goes on trying, and it is counted
            # as waiting until then
            async with asyncio.timeout(CONFIRM_SECONDS):
                return await asyncio.shield(sending)
        except TimeoutError:
            self._look_for(topic)
            raise NotAcknowledged(
                f"Kafka has not confirmed the events within {CONFIRM_SECONDS:.0f} s; look whether the brokers "
                f"{self._cluster.bootstrap} are up and have enough replicas in sync, and send the same events again"
            ) from None

    def _sent(self, size: int, events: int, sending: asyncio.Future[int]) -> None:
        self._waiting -= size
        self._waiting_events -= events
        if not sending.cancelled():
            sending.exception()  # its sender may have gone: then nobody else looks

    async def _send(
        self, producer: AIOKafkaProducer, topic: str, value: bytes, events: int, timestamp: float, key: bytes | None
    ) -> int:
        milliseconds = round(timestamp * 1000)
        try:
            partitions = len(await producer.partitions_for(topic))
            parts: Sequence[Part] = (
                [Part(None, key, value, events)] if key is not None else list(split(value, events, partitions))
            )
            confirmations = [
                await producer.send(
                    topic, part.value, key=part.key, partition=part.partition, timestamp_ms=milliseconds
                )
                for part in parts
            ]
            done = await asyncio.gather(*confirmations)
        except MessageSizeTooLargeError as error:
            await self._renew(producer)
            largest = max(len(part.value) for part in parts)
            raise RecordTooLarge(
                f"{topic} takes no record of {largest:,} bytes; allow them: kafka-configs.sh --bootstrap-server "
                f"{self._cluster.bootstrap} --alter --entity-type topics --entity-name {topic} "
                f"--add-config max.message.bytes={max(2 * largest, 2 * LARGEST_VALUE)}"
            ) from error
        except KafkaError as error:
            await self._renew(producer)
            raise NotAcknowledged(
                f"Kafka did not take the events for {topic} ({error!r}); send the same events again"
            ) from error
        return max(int(one.offset) for one in done)

    def _look_for(self, topic: str) -> None:
        """See, in the background, whether it is for want of the topic that nothing is confirmed."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._make_again(topic), name="topic")

    async def _make_again(self, topic: str) -> None:
        try:
            await ensure_topics(self._cluster, [topic])
        except CannotOpen as refused:
            logger.error("%s", refused)  # noqa: TRY400 - the text says what to type

    async def _renew(self, failed: AIOKafkaProducer) -> None:
        async with self._renewing:
            if self._producer is not failed:
                return  # another append was faster, or the daemon stops
            with suppress(KafkaError, OSError):
                self._producer = await self._connected()
                await _stop(failed)

    async def _connected(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=list(self._cluster.servers),
            enable_idempotence=True,
            acks="all",
            compression_type=COMPRESSION,
            max_batch_size=LARGEST_VALUE,
            max_request_size=LARGEST_REQUEST,
            metadata_max_age_ms=10_000,
            **self._cluster.client_settings(),
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer


async def _stop(producer: AIOKafkaProducer) -> None:
    with suppress(KafkaError, TimeoutError):
        await asyncio.wait_for(producer.stop(), STOP_SECONDS)
