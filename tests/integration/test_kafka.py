"""What a real Kafka holds beside plain records, and what it does to those who read and write there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import KafkaTimeoutError, NodeNotReadyError
from kafka_clients import administrator, label, prediction, producer, until
from streams import Store, numbered, opened, send, streaming, values

from daemon.transports.base import TopicPartition, TransportOptions
from daemon.transports.kafka import KafkaTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafka_broker import Broker


# --- what is in a topic


@pytest.mark.parametrize("compression", [None, "gzip", "lz4", "snappy", "zstd"])
async def test_values_come_however_they_are_compressed(
    kafka: Broker, make: Callable[..., KafkaTransport], topic: str, compression: str | None
) -> None:
    store = Store()
    sent = [b"\n".join(prediction(n) for n in range(first, first + 50)) for first in range(0, 500, 50)]
    async with opened(make()) as transport:
        async with producer(kafka, compression_type=compression) as theirs:
            for value in sent:
                await theirs.send_and_wait(topic, value)
        async with streaming(transport, store):
            assert values(await store.until(10)) == sent


async def test_records_without_keys_and_with_headers_of_others_are_events_like_any(
    kafka: Broker, make: Callable[..., KafkaTransport], topic: str
) -> None:
    store = Store()
    async with opened(make()) as transport:
        async with producer(kafka) as theirs:
            await theirs.send_and_wait(topic, prediction(1))
            await theirs.send_and_wait(topic, prediction(2), key=b"p2", headers=[("traceparent", b"\xff\x00")])
        async with streaming(transport, store):
            assert [(one.key, one.value) for one in await store.until(2)] == [
                (None, prediction(1)),
                (b"p2", prediction(2)),
            ]


async def test_the_events_of_a_value_are_counted(
    kafka: Broker, make: Callable[..., KafkaTransport], topic: str
) -> None:
    store = Store()
    pretty = json.dumps(json.loads(prediction(1)), indent=2).encode()
    sent = [
        (prediction(1), 1),
        (prediction(1) + b"\n" + prediction(2) + b"\n", 2),
        (b"[" + prediction(1) + b"," + prediction(2) + b"," + label(1) + b"]", 3),
        (pretty, 1),
        (pretty + b"\n" + pretty, 2),
        (prediction(1) + b"\n\n" + b"{broken\n" + prediction(2), 3),
    ]
    async with opened(make()) as transport:
        async with producer(kafka) as theirs:
            for value, _ in sent:
                await theirs.send_and_wait(topic, value)
        async with streaming(transport, store):
            assert [one.events for one in await store.until(len(sent))] == [count for _, count in sent]


async def test_records_without_a_value_are_passed_over(
    kafka: Broker, make: Callable[..., KafkaTransport], topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()
    async with opened(make()) as transport, streaming(transport, store) as service:
        async with producer(kafka) as theirs:
            for value in (prediction(1), None, prediction(2), None):
                await theirs.send_and_wait(topic, value, key=b"k")
        assert values(await store.until(2)) == [prediction(1), prediction(2)]
        await until(lambda: service.positions()[TopicPartition(topic, 0)] == 4)
        assert service.lag() == 0
    assert "records without a value" in caplog.text


async def test_only_what_is_committed_is_read_and_the_marks_of_transactions_are_no_lag(
    kafka: Broker, make: Callable[..., KafkaTransport], topic: str
) -> None:
    store = Store()
    target = TopicPartition(topic, 0)
    async with opened(make()) as transport:
        async with streaming(transport, store) as service, producer(kafka, transactional_id=topic) as theirs:
            for number in range(3):
                async with theirs.transaction():
                    await theirs.send_and_wait(topic, prediction(number))
            await theirs.begin_transaction()
            await theirs.send_and_wait(topic, prediction(100))
            await theirs.abort_transaction()
            assert values(await store.until(3)) == [prediction(number) for number in range(3)]
            # three records with a mark each, one aborted record with its mark
            await until(lambda: service.positions()[target] == 8)
            assert service.lag() == 0
            assert service.seconds_since_progress(1e12) == 0.0
            await theirs.begin_transaction()
            await theirs.send_and_wait(topic, prediction(3))
            await until(lambda: service.end_offsets()[target] == 8)  # an open transaction is nothing that waits
            await theirs.commit_transaction()
            assert values(await store.until(4))[3:] == [prediction(3)]
        await send(transport, [prediction(4)])
        async with streaming(transport, store):
            assert values(await store.until(5))[4:] == [prediction(4)]
    assert len(store.records) == 5


async def test_brokers_that_do_not_say_what_a_partition_holds_are_asked_again(
    make: Callable[..., KafkaTransport], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ask, refused = AIOKafkaConsumer.beginning_offsets, [KafkaTimeoutError("no answer"), NodeNotReadyError("nobody")]

    async def ask_in_vain(consumer: AIOKafkaConsumer, targets: list[KafkaPartition]) -> dict[KafkaPartition, int]:
        if refused:
            raise refused.pop(0)
        found: dict[KafkaPartition, int] = await ask(consumer, targets)
        return found

    monkeypatch.setattr(AIOKafkaConsumer, "beginning_offsets", ask_in_vain)
    store = Store()
    async with opened(make()) as transport:
        await send(transport, numbered(0, 5))
        async with streaming(transport, store) as service:
            assert values(await store.until(5)) == numbered(0, 5)
            assert service.failure is None
    assert not refused
    assert caplog.text.count("trying again") == 2


async def test_what_retention_took_before_it_was_read_is_said_loudly(
    kafka: Broker, make: Callable[..., KafkaTransport], topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store({TopicPartition(topic, 0): 2})
    async with opened(make()) as transport:
        await send(transport, numbered(0, 10))
        async with administrator(kafka) as admin:
            await admin.delete_records({KafkaPartition(topic, 0): RecordsToDelete(before_offset=6)})
        async with streaming(transport, store):
            assert values(await store.until(4)) == numbered(6, 10)
    assert "the records 2 to 5 were deleted before driftd had read them" in caplog.text
    assert "retention.ms" in caplog.text


async def test_a_topic_that_was_made_again_is_read_from_its_start(
    kafka: Broker, make: Callable[..., KafkaTransport], topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()
    async with opened(make()) as transport:
        await send(transport, numbered(0, 10))
        async with streaming(transport, store):
            await store.until(10)
    async with administrator(kafka) as admin:
        await admin.delete_topics([topic])
    async with opened(make()) as transport:  # makes it again
        await send(transport, numbered(100, 103))
        async with streaming(transport, store):
            assert values(await store.until(13))[10:] == numbered(100, 103)
    assert "it was deleted and made again" in caplog.text
    assert store.offsets == {TopicPartition(topic, 0): 3}


async def test_a_topic_that_was_made_again_and_has_grown_is_told_of(
    kafka: Broker, make: Callable[..., KafkaTransport], topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()
    async with opened(make()) as transport:
        await send(transport, numbered(0, 3))
        async with streaming(transport, store):
            await store.until(3)
        async with streaming(transport, store):
            pass
    assert "deleted and made again" not in caplog.text
    async with administrator(kafka) as admin:
        await admin.delete_topics([topic])
    async with opened(make()) as transport:
        await send(transport, numbered(100, 105))
        async with streaming(transport, store):
            assert values(await store.until(5))[3:] == numbered(103, 105)
    assert "where the topic was deleted and made again, its first records, 0 to 2, are left out" in caplog.text


async def test_a_topic_that_is_made_again_while_it_is_read_is_read_on(
    kafka: Broker, make: Callable[..., KafkaTransport], topic: str
) -> None:
    store = Store()
    async with opened(make()) as transport, streaming(transport, store):
        await send(transport, numbered(0, 10))
        await store.until(10)
        async with administrator(kafka) as admin:
            await admin.delete_topics([topic])
        other = KafkaTransport(
            f"kafka://{kafka.address()}", TransportOptions(Path(f"{transport.options.data_folder}-2"), topics=(topic,))
        )
        async with opened(other):
            await send(other, numbered(100, 103))
            assert values(await store.until(13))[10:] == numbered(100, 103)
