"""Faust as a guest in the daemon's process: quick, silent, without traces, and as we believe it to be.

The last tests are contracts: each holds one thing about Faust that the daemon relies on and its documentation does
not promise.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import time
import warnings
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import faust
import pytest
from faust.exceptions import ImproperlyConfigured
from faust.tables.manager import TableManager
from faust.transport import drivers

from daemon import stream
from daemon.transports import embedded_driver
from daemon.transports.base import Batch, FetchLimits, TopicPartition, TransportOptions
from daemon.transports.embedded import EmbeddedTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from daemon.stream import StreamService

TARGET = TopicPartition("t", 0)


async def nothing_stored() -> dict[TopicPartition, int]:
    return {}


async def ignore(_: Batch) -> None:
    pass


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[EmbeddedTransport]:
    transport = EmbeddedTransport("embedded://", TransportOptions(data_folder=folder))
    await transport.open()
    try:
        yield transport
    finally:
        await transport.close()


def build(
    transport: EmbeddedTransport, process: Callable[[Batch], Awaitable[None]] = ignore, *, records: int = 1000
) -> StreamService:
    return stream.build(transport, ["t"], nothing_stored, process, limits=FetchLimits(records=records))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event, and takes a few turns of the loop
            await asyncio.sleep(0)


async def test_it_starts_and_stops_without_a_word_or_a_trace(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    tasks = asyncio.all_tasks()
    taken: list[Batch] = []

    async def take(batch: Batch) -> None:
        taken.append(batch)

    with warnings.catch_warnings(), caplog.at_level(logging.INFO):
        warnings.simplefilter("error")
        async with opened(tmp_path / "data") as transport:
            service = build(transport, take)
            await service.start()
            await transport.append("t", b"{}", 1, timestamp=1.0)
            await until(lambda: bool(taken))
            await service.stop()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO] == []
    assert capfd.readouterr() == ("", "")
    assert list(elsewhere.iterdir()) == []
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["events.db", "events.lock"]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)] == handlers
    await until(lambda: asyncio.all_tasks() == tasks)


async def test_it_is_ready_without_the_second_that_faust_sleeps(tmp_path: Path) -> None:
    async with opened(tmp_path) as transport:
        service = build(transport)
        begun = time.perf_counter()
        await service.start()
        await service.wait_until_ready()
        assert time.perf_counter() - begun < 0.9
        await service.stop()


async def test_the_environment_does_not_change_faust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "BROKER_URL": "kafka://somewhere-else:9092",
        "APP_WEB_ENABLED": "yes",
        "STREAM_WAIT_EMPTY": "yes",
        "APP_DATADIR": str(tmp_path / "litter"),
    }.items():
        monkeypatch.setenv(name, value)
    async with opened(tmp_path / "data") as transport:
        service = build(transport)
        await service.start()
        conf = service._app.conf
        assert [str(url) for url in conf.broker] == ["embedded:"]
        assert (conf.web_enabled, conf.stream_wait_empty) == (False, False)
        await service.stop()
    assert not (tmp_path / "litter").exists()


async def test_a_slow_pipeline_is_read_ahead_of_only_a_little(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def wait(_: Batch) -> None:
        await gate.wait()

    async with opened(tmp_path) as transport:
        await asyncio.gather(*(transport.append("t", b"x", 1, timestamp=0.0) for _ in range(200)))
        service = build(transport, wait, records=1)
        await service.start()
        await until(lambda: len(service._feed.in_flight) == FetchLimits().ahead)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert len(service._feed.in_flight) == FetchLimits().ahead
        gate.set()
        begun = time.perf_counter()
        await until(lambda: service.positions() == {TARGET: 200})
        # two hundred waits for room, and none of them was Faust's second
        assert time.perf_counter() - begun < 5.0
        await service.stop()


async def rebalance(service: StreamService, generation: int) -> None:
    """Take all partitions away and give them back, as a broker does when a worker joins or leaves."""
    app = service._app
    consumer = app.consumer
    assert isinstance(consumer, embedded_driver.Consumer)
    assigned = set(consumer.assignment())
    app.on_rebalance_start()
    await consumer.on_partitions_revoked(assigned)
    app.consumer_generation_id = generation
    await consumer.on_partitions_assigned(assigned, generation)


async def test_rebalances_in_the_middle_of_batches_lose_and_double_nothing(tmp_path: Path) -> None:
    begun, finish, asked = asyncio.Event(), asyncio.Event(), asyncio.Event()
    taken: list[bytes] = []
    stored: dict[TopicPartition, int] = {}

    async def slow(batch: Batch) -> None:
        begun.set()
        await finish.wait()
        taken.extend(record.value for record in batch.records)
        stored[TARGET] = batch.next_offset

    async def load() -> dict[TopicPartition, int]:
        asked.set()
        return dict(stored)

    async with opened(tmp_path) as transport:
        for number in range(40):
            await transport.append("t", b"%d" % number, 1, timestamp=0.0)
        service = stream.build(transport, ["t"], load, slow, limits=FetchLimits(records=4))
        await service.start()
        for generation in (2, 3, 4):
            await until(lambda: begun.is_set() and len(service._feed.in_flight) == 2)
            asked.clear()
            await rebalance(service, generation)
            for _ in range(100):  # all the turns that it would take to ask for the offsets too early
                await asyncio.sleep(0)
            begun.clear()
            finish.set()
            await begun.wait()
            finish.clear()
            assert asked.is_set()
        finish.set()
        await until(lambda: service.positions() == {TARGET: 40})
        await until(lambda: len(service._feed.in_flight) == 0)
        await service.stop()
    assert taken == [b"%d" % number for number in range(40)]


async def test_after_a_rebalance_the_store_counts_and_not_the_batch_that_was_in_work(tmp_path: Path) -> None:
    begun, finish = asyncio.Event(), asyncio.Event()
    stored: dict[TopicPartition, int] = {}

    async def slow(_: Batch) -> None:
        begun.set()
        await finish.wait()

    async def load() -> dict[TopicPartition, int]:
        return stored

    async with opened(tmp_path) as transport:
        for number in range(7):
            await transport.append("t", b"%d" % number, 1, timestamp=0.0)
        service = stream.build(transport, ["t"], load, slow, limits=FetchLimits(records=4))
        await service.start()
        await begun.wait()
        stored[TARGET] = 7  # meanwhile another worker had the partition, and came this far
        await rebalance(service, 2)
        finish.set()
        await until(lambda: service.positions() == {TARGET: 7})
        await service.stop()


async def test_a_quiet_night_is_no_standstill(tmp_path: Path) -> None:
    now = 100.0

    async def wait(_: Batch) -> None:
        await asyncio.Event().wait()

    async with opened(tmp_path) as transport:
        service = stream.build(transport, ["t"], nothing_stored, wait, clock=lambda: now)
        now = 200.0
        await service.start()
        now = 30_000.0
        await until(lambda: service._progress_at == now)  # within the second that Faust waits for records
        await transport.append("t", b"the first in the morning", 1, timestamp=0.0)
        assert service.lag() == 1
        assert service.seconds_since_progress(now + 2.0) == 2.0
        now += 60.0
        await service.stop(timeout=0.1)


async def test_the_clock_of_a_standstill_starts_with_the_stream(tmp_path: Path) -> None:
    now = 100.0
    gate = asyncio.Event()

    async def wait(_: Batch) -> None:
        await gate.wait()

    async with opened(tmp_path) as transport:
        await transport.append("t", b"left from yesterday", 1, timestamp=0.0)
        service = stream.build(transport, ["t"], nothing_stored, wait, clock=lambda: now)
        now = 5000.0
        await service.start()
        assert service.seconds_since_progress(5010.0) == 10.0
        gate.set()
        await service.stop()


async def test_a_crash_of_faust_itself_is_a_failure_of_the_service(tmp_path: Path) -> None:
    async with opened(tmp_path) as transport:
        service = build(transport)
        await service.start()
        await transport.close()  # the log goes away under the consumer
        with pytest.raises(Exception, match="closed"):
            await asyncio.wait_for(service.join(), 20)
        async with asyncio.timeout(5):
            await service.stop()


async def test_a_faust_app_can_send_to_the_log(tmp_path: Path) -> None:
    async with opened(tmp_path) as transport:
        service = build(transport)
        await service.start()
        sent = await service._app.topic("u", value_serializer="raw").send(value=b"hello", timestamp=7.0)
        assert (await sent).offset == 0
        assert [record.value for record in await transport.log.read("u", 0, 0, 1, 100)] == [b"hello"]
        await service.stop()


def test_the_installed_entry_point_is_our_driver() -> None:
    (found,) = entry_points(group="faust.transports", name="embedded")
    assert found.load() is embedded_driver.Transport


def test_faust_finds_the_driver_where_driftd_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(drivers.TRANSPORTS.aliases, "embedded", raising=False)
    embedded_driver.register()
    assert drivers.by_url("embedded://") is embedded_driver.Transport


async def test_an_app_of_somebody_else_is_told_what_the_driver_is_for() -> None:
    embedded_driver.register()
    app = faust.App("another", broker="embedded://", env={})
    with pytest.raises(ImproperlyConfigured, match=r"daemon\.stream"):
        _ = app.consumer


IDLE = """
import asyncio, time, sys
from pathlib import Path
from daemon import stream
from daemon.transports.base import TransportOptions
from daemon.transports.embedded import EmbeddedTransport

