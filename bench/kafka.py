"""Events a second from Kafka to checkpointed alarms, one worker, beside a Faust agent with river on the same broker.

The work is that of throughput.py, from a topic of one partition: once with an event a record, as other producers
write, and once with NDJSON of 500, as `POST /v1/events` does. The peer takes an event a record, as a Faust agent does.
Starts a broker of its own where there are Java and Maven; --broker takes another.
"""

import argparse
import asyncio
import json
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.events import make_events
from bench.running import RunningDaemon
from bench.throughput import BODY_EVENTS, FAUST_EVENTS, Naive

RUNS = 3


def main() -> None:
    """Print events a second of each, and ours as ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--predictions", type=int, default=300_000)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--broker", help="HOST:PORT of one that runs already")
    parser.add_argument("--store", help="URL of the store, which has to be empty; SQLite without it (one run then)")
    chosen = parser.parse_args()
    lines = list(make_events(chosen.predictions, seed=1))
    runs = 1 if chosen.store else chosen.runs
    print(f"{len(lines):,} events of {sum(map(len, lines)) / len(lines):.0f} bytes on average; {runs} runs each")
    singles, bodies, faust = [], [], []
    with broker(chosen.broker) as address:
        for _ in range(runs):
            singles.append(of_driftd(address, lines, 1, chosen.store))
            if not chosen.store:
                bodies.append(of_driftd(address, lines, BODY_EVENTS, None))
            faust.append(asyncio.run(of_faust(address, lines[:FAUST_EVENTS])))
    names = ("driftd, an event a record", f"driftd, NDJSON of {BODY_EVENTS}", "a Faust agent and river")
    for name, rates in zip(names, (singles, bodies, faust), strict=True):
        if rates:
            print(f"  {name:<28} {statistics.median(rates):>10,.0f} events/s  ({min(rates):,.0f} to {max(rates):,.0f})")
    for name, ours in zip(names, (singles, bodies), strict=False):
        if ours:
            times = statistics.median(a / b for a, b in zip(ours, faust, strict=True))
            print(f"{name} is {times:.1f} times the Faust agent")


@contextmanager
def broker(address: str | None) -> Iterator[str]:
    """One that runs, or one for as long as this lasts."""
    if address:
        yield address
        return
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from kafka_broker import Broker, NoBroker

    with tempfile.TemporaryDirectory(prefix="driftd-bench-") as folder:
        try:
            one = Broker.begin(Path(folder))
        except NoBroker as reason:
            sys.exit(f"skipped: {reason}")
        try:
            yield one.address()
        finally:
            one.kill()


def of_driftd(address: str, lines: list[bytes], events: int, store: str | None) -> float:
    """The topic is filled first; the time is from ready to the checkpoint that holds the last event."""
    topic = asyncio.run(_fill(address, lines, events))
    settings = {"DRIFTD_BROKER": f"kafka://{address}", "DRIFTD_TOPICS": topic, "DRIFTD_KAFKA__GROUP": topic}
    if store:
        settings["DRIFTD_DATABASE_URL"] = store
    with tempfile.TemporaryDirectory(prefix="driftd-bench-") as folder:
        running = RunningDaemon(Path(folder), **settings)
        running.start()
        began = time.perf_counter()
        while True:
            found = running.get("/v1/status")["models"]
            if found and sum(found[0]["events"].values()) >= len(lines):
                break
            time.sleep(0.1)
        seconds = time.perf_counter() - began
        running.stop()
    return len(lines) / seconds


async def _fill(address: str, lines: list[bytes], events: int) -> str:
    from aiokafka import AIOKafkaProducer
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    topic = f"bench.{secrets.token_hex(4)}"
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=address, max_batch_size=1 << 19, linger_ms=5, compression_type="lz4")
    async with producer:
        for start in range(0, len(lines), events):
            key = json.loads(lines[start])["id"].encode() if events == 1 else None
            await producer.send(topic, b"\n".join(lines[start : start + events]), key=key)
        await producer.flush()
    return topic


async def of_faust(address: str, lines: list[bytes]) -> float:
    """What Faust's own documentation would have one write; the time is from the first event to the last."""
    import faust

    topic = await _fill(address, lines, 1)
    naive, done = Naive(), asyncio.Event()
    count, began = 0, 0.0

    app = faust.App(
        topic,
        env={},
        autodiscover=False,
        broker=f"kafka://{address}",
        store="memory://",
        web_enabled=False,
        topic_disable_leader=True,
        value_serializer="json",
        consumer_auto_offset_reset="earliest",
    )
    source = app.topic(topic, value_serializer="json")

    async def take(stream: Any) -> None:
        nonlocal count, began
        async for event in stream:
            began = began or time.perf_counter()
            naive.take(event)
            count += 1
            if count == len(lines):
                done.set()

    app.agent(source)(take)
    await app.start()
    await done.wait()
    seconds = time.perf_counter() - began
    await app.stop()
    return len(lines) / seconds


if __name__ == "__main__":
    main()
