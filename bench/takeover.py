"""Seconds from `kill -9` of a worker until others read its partitions, own its models, and have caught up.

Workers share a topic that gets events all the time. One after the other is killed, and started again once the others
have taken over. A partition counts as read by others when one of them has said so, a model as owned when one of them
has its lease, and all as caught up when an event that was sent after the kill is judged in every model. Starts a broker
and a PostgreSQL of its own.
"""

import argparse
import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import asyncpg
from aiokafka import AIOKafkaProducer

from bench.fleet import PARTITIONS, fill, postgresql
from bench.kafka import broker
from bench.running import RunningDaemon
from bench.stores import new_store

TICK_SECONDS = 0.02
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 120.0
READ = "select count(*) from partitions where worker = any($1) and seen > $2"
OWNED = "select count(*) from leases where name like 'model:%' and worker = any($1) and until > $2"
CAUGHT_UP = "select count(*) from models where last_ts > $1"
WORKER = "select worker from workers where url = $1 order by started desc limit 1"


def main() -> None:
    """Print the quantiles over all kills."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--models", type=int, default=12)
    parser.add_argument("--rate", type=int, default=500, help="events a second")
    parser.add_argument("--broker", help="HOST:PORT of one that runs already")
    parser.add_argument("--store", metavar="URL", help="postgresql://... of a server on which databases may be made")
    chosen = parser.parse_args()
    with broker(chosen.broker) as address, postgresql(chosen.store) as server, new_store(server) as (settings, _):
        topic = asyncio.run(fill(address, [], 1))
        enough = threading.Event()
        traffic = threading.Thread(
            target=lambda: asyncio.run(send(address, topic, chosen.models, chosen.rate, enough)), daemon=True
        )
        traffic.start()
        try:
            found = asyncio.run(kill_all(address, topic, settings, chosen))
        finally:
            enough.set()
            traffic.join()
    print(f"{chosen.kills} kills of one of {chosen.workers} workers, {chosen.models} models, {chosen.rate} events/s")
    for name, seconds in zip(
        ("all partitions read", "all models owned", "all caught up"), zip(*found, strict=True), strict=True
    ):
        ordered = sorted(seconds)
        median, high = ordered[len(ordered) // 2], ordered[round(0.99 * (len(ordered) - 1))]
        print(f"  {name:<20} median {median:5.1f} s, p99 {high:5.1f} s, longest {ordered[-1]:5.1f} s")


async def send(address: str, topic: str, models: int, rate: int, enough: threading.Event) -> None:
    """Predictions of all models in turn, until it is enough."""
    async with AIOKafkaProducer(bootstrap_servers=address, linger_ms=5) as producer:
        began, numbers = time.monotonic(), count()
        sent = 0
        while not enough.is_set():
            await asyncio.sleep(TICK_SECONDS)
            while sent < (time.monotonic() - began) * rate:
                number = next(numbers)
                event = {"model": f"model-{number % models}", "id": str(number), "ts": time.time(), "prediction": 1}
                await producer.send(topic, json.dumps(event | {"features": {"x": number % 97}}).encode())
                sent += 1


async def kill_all(
    address: str, topic: str, settings: dict[str, str], chosen: argparse.Namespace
) -> list[tuple[float, float, float]]:
    """Kill one after the other. Returns the seconds of each."""
    shared = {"DRIFTD_BROKER": f"kafka://{address}", "DRIFTD_TOPICS": topic, "DRIFTD_KAFKA__GROUP": topic, **settings}
    found = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="driftd-bench-")))
        (folder / "archive").mkdir()
        shared["DRIFTD_ARCHIVE_URL"] = str(folder / "archive")
        workers = []
        for number in range(chosen.workers):
            (folder / str(number)).mkdir()
            workers.append(RunningDaemon(folder / str(number), **shared))
            workers[-1].start()
            stack.callback(workers[-1].kill)
        store = await asyncpg.connect(settings["DRIFTD_DATABASE_URL"])
        for number in range(chosen.kills):
            await until_shared(store, workers, chosen.models)
            killed = workers[number % len(workers)]
            others = [await name_of(store, one) for one in workers if one is not killed]
            killed.kill()
            found.append(await taken_over(store, others, chosen.models))
            print(*(f"{seconds:5.1f}" for seconds in found[-1]), flush=True)
            killed.start()
        await store.close()
    return found


async def until_shared(store: asyncpg.Connection, workers: list[RunningDaemon], models: int) -> None:
    """Wait until every worker reads and owns something, and nobody else does."""
    names = [await name_of(store, one) for one in workers]

    async def shared() -> bool:
        read = await store.fetchval(READ.replace("count(*)", "count(distinct worker)"), names, time.time() - 10)
        owned = await store.fetchval(OWNED.replace("count(*)", "count(distinct worker)"), names, time.time())
        every = await store.fetchval(OWNED, names, time.time())
        return bool(read == owned == len(workers) and every == models)

    await until(shared)


async def name_of(store: asyncpg.Connection, one: RunningDaemon) -> str:
    """The name that a process has in the fleet."""
    return str(await store.fetchval(WORKER, one.url))


async def taken_over(store: asyncpg.Connection, others: list[str], models: int) -> tuple[float, float, float]:
    """Wait until the others have everything. Returns the seconds until partitions, models and events were theirs."""
    began, now = time.monotonic(), time.time()
    read = owned = 0.0
    while not (read and owned):
        if not read and await store.fetchval(READ, others, now) == PARTITIONS:
            read = time.monotonic() - began
        if not owned and await store.fetchval(OWNED, others, time.time()) == models:
            owned = time.monotonic() - began
        await asyncio.sleep(POLL_SECONDS)

    async def caught_up() -> bool:
        return bool(await store.fetchval(CAUGHT_UP, now) == models)

    await until(caught_up)
    return read, owned, time.monotonic() - began


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await holds():  # noqa: ASYNC110 (what the store holds tells nobody here)
            await asyncio.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
