"""Ways into Kafka: topics that are missing, doors and passwords, what is produced and how it is keyed."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from typing import TYPE_CHECKING, Any

import pytest
from kafka_broker import PASSWORD, USER, Broker
from kafka_clients import administrator, label, prediction, producer, until
from streams import PATIENCE, Store, numbered, opened, send, streaming, values

from daemon.events.keys import keyed_documents
from daemon.transports import kafka_logs, kafka_sender
from daemon.transports.base import BacklogLimits, TransportOptions
from daemon.transports.errors import (
    Backlog,
    BrokerUnreachable,
    CannotOpen,
    LogClosed,
    NotAcknowledged,
    RecordTooLarge,
)
from daemon.transports.kafka import KafkaTransport
from daemon.transports.kafka_keys import partition_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


# --- topics, doors and passwords


async def test_a_missing_topic_is_made_with_the_partitions_that_are_asked_for(
    kafka: Broker, make: Callable[..., KafkaTransport], topic: str
) -> None:
    async with opened(make(partitions=3, replication=1)), producer(kafka) as theirs:
        assert await theirs.partitions_for(topic) == {0, 1, 2}


async def test_a_missing_topic_that_is_not_to_be_made_is_refused_with_the_command_to_type(
    kafka: Broker, make: Callable[..., KafkaTransport], topic: str
) -> None:
    with pytest.raises(CannotOpen) as refused:
        await make(create_topics=False, partitions=4).open()
    command = f"kafka-topics.sh --bootstrap-server {kafka.address()} --create --topic {topic} --partitions 4"
    assert command in str(refused.value)
    async with opened(make()):
        pass  # the data folder was let go of


async def test_a_topic_that_the_cluster_does_not_make_is_refused_with_its_reason(
    make: Callable[..., KafkaTransport],
) -> None:
    with pytest.raises(CannotOpen, match=r"replication factor.*--replication-factor 3"):
        await make(replication=3).open()


@pytest.mark.parametrize(
    ("scheme", "listener", "mechanism"),
    [
        ("kafka+ssl", "SASL_SSL", "PLAIN"),
        ("kafka+ssl", "SASL_SSL", "SCRAM-SHA-256"),
        ("kafka+ssl", "SASL_SSL", "SCRAM-SHA-512"),
        ("kafka", "SASL_PLAINTEXT", "SCRAM-SHA-512"),
    ],
)
async def test_events_go_in_and_come_out_with_a_password(
    kafka: Broker, make: Callable[..., KafkaTransport], scheme: str, listener: str, mechanism: str
) -> None:
    store = Store()
    login = {"username": USER, "password": PASSWORD, "mechanism": mechanism, "ca": kafka.ca}
    async with opened(make(f"{scheme}://{kafka.address(listener)}", **login)) as transport:
        await send(transport, numbered(0, 3))
        async with streaming(transport, store):
            assert values(await store.until(3)) == numbered(0, 3)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
async def test_a_wrong_password_is_refused_and_not_repeated(
    kafka: Broker, make: Callable[..., KafkaTransport], mechanism: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    login = {"username": USER, "password": "pre.cious", "mechanism": mechanism, "ca": kafka.ca}
    transport = make(f"kafka+ssl://{kafka.address('SASL_SSL')}", **login)
    with pytest.raises(CannotOpen, match="DRIFTD_KAFKA__PASSWORD") as refused:
        await transport.open()
    assert not isinstance(refused.value, BrokerUnreachable)
    assert "pre.cious" not in f"{refused.value} {transport.options!r} {transport.cluster!r} {caplog.text}"


def test_clients_say_the_same_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    kafka_logs.quieten()
    fetcher = logging.getLogger("aiokafka.consumer.fetcher")
    for node in range(100):
        fetcher.error("no answer of node %d", node)
        fetcher.error("and none of its neighbour")
    assert caplog.messages == ["no answer of node 0", "and none of its neighbour"]


async def test_a_certificate_that_is_not_trusted_is_named(kafka: Broker, make: Callable[..., KafkaTransport]) -> None:
    with pytest.raises(CannotOpen, match=r"not trusted.*DRIFTD_KAFKA__CA"):
        await make(f"kafka+ssl://{kafka.address('SSL')}").open()


async def test_a_file_that_holds_no_certificates_is_named(
    kafka: Broker, make: Callable[..., KafkaTransport], tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(CannotOpen, match=r"ca\.pem.*DRIFTD_KAFKA__CA"):
        await make(f"kafka+ssl://{kafka.address('SSL')}", ca=tmp_path / "ca.pem").open()


@pytest.mark.parametrize("url", ["kafka://", "kafka://:9092", "kafka://host:port", "kafka://host/path"])
def test_an_address_that_is_none_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(CannotOpen, match="DRIFTD_BROKER"):
        KafkaTransport(url, TransportOptions(tmp_path))


async def test_where_no_broker_is_the_reason_is_given(tmp_path: Path) -> None:
    transport = KafkaTransport("kafka://127.0.0.1:1", TransportOptions(tmp_path, topics=("events",)))
    with pytest.raises(BrokerUnreachable, match=r"127\.0\.0\.1:1.*DRIFTD_BROKER"):
        await transport.open()


# --- producing


async def test_a_label_goes_where_its_prediction_went(
    kafka: Broker, make: Callable[..., KafkaTransport], topic: str
) -> None:
    store = Store()
    async with opened(make(partitions=3)) as transport, streaming(transport, store):
        await transport.append(topic, b"\n".join(prediction(n) for n in range(60)), 60, timestamp=1.0)
        await transport.append(topic, b"[" + b",".join(label(n) for n in range(30)) + b"]", 30, timestamp=1.0)
        for number in range(30, 60):
            await transport.append(topic, label(number), 1, timestamp=1.0)
        await store.until(36)  # a record in each partition, twice, and thirty
    of_partition: dict[int, list[dict[str, Any]]] = {0: [], 1: [], 2: []}
    for batch in store.batches:
        for record in batch.records:
            of_partition[batch.partition] += json.loads(b"[" + record.value.replace(b"\n", b",") + b"]")
            assert record.events == 1 or record.key is None
            assert record.events > 1 or json.loads(record.value)["id"].encode() == record.key or record.key is None
    for partition, events in of_partition.items():
        assert all(partition_of(event["id"], 3) == partition for event in events)
        ids = [event["id"] for event in events if "prediction" in event]
        assert ids
        assert sorted(event["id"] for event in events if "label" in event) == sorted(ids)
        assert ids == sorted(ids, key=lambda one: int(one[1:])), "in the order in which they were sent"
    assert sum(map(len, of_partition.values())) == 120


async def test_a_body_that_is_too_large_for_a_record_becomes_several(
    kafka: Broker, make: Callable[..., KafkaTransport], topic: str
) -> None:
    store = Store()
    lines = [
        json.dumps({"id": f"p{n}", "prediction": 1, "features": {"text": secrets.token_hex(1000)}}).encode()
        for n in range(2000)
    ]
    async with administrator(kafka) as admin:
        from aiokafka.admin import NewTopic

        await admin.create_topics([NewTopic(topic, 1, 1, None, {"max.message.bytes": "1048588"})])
    async with opened(make()) as transport, streaming(transport, store):
        await transport.append(topic, b"\n".join(lines), len(lines), timestamp=1.0)
        await until(lambda: sum(record.events for record in store.records) == len(lines))
    assert b"\n".join(values(store.records)) == b"\n".join(lines)


async def test_a_record_that_the_topic_does_not_take_is_refused_and_the_next_one_is_taken(
    kafka: Broker, make: Callable[..., KafkaTransport], topic: str
) -> None:
    store = Store()
    async with administrator(kafka) as admin:
        from aiokafka.admin import NewTopic

        await admin.create_topics([NewTopic(topic, 1, 1, None, {"max.message.bytes": "2000"})])
    async with opened(make()) as transport, streaming(transport, store):
        await transport.append(topic, b"before", 1, timestamp=1.0)
        with pytest.raises(RecordTooLarge, match=rf"kafka-configs\.sh .*--entity-name {topic} .*max\.message\.bytes="):
            await transport.append(topic, secrets.token_bytes(5000), 1, timestamp=1.0)
        await transport.append(topic, b"after", 1, timestamp=1.0)
        assert values(await store.until(2)) == [b"before", b"after"]


async def test_a_topic_that_was_deleted_is_made_again_for_what_is_sent(
    kafka: Broker, make: Callable[..., KafkaTransport], topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_sender, "CONFIRM_SECONDS", 1.0)
    async with opened(make()) as transport:
        await asyncio.gather(*(send(transport, [value]) for value in numbered(0, 100)))
        async with administrator(kafka) as admin:
            await admin.delete_topics([topic])
        offset = 100
        async with asyncio.timeout(PATIENCE):
            while offset >= 100:  # in the log that was deleted
                try:
                    offset = await transport.append(topic, b"after", 1, timestamp=1.0)
                except NotAcknowledged:
                    continue
        store = Store()
        async with streaming(transport, store):
            assert values(await store.until(1))[0] == b"after"


async def test_an_append_to_a_transport_that_is_closed_is_refused(
    make: Callable[..., KafkaTransport], topic: str
) -> None:
    async with opened(make()) as transport:
        pass
    with pytest.raises(LogClosed):
        await transport.append(topic, b"late", 1, timestamp=1.0)


async def test_while_the_broker_does_not_answer_senders_are_told_and_nothing_that_was_taken_is_lost(
    kafka: Broker, make: Callable[..., KafkaTransport], topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_sender, "CONFIRM_SECONDS", 0.2)
    store = Store()
    limits = BacklogLimits(in_flight=30)
    async with opened(make(backlog=limits)) as transport, streaming(transport, store):
        monkeypatch.setattr(kafka_sender, "CONFIRM_SECONDS", PATIENCE)
        await send(transport, [b"before"])
        await store.until(1)
        monkeypatch.setattr(kafka_sender, "CONFIRM_SECONDS", 0.2)
        kafka.freeze()
        try:
            with pytest.raises(NotAcknowledged, match="send the same events again"):
                await transport.append(topic, b"twenty bytes of this", 1, timestamp=1.0)
            with pytest.raises(Backlog):
                await transport.append(topic, b"and twenty more here", 1, timestamp=1.0)
        finally:
            kafka.thaw()
        # it was not confirmed in time, and is stored all the same: once
        assert values(await store.until(2)) == [b"before", b"twenty bytes of this"]
        monkeypatch.setattr(kafka_sender, "CONFIRM_SECONDS", PATIENCE)
        await send(transport, [b"after"])
        assert values(await store.until(3))[2:] == [b"after"]


# --- keys


async def test_what_we_produce_is_in_the_partitions_that_others_give_the_same_ids(
    kafka: Broker, make: Callable[..., KafkaTransport], topic: str
) -> None:
    store = Store()
    async with opened(make(partitions=4)) as transport, streaming(transport, store):
        async with producer(kafka) as theirs:
            for number in range(50):
                await theirs.send_and_wait(topic, prediction(number), key=b"p%d" % number)
        await transport.append(topic, b"\n".join(label(n) for n in range(50)), 50, timestamp=1.0)
        await until(lambda: sum(one.events for one in store.records) == 100)
    of: dict[str | None, set[int]] = {}
    for batch in store.batches:
        for record in batch.records:
            for _, key in keyed_documents(record.value):
                of.setdefault(key, set()).add(batch.partition)
    assert all(len(partitions) == 1 for partitions in of.values())
    assert len(of) == 50
