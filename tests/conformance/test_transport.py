"""What every transport promises, checked on each one that is registered, through the Faust app that reads it."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from typing import TYPE_CHECKING

import pytest
from streams import PATIENCE, Store, numbered, opened, send, streaming, values

from daemon import stream
from daemon.transports.base import Batch, FetchLimits, Record, Retention, TopicPartition, TransportOptions
from daemon.transports.errors import CannotOpen, DataFolderInUse
from daemon.transports.kafka_options import KafkaOptions
from daemon.transports.registry import TRANSPORTS, make_transport

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kafka_broker import Broker

    from daemon.transports.base import Transport

# How to reach each transport. One that is registered and not here fails the first test.
EMBEDDED, KAFKA, KAFKA_SSL = "embedded", "kafka", "kafka+ssl"


def test_every_registered_transport_is_checked_here() -> None:
    assert sorted([EMBEDDED, KAFKA, KAFKA_SSL]) == sorted(TRANSPORTS)


@pytest.fixture
def topic() -> str:
    return f"events.{secrets.token_hex(4)}"


@pytest.fixture
def target(topic: str) -> TopicPartition:
    return TopicPartition(topic, 0)


@pytest.fixture(params=sorted(TRANSPORTS))
def make(request: pytest.FixtureRequest, tmp_path: Path, topic: str) -> Callable[..., Transport]:
    """Makes transports with the same data, for one topic or for those that are named."""
    url, kafka = "embedded://", KafkaOptions()
    if request.param != EMBEDDED:
        broker: Broker = request.getfixturevalue("kafka")
        kafka = KafkaOptions(group=topic, ca=broker.ca)
        url = f"{request.param}://{broker.address('SSL' if request.param == KAFKA_SSL else 'PLAINTEXT')}"
    retention = Retention(size=0, seconds=None)

    def transport(*topics: str) -> Transport:
        return make_transport(
            url, TransportOptions(tmp_path / "data", retention=retention, topics=topics or (topic,), kafka=kafka)
        )

    return transport


async def test_every_record_comes_once_and_in_order(make: Callable[..., Transport]) -> None:
    store = Store()
    async with opened(make()) as transport:
        await send(transport, numbered(0, 500))
        async with streaming(transport, store, limits=FetchLimits(records=64, linger=0.001)):
            # senders at once, while it is being read
            await asyncio.gather(*(send(transport, [b"s%d-%d" % (s, n) for n in range(100)]) for s in range(10)))
            records = await store.until(1500)
    assert values(records[:500]) == numbered(0, 500)
    assert len(set(values(records))) == len(records) == 1500
    assert [record.offset for record in records] == sorted({record.offset for record in records})
    for sender in range(10):
        of_sender = [value for value in values(records) if value.startswith(b"s%d-" % sender)]
        assert of_sender == [b"s%d-%d" % (sender, number) for number in range(100)]
    assert all(batch.records for batch in store.batches)
    assert all(batch.next_offset > batch.records[-1].offset for batch in store.batches)
    assert all(len(batch.records) <= 64 for batch in store.batches)


async def test_records_come_in_batches(make: Callable[..., Transport]) -> None:
    store = Store()
    async with opened(make()) as transport:
        await send(transport, numbered(0, 1000))
        async with streaming(transport, store):
            await store.until(1000)
    assert len(store.batches) < 20


async def test_a_record_comes_as_it_was_sent(make: Callable[..., Transport], topic: str) -> None:
    store = Store()
    body = b"\n".join(b'{"id": %d}' % number for number in range(500))
    async with opened(make()) as transport:
        await transport.append(topic, body, 500, timestamp=1234.5, key=b"k")
        async with streaming(transport, store):
            (record,) = await store.until(1)
    assert record == Record(record.offset, 1234.5, b"k", body, 500)


async def test_a_record_of_five_megabytes_comes_through(make: Callable[..., Transport]) -> None:
    store = Store()
    large = os.urandom(5 << 20)
    async with opened(make()) as transport, streaming(transport, store, limits=FetchLimits(size=1 << 20)):
        await send(transport, [b"before", large, b"after"])
        assert values(await store.until(3)) == [b"before", large, b"after"]


async def test_reading_begins_where_the_store_says(make: Callable[..., Transport], target: TopicPartition) -> None:
    store = Store({target: 7})
    async with opened(make()) as transport:
        await send(transport, numbered(0, 10))
        async with streaming(transport, store) as service:
            assert values(await store.until(3)) == numbered(7, 10)
            assert service.positions()[target] == store.offsets[target]
    assert len(store.records) == 3


async def test_a_restart_goes_on_at_the_stored_offset(make: Callable[..., Transport]) -> None:
    store = Store()
    for run in range(3):
        async with opened(make()) as transport, streaming(transport, store):
            await send(transport, numbered(run * 10, run * 10 + 10))
            await store.until(run * 10 + 10)
    assert values(store.records) == numbered(0, 30)


async def test_what_came_while_nobody_read_is_read_later(make: Callable[..., Transport]) -> None:
    store = Store()
    async with opened(make()) as transport:
        async with streaming(transport, store):
            await send(transport, [b"first"])
            await store.until(1)
        await send(transport, [b"second"])
        async with streaming(transport, store):
            assert values(await store.until(2)) == [b"first", b"second"]


async def test_an_idle_stream_is_woken_by_a_record(make: Callable[..., Transport]) -> None:
    store = Store()
    async with opened(make()) as transport, streaming(transport, store):
        for number in range(3):
            await send(transport, [b"%d" % number])
            await store.until(number + 1)
    assert values(store.records) == numbered(0, 3)


async def test_all_topics_are_read_each_in_its_order(make: Callable[..., Transport], topic: str) -> None:
    store = Store()
    topics = [f"{topic}.{one}" for one in "abc"]
    async with opened(make(*topics)) as transport:
        for one in topics:
            await send(transport, numbered(0, 50), topic=one)
        async with streaming(transport, store, limits=FetchLimits(records=10)):
            await store.until(150)
    for one in topics:
        of_topic = [record for batch in store.batches if batch.topic == one for record in batch.records]
        assert values(of_topic) == numbered(0, 50)
    # none of them waits until another is done
    assert {batch.topic for batch in store.batches[:6]} == set(topics)


async def test_an_error_in_the_pipeline_is_loud_and_the_batch_comes_again(
    make: Callable[..., Transport], topic: str, target: TopicPartition
) -> None:
    store = Store()

    async def broken(batch: Batch) -> None:
        if any(record.value == b"5" for record in batch.records):
            raise RuntimeError("the disk of the store is on fire")
        await store.process(batch)

    async with opened(make()) as transport:
        await send(transport, numbered(0, 10))
        service = stream.build(transport, [topic], store.load, broken, limits=FetchLimits(records=1))
        await service.start()
        with pytest.raises(RuntimeError, match="on fire"):
            await asyncio.wait_for(service.join(), PATIENCE)
        assert isinstance(service.failure, RuntimeError)
        assert service.positions() == {target: 5}
        assert service.lag() == 5
        async with asyncio.timeout(5):
            await service.stop()
        # nothing behind the failed batch was taken
        assert values(store.records) == numbered(0, 5)

        async with streaming(transport, store):
            assert values(await store.until(10)) == numbered(0, 10)


async def test_a_store_that_cannot_be_asked_stops_the_start(make: Callable[..., Transport], topic: str) -> None:
    async def unreachable() -> dict[TopicPartition, int]:
        raise ConnectionRefusedError("no store here")

    async with opened(make()) as transport:
        service = stream.build(transport, [topic], unreachable, Store().process)
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(ConnectionRefusedError, match="no store here"):
                await service.start()


async def test_a_stop_lets_the_batch_in_work_finish(make: Callable[..., Transport], topic: str) -> None:
    store = Store()
    begun, finish = asyncio.Event(), asyncio.Event()

    async def slow(batch: Batch) -> None:
        begun.set()
        await finish.wait()
        await store.process(batch)

    async with opened(make()) as transport:
        await send(transport, numbered(0, 10))
        service = stream.build(transport, [topic], store.load, slow, limits=FetchLimits(records=3))
        await service.start()
        await begun.wait()
        stopping = asyncio.create_task(service.stop(timeout=PATIENCE))
        for _ in range(1000):  # all the turns that a hasty stop would need
            await asyncio.sleep(0)
        finish.set()
        await asyncio.wait_for(stopping, 5)
        assert values(store.records) == numbered(0, 3)
        async with streaming(transport, store):
            assert values(await store.until(10)) == numbered(0, 10)


async def test_a_stop_ends_in_time_though_the_pipeline_hangs(make: Callable[..., Transport], topic: str) -> None:
    store = Store()
    begun, give_up = asyncio.Event(), asyncio.Event()

    async def deaf(batch: Batch) -> None:
        begun.set()
        while not give_up.is_set():
            try:
                await give_up.wait()
            except asyncio.CancelledError:
                continue

    async with opened(make()) as transport:
        await send(transport, numbered(0, 3))
        service = stream.build(transport, [topic], store.load, deaf)
        await service.start()
        await begun.wait()
        async with asyncio.timeout(5):
            await service.stop(timeout=0.2)
        await asyncio.wait_for(service.join(), 5)
        give_up.set()


async def test_positions_and_lag_tell_how_far_the_stream_is(
    make: Callable[..., Transport], topic: str, target: TopicPartition
) -> None:
    store = Store()
    gate = asyncio.Event()
    now = 100.0

    async def gated(batch: Batch) -> None:
        await gate.wait()
        await store.process(batch)

    async with opened(make()) as transport:
        service = stream.build(transport, [topic], store.load, gated, clock=lambda: now)
        await service.start()
        assert (service.positions(), service.lag(), service.seconds_since_progress(now)) == ({target: 0}, 0, 0.0)
        await send(transport, numbered(0, 4))
        async with asyncio.timeout(PATIENCE):
            while service.lag() < 4:  # noqa: ASYNC110 - an end is known as of the last look at the log
                await asyncio.sleep(0.01)
        now = 160.0
        assert (service.positions(), service.end_offsets(), service.lag()) == ({target: 0}, {target: 4}, 4)
        assert service.seconds_since_progress(now) >= 59.0
        gate.set()
        await store.until(4)
        async with asyncio.timeout(PATIENCE):
            while service.lag():  # noqa: ASYNC110 - it ends a few turns of the loop later
                await asyncio.sleep(0)
        assert service.positions() == {target: 4}
        assert service.seconds_since_progress(now + 1000.0) == 0.0
        await service.stop()


async def test_a_batch_that_the_store_refuses_comes_again_with_all_behind_it(make: Callable[..., Transport]) -> None:
    store = Store()
    refused = []

    async def process(batch: Batch) -> None:
        if len(store.records) >= 30 * len(refused) and len(refused) < 3:
            refused.append(batch)
            service.begin_again()
            return
        await store.process(batch)

    async with opened(make()) as transport:
        await send(transport, numbered(0, 100))
        limits = FetchLimits(records=10, linger=0.001)
        service = stream.build(transport, transport.options.topics, store.load, process, limits=limits)
        await service.start()
        assert values(await store.until(100)) == numbered(0, 100)
        await service.stop()
    assert len(refused) == 3


async def test_where_another_has_moved_the_store_on_it_is_read_from_there(
    make: Callable[..., Transport], target: TopicPartition
) -> None:
    store = Store()

    async def process(batch: Batch) -> None:
        if len(store.records) == 20 and store.offsets[target] < 80:
            store.offsets[target] = batch.records[0].offset + 60
            service.begin_again()
            return
        await store.process(batch)

    async with opened(make()) as transport:
        await send(transport, numbered(0, 100))
        limits = FetchLimits(records=10, linger=0.001)
        service = stream.build(transport, transport.options.topics, store.load, process, limits=limits)
        await service.start()
        assert values(await store.until(40)) == numbered(0, 20) + numbered(80, 100)
        await service.stop()


async def test_it_is_known_as_of_when_all_is_processed(make: Callable[..., Transport], target: TopicPartition) -> None:
    store = Store()
    goes_on = asyncio.Event()

    async def process(batch: Batch) -> None:
        await goes_on.wait()
        await store.process(batch)

    async def until(true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not true():  # noqa: ASYNC110 - it is time that passes
                await asyncio.sleep(0.01)

    async with opened(make()) as transport:
        service = stream.build(transport, transport.options.topics, store.load, process)
        began = time.time()
        await service.start()
        await until(lambda: service.caught_up().get(target, 0.0) > began)
        await send(transport, numbered(0, 1))
        sent = time.time()
        await until(lambda: service.lag() == 1)
        assert service.caught_up().get(target, 0.0) < sent
        goes_on.set()
        await until(lambda: service.caught_up().get(target, 0.0) > sent)
        assert values(store.records) == numbered(0, 1)
        assert service.caught_up()[target] <= time.time()
        await service.stop()


async def test_retention_never_takes_what_was_not_processed(
    make: Callable[..., Transport], target: TopicPartition
) -> None:
    store = Store()
    async with opened(make()) as transport:
        await send(transport, numbered(0, 10))
        removed = await transport.trim({target: 4}, now=0.0)
        assert removed <= 4  # a transport may leave it to others
        async with streaming(transport, store):
            assert values(await store.until(10 - removed)) == numbered(removed, 10)


async def test_a_second_daemon_on_the_same_data_is_refused(make: Callable[..., Transport], topic: str) -> None:
    async with opened(make()) as transport:
        with pytest.raises(DataFolderInUse, match=str(os.getpid())):
            await make().open()
        assert await transport.append(topic, b"undisturbed", 1, timestamp=0.0) == 0


async def test_a_log_behind_the_store_is_read_from_where_it_goes_on(
    make: Callable[..., Transport], target: TopicPartition
) -> None:
    store = Store({target: 1000})
    async with opened(make()) as transport, streaming(transport, store) as service:
        await send(transport, [b"new"])
        assert values(await store.until(1)) == [b"new"]
        assert store.offsets[target] == service.end_offsets()[target] == store.records[0].offset + 1


async def test_what_is_sent_before_the_stream_runs_is_not_taken_for_what_the_store_has_seen(
    make: Callable[..., Transport],
    target: TopicPartition,
) -> None:
    store = Store({target: 1000})
    async with opened(make()) as transport:
        await transport.continue_from(store.offsets)
        await send(transport, [b"early"])
        async with streaming(transport, store):
            assert values(await store.until(1)) == [b"early"]


def test_an_unknown_scheme_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(CannotOpen, match="embedded://"):
        make_transport("rabbit://host", TransportOptions(data_folder=tmp_path))
