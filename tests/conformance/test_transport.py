"""What every transport promises, checked on each one that is registered, through the Faust app that reads it."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from daemon import stream
from daemon.transports.base import Batch, FetchLimits, Record, Retention, TopicPartition, TransportOptions
from daemon.transports.errors import CannotOpen, DataFolderInUse
from daemon.transports.registry import TRANSPORTS, make_transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

    from daemon.stream import StreamService
    from daemon.transports.base import Transport

TOPIC = "driftd.events"
TARGET = TopicPartition(TOPIC, 0)
PATIENCE = 20.0  # seconds after which a test that waits has failed

# How to reach each transport. One that is registered and not here fails the first test.
URLS: dict[str, str] = {
    "embedded": "embedded://",
}


def test_every_registered_transport_is_checked_here() -> None:
    assert sorted(URLS) == sorted(TRANSPORTS)


@pytest.fixture(params=sorted(TRANSPORTS))
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Transport]:
    options = TransportOptions(data_folder=tmp_path / "data", retention=Retention(size=0, seconds=None))
    return lambda: make_transport(URLS[request.param], options)


class Store:
    """Stands where the pipeline and its store stand: takes batches, and keeps the next offsets with them."""

    def __init__(self, offsets: dict[TopicPartition, int] | None = None) -> None:
        self.offsets = offsets or {}
        self.batches: list[Batch] = []
        self._changed = asyncio.Condition()

    async def load(self) -> dict[TopicPartition, int]:
        return dict(self.offsets)

    async def process(self, batch: Batch) -> None:
        async with self._changed:
            self.batches.append(batch)
            self.offsets[batch.target] = batch.next_offset
            self._changed.notify_all()

    async def until(self, records: int) -> list[Record]:
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: len(self.records) >= records)
        return self.records

    @property
    def records(self) -> list[Record]:
        return [record for batch in self.batches for record in batch.records]


@asynccontextmanager
async def opened(transport: Transport) -> AsyncIterator[Transport]:
    await transport.open()
    try:
        yield transport
    finally:
        await transport.close()


@asynccontextmanager
async def streaming(
    transport: Transport, store: Store, *, topics: Iterable[str] = (TOPIC,), limits: FetchLimits | None = None
) -> AsyncIterator[StreamService]:
    service = stream.build(transport, list(topics), store.load, store.process, limits=limits)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


async def send(transport: Transport, values: Iterable[bytes], *, topic: str = TOPIC) -> None:
    for value in values:
        await transport.append(topic, value, 1, timestamp=1.0)


def numbered(first: int, stop: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, stop)]


def values(records: Iterable[Record]) -> list[bytes]:
    return [record.value for record in records]


async def test_every_record_comes_once_and_in_order(make: Callable[[], Transport]) -> None:
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


async def test_records_come_in_batches(make: Callable[[], Transport]) -> None:
    store = Store()
    async with opened(make()) as transport:
        await send(transport, numbered(0, 1000))
        async with streaming(transport, store):
            await store.until(1000)
    assert len(store.batches) < 20


async def test_a_record_comes_as_it_was_sent(make: Callable[[], Transport]) -> None:
    store = Store()
    body = b"\n".join(b'{"id": %d}' % number for number in range(500))
    async with opened(make()) as transport:
        await transport.append(TOPIC, body, 500, timestamp=1234.5, key=b"k")
        async with streaming(transport, store):
            (record,) = await store.until(1)
    assert record == Record(record.offset, 1234.5, b"k", body, 500)


async def test_a_record_of_five_megabytes_comes_through(make: Callable[[], Transport]) -> None:
    store = Store()
    large = os.urandom(5 << 20)
    async with opened(make()) as transport, streaming(transport, store, limits=FetchLimits(size=1 << 20)):
        await send(transport, [b"before", large, b"after"])
        assert values(await store.until(3)) == [b"before", large, b"after"]


async def test_reading_begins_where_the_store_says(make: Callable[[], Transport]) -> None:
    store = Store({TARGET: 7})
    async with opened(make()) as transport:
        await send(transport, numbered(0, 10))
        async with streaming(transport, store) as service:
            assert values(await store.until(3)) == numbered(7, 10)
            assert service.positions()[TARGET] == store.offsets[TARGET]
    assert len(store.records) == 3


async def test_a_restart_goes_on_at_the_stored_offset(make: Callable[[], Transport]) -> None:
    store = Store()
    for run in range(3):
        async with opened(make()) as transport, streaming(transport, store):
            await send(transport, numbered(run * 10, run * 10 + 10))
            await store.until(run * 10 + 10)
    assert values(store.records) == numbered(0, 30)


async def test_what_came_while_nobody_read_is_read_later(make: Callable[[], Transport]) -> None:
    store = Store()
    async with opened(make()) as transport:
        async with streaming(transport, store):
            await send(transport, [b"first"])
            await store.until(1)
        await send(transport, [b"second"])
        async with streaming(transport, store):
            assert values(await store.until(2)) == [b"first", b"second"]


async def test_an_idle_stream_is_woken_by_a_record(make: Callable[[], Transport]) -> None:
    store = Store()
    async with opened(make()) as transport, streaming(transport, store):
        for number in range(3):
            await send(transport, [b"%d" % number])
            await store.until(number + 1)
    assert values(store.records) == numbered(0, 3)


async def test_all_topics_are_read_each_in_its_order(make: Callable[[], Transport]) -> None:
    store = Store()
    topics = ["a", "b", "c"]
    async with opened(make()) as transport:
        for topic in topics:
            await send(transport, numbered(0, 50), topic=topic)
        async with streaming(transport, store, topics=topics, limits=FetchLimits(records=10)):
            await store.until(150)
    for topic in topics:
        of_topic = [record for batch in store.batches if batch.topic == topic for record in batch.records]
        assert values(of_topic) == numbered(0, 50)
    # none of them waits until another is done
    assert {batch.topic for batch in store.batches[:6]} == set(topics)


async def test_an_error_in_the_pipeline_is_loud_and_the_batch_comes_again(make: Callable[[], Transport]) -> None:
    store = Store()

    async def broken(batch: Batch) -> None:
        if any(record.value == b"5" for record in batch.records):
            raise RuntimeError("the disk of the store is on fire")
        await store.process(batch)

    async with opened(make()) as transport:
        await send(transport, numbered(0, 10))
        service = stream.build(transport, [TOPIC], store.load, broken, limits=FetchLimits(records=1))
        await service.start()
        with pytest.raises(RuntimeError, match="on fire"):
            await asyncio.wait_for(service.join(), PATIENCE)
        assert isinstance(service.failure, RuntimeError)
        assert service.positions() == {TARGET: 5}
        assert service.lag() == 5
        async with asyncio.timeout(5):
            await service.stop()
        # nothing behind the failed batch was taken
        assert values(store.records) == numbered(0, 5)

        async with streaming(transport, store):
            assert values(await store.until(10)) == numbered(0, 10)


async def test_a_store_that_cannot_be_asked_stops_the_start(make: Callable[[], Transport]) -> None:
    async def unreachable() -> dict[TopicPartition, int]:
        raise ConnectionRefusedError("no store here")

    async with opened(make()) as transport:
        service = stream.build(transport, [TOPIC], unreachable, Store().process)
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(ConnectionRefusedError, match="no store here"):
                await service.start()


async def test_a_stop_lets_the_batch_in_work_finish(make: Callable[[], Transport]) -> None:
    store = Store()
    begun, finish = asyncio.Event(), asyncio.Event()

    async def slow(batch: Batch) -> None:
        begun.set()
        await finish.wait()
        await store.process(batch)

    async with opened(make()) as transport:
        await send(transport, numbered(0, 10))
        service = stream.build(transport, [TOPIC], store.load, slow, limits=FetchLimits(records=3))
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


async def test_a_stop_ends_in_time_though_the_pipeline_hangs(make: Callable[[], Transport]) -> None:
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
        service = stream.build(transport, [TOPIC], store.load, deaf)
        await service.start()
        await begun.wait()
        async with asyncio.timeout(5):
            await service.stop(timeout=0.2)
        await asyncio.wait_for(service.join(), 5)
        give_up.set()


async def test_positions_and_lag_tell_how_far_the_stream_is(make: Callable[[], Transport]) -> None:
    store = Store()
    gate = asyncio.Event()
    now = 100.0

    async def gated(batch: Batch) -> None:
        await gate.wait()
        await store.process(batch)

    async with opened(make()) as transport:
        service = stream.build(transport, [TOPIC], store.load, gated, clock=lambda: now)
        await service.start()
        assert (service.positions(), service.lag(), service.seconds_since_progress(now)) == ({TARGET: 0}, 0, 0.0)
        await send(transport, numbered(0, 4))
        now = 160.0
        assert (service.positions(), service.end_offsets(), service.lag()) == ({TARGET: 0}, {TARGET: 4}, 4)
        assert service.seconds_since_progress(now) >= 59.0
        gate.set()
        await store.until(4)
        async with asyncio.timeout(PATIENCE):
            while service.lag():  # noqa: ASYNC110 - it ends a few turns of the loop later
                await asyncio.sleep(0)
        assert service.positions() == {TARGET: 4}
        assert service.seconds_since_progress(now + 1000.0) == 0.0
        await service.stop()


async def test_retention_never_takes_what_was_not_processed(make: Callable[[], Transport]) -> None:
    store = Store()
    async with opened(make()) as transport:
        await send(transport, numbered(0, 10))
        assert await transport.trim({TARGET: 4}, now=0.0) == 4
        async with streaming(transport, store):
            assert values(await store.until(6)) == numbered(4, 10)


async def test_a_second_daemon_on_the_same_data_is_refused(make: Callable[[], Transport]) -> None:
    async with opened(make()) as transport:
        with pytest.raises(DataFolderInUse, match=str(os.getpid())):
            await make().open()
        assert await transport.append(TOPIC, b"undisturbed", 1, timestamp=0.0) == 0


async def test_a_log_behind_the_store_goes_on_at_the_store_s_offset(make: Callable[[], Transport]) -> None:
    store = Store({TARGET: 1000})
    async with opened(make()) as transport, streaming(transport, store) as service:
        await send(transport, [b"new"])
        assert values(await store.until(1)) == [b"new"]
        assert store.offsets[TARGET] == service.end_offsets()[TARGET] == 1001


async def test_what_is_sent_before_the_stream_runs_is_not_taken_for_what_the_store_has_seen(
    make: Callable[[], Transport],
) -> None:
    store = Store({TARGET: 1000})
    async with opened(make()) as transport:
        await transport.continue_from(store.offsets)
        await send(transport, [b"early"])
        async with streaming(transport, store):
            assert values(await store.until(1)) == [b"early"]


def test_an_unknown_scheme_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(CannotOpen, match="embedded://"):
        make_transport("rabbit://host", TransportOptions(data_folder=tmp_path))
