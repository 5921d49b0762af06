"""The same log comes to the same outcome, wherever it is kept."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

from pipelines import START, TARGET, World, batches, small
from seeded_events import anything, traffic
from streams import PATIENCE, opened

from daemon.events.keys import count_documents
from daemon.monitoring.options import MonitorOptions
from daemon.stores.engine import sqlite_url
from daemon.stores.migrate import upgrade
from daemon.stream import build
from daemon.transports.base import FetchLimits, TransportOptions
from daemon.transports.kafka_options import KafkaOptions
from daemon.transports.registry import make_transport

if TYPE_CHECKING:
    from pathlib import Path

    from kafka_broker import Broker


async def world_of(folder: Path, options: MonitorOptions | None = None) -> World:
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    world = World(folder, options=options or small(), url=sqlite_url(folder / "store.db"))
    await upgrade(world.url)
    return world


async def come_of(
    world: World, url: str, topic: str, log: list[bytes], lives: int, kafka: KafkaOptions
) -> dict[str, Any]:
    """The outcome of a log, sent and read by as many processes one after the other."""
    options = TransportOptions(world.folder / "log", topics=(topic,), kafka=kafka)
    share = -(-len(log) // lives)
    for first in range(0, len(log), share):
        async with opened(make_transport(url, options)) as transport:
            pipeline = await world.start()
            await transport.continue_from(await pipeline.offsets())
            service = build(
                transport,
                [topic],
                pipeline.offsets,
                pipeline.process,
                foresee=pipeline.foresee,
                begin=pipeline.begin,
                limits=FetchLimits(records=40),
            )
            await service.start()
            for number, value in enumerate(log[first : first + share], first):
                await transport.append(topic, value, count_documents(value), timestamp=START + number / 4)
            async with asyncio.timeout(PATIENCE):
                while sum(service.positions().values()) < min(first + share, len(log)):  # noqa: ASYNC110 - polled
                    await asyncio.sleep(0.01)
            await service.stop()
            await pipeline.flush()
    outcome = await world.outcome()
    await world.close()
    return outcome


async def test_embedded_and_kafka_come_to_the_same_alarms_counts_and_state(tmp_path: Path, kafka: Broker) -> None:
    topic = f"events.{secrets.token_hex(4)}"
    for seed, log in enumerate((anything(7, 250), traffic(300, drift_at=150))):
        of = {}
        for url in ("embedded://", f"kafka://{kafka.address()}"):
            world = await world_of(tmp_path / f"{seed}-{url[:5]}")
            options = KafkaOptions(group=f"{topic}-{seed}")
            of[url] = await come_of(world, url, f"{topic}-{seed}", log, 3, options)
        embedded, kept_in_kafka = of.values()
        for part, outcome in embedded.items():
            assert kept_in_kafka[part] == outcome, part
        assert embedded["counters"]
    assert embedded["alarms"]


async def test_events_are_counted_and_joined_over_all_partitions(tmp_path: Path, kafka: Broker) -> None:
    topic = f"events.{secrets.token_hex(4)}"
    log = traffic(300)
    # partitions are not read in step: a label waits for its prediction for longer than the small limits allow
    world = await world_of(tmp_path / "embedded", MonitorOptions())
    embedded = await come_of(world, "embedded://", topic, log, 1, KafkaOptions())
    options = KafkaOptions(group=topic, partitions=3)
    url = f"kafka://{kafka.address()}"
    world = await world_of(tmp_path / "kafka", MonitorOptions())
    split = await come_of(world, url, topic, log, 2, options)
    assert len(split["offsets"]) == 3
    assert sum(split["offsets"].values()) == len(log)
    counts = {name: count for name, count in embedded["counters"].items() if "alarm" not in name[1]}
    assert {name: split["counters"].get(name) for name in counts} == counts


async def test_a_log_that_was_made_anew_is_taken_in_from_its_start(tmp_path: Path) -> None:
    world = await world_of(tmp_path)
    log = traffic(40)
    pipeline = await world.start()
    await pipeline.process(batches(log[:30])[0])
    await pipeline.flush()
    pipeline = await world.start()
    pipeline.begin({TARGET: 0})
    for one in batches(log[30:]):
        await pipeline.process(one)
    await pipeline.flush()
    outcome = await world.outcome()
    await world.close()
    assert outcome["offsets"] == {TARGET: len(log) - 30}
    whole = await world_of(tmp_path / "whole")
    pipeline = await whole.start()
    await pipeline.process(batches(log)[0])
    await pipeline.flush()
    assert outcome["counters"] == await whole.counters()
    await whole.close()
