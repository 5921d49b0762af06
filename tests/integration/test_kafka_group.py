"""Several workers read one topic: whoever comes, goes, dies or sleeps, each record is stored once."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from aiokafka.admin import NewPartitions, NewTopic
from kafka_clients import administrator, producer, until
from kafka_worker import connect
from streams import Store, numbered, opened, send, streaming, values

from daemon.stream import build
from daemon.transports.base import FetchLimits, TransportOptions
from daemon.transports.kafka import KafkaTransport
from daemon.transports.kafka_options import KafkaOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiokafka import AIOKafkaProducer
    from kafka_broker import Broker

    from daemon.transports.base import Batch

PATIENCE = 60.0  # a worker that is gone is missed after three seconds, new partitions are seen after two
WORKER = Path(__file__).parent.parent / "kafka_worker.py"


class Group:
    """Workers on one topic, what they have stored, and what was sent meanwhile."""

    def __init__(self, kafka: Broker, topic: str, folder: Path) -> None:
        self._kafka, self._topic, self._folder = kafka, topic, folder
        self._path = folder / "store"
        self.store = connect(self._path)
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.sent = 0
        self._enough = asyncio.Event()
        self._stack = ExitStack()

    def start(self, name: str) -> None:
        output = self._stack.enter_context((self._folder / f"{name}.log").open("ab"))
        arguments = [self._kafka.address(), self._topic, str(self._folder), str(self._path), name]
        self.workers[name] = subprocess.Popen([sys.executable, str(WORKER), *arguments], stdout=output, stderr=output)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.workers.values():
            process.kill()
            process.wait()
        self.store.close()
        self._stack.close()

    def keep_sending(self, theirs: AIOKafkaProducer) -> None:
        self._sending = asyncio.create_task(self._send(theirs))

    async def stop_sending(self) -> None:
        self._enough.set()
        await self._sending

    async def _send(self, theirs: AIOKafkaProducer) -> None:
        while not self._enough.is_set():
            await theirs.send_and_wait(self._topic, b"%d" % self.sent)
            self.sent += 1
            await asyncio.sleep(0.002)

    async def until_read_by(self, **partitions: int) -> None:
        """Wait until each of these workers reads so many partitions, and all have stored something since."""
        await self._until(lambda: self._readers() == partitions, f"never read by {partitions}")
        before = self._stored()
        await self._until(
            lambda: all(
                self._stored().get(name, 0) > before.get(name, 0) for name, count in partitions.items() if count
            ),
            "a worker that reads does not store anything",
        )

    def forget(self, name: str) -> None:
        """It was killed, and could not say that it reads no more."""
        self.store.execute("DELETE FROM readers WHERE worker = ?", (name,))

    async def until_all_is_read_by(self, name: str) -> None:
        await self._until(lambda: self._readers().get(name) == 4, f"{name} does not take all")
        before = self._stored().get(name, 0)
        await self._until(lambda: self._stored().get(name, 0) > before + 100, f"{name} does not store anything")

    def _readers(self) -> dict[str, int]:
        return dict(self.store.execute("SELECT worker, count(*) FROM readers GROUP BY worker"))

    def _stored(self) -> dict[str, int]:
        return dict(self.store.execute("SELECT worker, count(*) FROM records GROUP BY worker"))

    async def _until(self, true: Callable[[], bool], otherwise: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not true():
                    for name, process in self.workers.items():
                        assert process.poll() in (None, 0, -signal.SIGKILL), (self._folder / f"{name}.log").read_text()
                    await asyncio.sleep(0.05)
        except TimeoutError:
            logs = "".join(one.read_text() for one in self._folder.glob("*.log"))
            pytest.fail(f"{otherwise}; it is {self._readers()}, stored {self._stored()}\n{logs}")

    async def check(self) -> None:
        """Send no more; every value that was sent gets stored, and none twice."""
        await self.stop_sending()
        count = "SELECT count(*) FROM records"
        await self._until(lambda: self.store.execute(count).fetchone()[0] >= self.sent, "records are missing")
        values = [int(value) for (value,) in self.store.execute("SELECT value FROM records")]
        assert sorted(values) == list(range(self.sent))


@pytest.fixture
async def group(kafka: Broker, topic: str, tmp_path: Path) -> AsyncIterator[Group]:
    """On a topic of four partitions, to which somebody sends all the time."""
    async with administrator(kafka) as admin:
        await admin.create_topics([NewTopic(topic, 4, 1)])
    with Group(kafka, topic, tmp_path) as one:
        async with producer(kafka, metadata_max_age_ms=500) as theirs:
            one.keep_sending(theirs)
            yield one
            await one.stop_sending()


async def test_a_worker_that_joins_takes_its_share_and_gives_it_back_as_it_leaves(group: Group) -> None:
    group.start("a")
    await group.until_read_by(a=4)
    group.start("b")
    await group.until_read_by(a=2, b=2)
    group.workers["b"].terminate()
    await group.until_read_by(a=4)
    assert group.workers["b"].wait() == 0
    await group.check()


async def test_a_worker_that_has_ended_is_in_the_group_no_more(group: Group, kafka: Broker, topic: str) -> None:
    """So the others read its partitions at once, and not only when it is missed."""
    group.start("a")
    group.start("b")
    await group.until_read_by(a=2, b=2)
    group.workers["b"].terminate()
    assert await asyncio.to_thread(group.workers["b"].wait) == 0
    async with administrator(kafka) as admin:
        [described] = await admin.describe_consumer_groups([topic])
    [about] = described.to_object()["groups"]
    assert len(about["members"]) == 1
    await group.until_read_by(a=4)
    await group.check()


async def test_a_worker_that_is_killed_is_replaced_and_takes_its_share_again(group: Group) -> None:
    group.start("a")
    group.start("b")
    await group.until_read_by(a=2, b=2)
    group.workers["b"].kill()
    group.workers["b"].wait()
    group.forget("b")
    await group.until_read_by(a=4)
    group.start("b")
    await group.until_read_by(a=2, b=2)
    await group.check()


async def test_a_worker_that_wakes_from_a_long_sleep_stores_nothing_that_another_has(group: Group) -> None:
    group.start("a")
    group.start("b")
    await group.until_read_by(a=2, b=2)
    group.workers["a"].send_signal(signal.SIGSTOP)
    await group.until_all_is_read_by("b")
    group.workers["a"].send_signal(signal.SIGCONT)
    await group.until_read_by(a=2, b=2)
    await group.check()


async def test_partitions_that_are_added_are_read_by_all(group: Group, kafka: Broker, topic: str) -> None:
    group.start("a")
    group.start("b")
    await group.until_read_by(a=2, b=2)
    async with administrator(kafka) as admin:
        await admin.create_partitions({topic: NewPartitions(total_count=6)})
    await group.until_read_by(a=3, b=3)
    await group.check()
    assert {partition for (partition,) in group.store.execute("SELECT DISTINCT partition FROM records")} == set(
        range(6)
    )


@pytest.fixture
def member(kafka: Broker, topic: str, tmp_path: Path) -> Callable[..., KafkaTransport]:
    """Makes transports of one group, each with a data folder of its own."""

    def transport(name: str, partitions: int) -> KafkaTransport:
        kafka_options = KafkaOptions(group=topic, partitions=partitions)
        options = TransportOptions(tmp_path / name, topics=(topic,), kafka=kafka_options)
        return KafkaTransport(f"kafka://{kafka.address()}", options)

    return transport


async def test_what_is_in_hand_is_stored_before_another_reads_on(
    kafka: Broker, topic: str, member: Callable[..., KafkaTransport]
) -> None:
    store = Store()

    class InHand:
        """Stores what it has taken only as it hands over."""

        def __init__(self, transport: KafkaTransport) -> None:
            self.batches: list[Batch] = []
            self.service = build(transport, [topic], store.load, self.process, hand_over=self.hand_over)

        async def process(self, batch: Batch) -> None:
            self.batches.append(batch)

        async def hand_over(self) -> None:
            for batch in self.batches:
                await store.process(batch)
            self.batches.clear()

    async with opened(member("one", 2)) as one, opened(member("other", 2)) as other, producer(kafka) as theirs:
        for number in range(40):
            await theirs.send_and_wait(topic, b"%d" % number, partition=number % 2)
        first, second = InHand(one), InHand(other)
        await first.service.start()
        await until(lambda: sum(len(batch.records) for batch in first.batches) == 40)
        assert store.offsets == {}
        await second.service.start()
        await until(lambda: len(first.service.positions()) == len(second.service.positions()) == 1)
        assert sorted(values(store.records)) == sorted(numbered(0, 40))
        await theirs.send_and_wait(topic, b"40", partition=0)
        await theirs.send_and_wait(topic, b"41", partition=1)
        await until(lambda: len(first.batches) == len(second.batches) == 1)
        for worker in (first, second):
            await worker.service.stop()
            await worker.hand_over()
    assert sorted(values(store.records)) == sorted(numbered(0, 42))


async def test_a_store_that_holds_one_worker_up_does_not_hold_up_the_others(
    kafka: Broker, topic: str, member: Callable[..., KafkaTransport]
) -> None:
    store = Store()
    goes_on = asyncio.Event()

    def guarded(batch: Batch) -> bool:
        return store.offsets.get(batch.target, 0) == batch.records[0].offset

    async def held_up(batch: Batch) -> None:
        await goes_on.wait()
        if guarded(batch):
            await store.process(batch)
        else:
            first.begin_again()

    async def at_once(batch: Batch) -> None:
        if guarded(batch):
            await store.process(batch)
        else:
            second.begin_again()

    async with opened(member("one", 2)) as one, opened(member("other", 2)) as other, producer(kafka) as theirs:
        for number in range(40):
            await theirs.send_and_wait(topic, b"%d" % number, partition=number % 2)
        first = build(one, [topic], store.load, held_up, limits=FetchLimits(records=5))
        await first.start()
        second = build(other, [topic], store.load, at_once, limits=FetchLimits(records=5))
        await second.start()
        await store.until(20)
        assert not goes_on.is_set()
        goes_on.set()
        await store.until(40)
        assert first.failure is second.failure is None
        await until(lambda: sorted({**first.positions(), **second.positions()}.values()) == [20, 20])
        await first.stop()
        await second.stop()
    assert sorted(values(store.records)) == sorted(numbered(0, 40))


async def test_a_worker_for_whom_there_is_no_partition_idles_until_there_is_one(
    member: Callable[..., KafkaTransport],
) -> None:
    store = Store()
    transports = opened(member("one", 1)), opened(member("other", 1))
    async with transports[0] as first, transports[1] as second, streaming(first, store) as reading:
        await send(first, numbered(0, 5))
        await store.until(5)
        async with asyncio.timeout(PATIENCE), streaming(second, store) as idling:
            services = (reading, idling)
            await until(lambda: sorted(len(one.positions()) for one in services) == [0, 1])
            [none] = [one for one in services if not one.positions()]
            assert (none.lag(), none.seconds_since_progress(1e12), none.failure) == (0, 0.0, None)
            await send(first, numbered(5, 8))
            assert values(await store.until(8)) == numbered(0, 8)
        await send(first, numbered(8, 10))
        assert values(await store.until(10)) == numbered(0, 10)