async def nothing(*_):
    return {}

async def main():
    transport = EmbeddedTransport("embedded://", TransportOptions(Path(sys.argv[1])))
    await transport.open()
    service = stream.build(transport, ["t"], nothing, nothing)
    await service.start()
    cpu, begun = time.process_time(), time.perf_counter()
    try:
        await asyncio.wait_for(service.join(), 1.5)
    except TimeoutError:
        pass
    used = (time.process_time() - cpu) / (time.perf_counter() - begun)
    heavy = {"pandas", "scipy", "sklearn", "river", "pyarrow", "matplotlib"} & set(sys.modules)
    print(used, *heavy)
    await service.stop()
    await transport.close()

asyncio.run(main())
"""


def test_an_idle_stream_takes_hardly_any_time_and_imports_nothing_heavy(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", IDLE, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    used, *heavy = done.stdout.split()
    assert float(used) < 0.05
    assert heavy == []
    assert done.stderr == ""


def test_contract_faust_still_sleeps_where_we_start_at_once() -> None:
    # if this sleep is gone, so can be _NoTables; if it moved, _NoTables leaves something out
    source = TableManager.on_start.__code__
    assert {"sleep", "should_stop", "_update_channels", "recovery", "start"} == set(source.co_names)


def test_contract_an_environment_of_our_own_is_taken() -> None:
    assert faust.App("contract", env={}, web_port=1).conf.env == {}
