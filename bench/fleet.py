"""What it costs to share the work: processor seconds a million events with 1, 2 and 4 workers, and how even the shares.

The topic, of eight partitions, is filled first; then so many workers are started on it, on a store of their own each
time. Beside the processor's time it prints events a second, the largest share of any worker, what the store holds and
what was archived, and whether the alarms are the same. Starts a broker and a PostgreSQL of its own.
"""

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

from bench.events import make_events
from bench.kafka import broker
from bench.running import RunningDaemon
from bench.stores import new_store

PARTITIONS = 8
BODY_EVENTS = 500
PATIENCE_SECONDS = 600.0


def main() -> None:
    """Print a line for each number of workers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--predictions", type=int, default=400_000)
    parser.add_argument("--models", type=int, default=1)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--single", action="store_true", help="an event a record, in place of NDJSON")
    parser.add_argument("--broker", help="HOST:PORT of one that runs already")
    parser.add_argument("--store", metavar="URL", help="postgresql://... of a server on which databases may be made")
    chosen = parser.parse_args()
    lines = list(events(chosen.predictions, chosen.models))
    print(f"{len(lines):,} events of {chosen.models} models in {PARTITIONS} partitions")
    with broker(chosen.broker) as address, postgresql(chosen.store) as server:
        topic = asyncio.run(fill(address, lines, 1 if chosen.single else BODY_EVENTS))
        nothing = asyncio.run(fill(address, [], 1))
        first: list[Any] | None = None
        base = 0.0
        for workers in chosen.workers:
            with new_store(server) as (settings, _):
                starts = sum(run(address, nothing, workers, 0, settings)["seconds"]) / workers
            with new_store(server) as (settings, size):
                found = run(address, topic, workers, len(lines), settings)
                stored = size(Path())
            used = [seconds - starts for seconds in found["seconds"]]
            cost = sum(used) / len(lines) * 1e6
            base = base or cost
            first = first if first is not None else found["alarms"]
            same = "the same" if found["alarms"] == first else "OTHER"
            largest = max(used) / (sum(used) / workers)
            print(
                f"{workers} workers: {cost:6.2f} processor s a million events ({cost / base:.2f} times), "
                f"{found['rate']:>9,.0f} events/s, largest share {largest:.2f} of the mean, store "
                f"{stored / 1e6:.0f} MB, {same} {len(found['alarms'])} alarms "
                f"(without {starts:.1f} s that each takes to start)",
                flush=True,
            )


def events(predictions: int, models: int) -> Iterator[bytes]:
    """Events of so many models; in the second half of them a feature has moved and labels are turned round."""
    made = list(make_events(predictions, seed=1))
    for number, line in enumerate(made):
        event = json.loads(line)
        if 2 * number > len(made):
            if "features" in event:
                event["features"]["number_0"] = round(event["features"]["number_0"] + 1.0, 5)
            else:
                event["label"] = 1 - event["label"]
        event["model"] = f"loans-{int(event['id']) % models}"
        yield json.dumps(event, separators=(",", ":")).encode()


@contextmanager
def postgresql(url: str | None) -> Iterator[str]:
    """A server that runs, or one for as long as this lasts."""
    if url:
        yield url
        return
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from postgresql_server import server

    with server() as one:
        yield one.url()


def run(address: str, topic: str, workers: int, events: int, settings: dict[str, str]) -> dict[str, Any]:
    """Have so many workers take in a topic."""
    group = f"{topic}.{secrets.token_hex(3)}"
    shared = {"DRIFTD_BROKER": f"kafka://{address}", "DRIFTD_TOPICS": topic, "DRIFTD_KAFKA__GROUP": group, **settings}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="driftd-bench-")))
        shared["DRIFTD_ARCHIVE_URL"] = str(folder / "archive")
        (folder / "archive").mkdir()
        running = []
        for number in range(workers):
            (folder / str(number)).mkdir()
            running.append(RunningDaemon(folder / str(number), **shared))
        began = time.perf_counter()
        with ThreadPoolExecutor(workers) as threads:
            list(threads.map(RunningDaemon.start, running))
        try:
            wait(running[0], events)
            seconds = time.perf_counter() - began
            used = [processor_seconds(one) for one in running]
            models = [one["model"] for one in running[0].get("/v1/status")["models"]]
            alarms = sorted(
                (model, one["signal"], one["row"], one["change_row"])
                for model in models
                for one in running[0].get(f"/v1/models/{model}/alarms")["items"]
            )
        finally:
            for one in running:
                one.stop()
    return {"seconds": used, "rate": events / seconds, "alarms": alarms}


def wait(one: RunningDaemon, events: int) -> None:
    """Until all events are judged."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        models = one.get("/v1/status")["models"]
        if sum(sum(model["events"].values()) for model in models) >= events:
            return
        time.sleep(0.2)
    raise TimeoutError(f"not all events were judged: {one.get('/v1/status')}")


def processor_seconds(one: RunningDaemon) -> float:
    """What a process has used so far."""
    import os

    assert one.process is not None
    fields = Path(f"/proc/{one.process.pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def fill(address: str, lines: list[bytes], at_once: int) -> str:
    """A topic with these events, keyed by id as senders are asked to."""
    from aiokafka import AIOKafkaProducer
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    topic = f"bench.{secrets.token_hex(4)}"
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=address, max_batch_size=1 << 19, linger_ms=5, compression_type="lz4")
    async with producer:
        waiting: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
        for line in lines:
            # labels follow their predictions into their partition
            partition = crc32(json.loads(line)["id"].encode()) % PARTITIONS
            waiting[partition].append(line)
            if len(waiting[partition]) >= at_once:
                await producer.send(topic, b"\n".join(waiting[partition]), partition=partition)
                waiting[partition] = []
        for partition, rest in enumerate(waiting):
            if rest:
                await producer.send(topic, b"\n".join(rest), partition=partition)
        await producer.flush()
    return topic


if __name__ == "__main__":
    main()
