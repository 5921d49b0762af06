"""Events a second from the log to checkpointed alarms, beside river in a plain Faust agent and in a plain loop.

Ours is the daemon as `driftd run` starts it: Faust, columns, label join, e-detectors on every feature, on the
prediction, the score and the error, archive and checkpoints, in one process. The peers take the same events one by one,
join the labels, and run ADWIN on the 16 numbers and DDM on the errors: no archive, no state that survives.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench.events import NUMBERS, make_events
from bench.running import RunningDaemon
from bench.stores import add_option, new_store

BODY_EVENTS = 500
TOPIC = "driftd.events"
RUNS = 3
FAUST_EVENTS = 30_000
MEMORY_EVENTS = (1_000_000, 5_000_000)


def main() -> None:
    """Print events a second of each, and ours as ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--predictions", type=int, default=1_000_000)
    parser.add_argument("--memory", action="store_true", help="resident memory after 1 and after 5 million events")
    add_option(parser)
    chosen = parser.parse_args()
    if chosen.memory:
        memory()
        return
    lines = list(make_events(chosen.predictions, seed=1))
    size = sum(map(len, lines)) / len(lines)
    print(f"{len(lines):,} events of {size:.0f} bytes on average, two in three of them predictions; {RUNS} runs each")
    ours, faust, loop = [], [], []
    for _ in range(RUNS):
        rate, stored = of_driftd(lines, chosen.store)
        ours.append(rate)
        faust.append(asyncio.run(of_faust(lines[:FAUST_EVENTS])))
        loop.append(of_loop(lines))
    for name, rates in (("driftd", ours), ("a Faust agent and river", faust), ("a plain loop and river", loop)):
        print(f"  {name:<24} {statistics.median(rates):>10,.0f} events/s  ({min(rates):,.0f} to {max(rates):,.0f})")
    print(f"the store takes {stored / len(lines):,.1f} MB a million events, the archive apart")
    ratios = [[a / b for a, b in zip(ours, peer, strict=True)] for peer in (faust, loop)]
    times = [statistics.median(some) for some in ratios]
    print(f"driftd is {times[0]:.1f} times the Faust agent, {times[1]:.2f} times the loop")


def of_driftd(lines: list[bytes], server: str | None) -> tuple[float, int]:
    """The log is filled first; the time is from ready to the checkpoint that holds the last event.

    Returns events a second, and the bytes of the store.
    """
    with tempfile.TemporaryDirectory(prefix="driftd-bench-") as folder, new_store(server) as (store, size):
        asyncio.run(_fill(Path(folder), lines, BODY_EVENTS))
        running = RunningDaemon(Path(folder), DRIFTD_PIPELINE__BATCH_EVENTS="5000", **store)
        running.start()
        began = time.perf_counter()
        wanted = len(lines)
        while True:
            found = running.get("/v1/status")["models"]
            if found and sum(found[0]["events"].values()) >= wanted:
                break
            time.sleep(0.1)
        seconds = time.perf_counter() - began
        running.stop()
        stored = size(Path(folder))
    return wanted / seconds, stored


async def _fill(folder: Path, lines: list[bytes], events: int) -> None:
    from daemon.transports.event_log import EventLog

    log = await EventLog.open(folder)
    bodies = [lines[start : start + events] for start in range(0, len(lines), events)]
    for start in range(0, len(bodies), 200):
        some = bodies[start : start + 200]
        await asyncio.gather(*(log.append(TOPIC, b"\n".join(body), len(body), timestamp=0.0) for body in some))
    await log.close()


class Naive:
    """What many write first: one event at a time, river's detectors on each value."""

    def __init__(self) -> None:
        from river import drift

        make: Any = drift
        self._features = [make.ADWIN() for _ in range(NUMBERS)]
        self._error = make.binary.DDM()
        self._waiting: dict[str, int] = {}
        self.alarms = 0

    def take(self, event: dict[str, Any]) -> None:
        """One event."""
        if event.get("type") == "label":
            prediction = self._waiting.pop(event["id"], None)
            if prediction is not None:
                self._error.update(prediction != event["label"])
                self.alarms += self._error.drift_detected
            return
        self._waiting[event["id"]] = event["prediction"]
        features = event["features"]
        for number, detector in enumerate(self._features):
            detector.update(features[f"number_{number}"])
            self.alarms += detector.drift_detected


def of_loop(lines: Iterable[bytes]) -> float:
    """No framework at all; decoded by msgspec, which is as fast as orjson."""
    import msgspec

    naive, decode = Naive(), msgspec.json.Decoder().decode
    began = time.perf_counter()
    count = 0
    for line in lines:
        naive.take(decode(line))
        count += 1
    return count / (time.perf_counter() - began)


async def of_faust(lines: list[bytes]) -> float:
    """A Faust agent over the same log, one event a message, decoded by json."""
    from daemon.transports.base import BacklogLimits, Batch, FetchLimits, TransportOptions
    from daemon.transports.embedded import EmbeddedTransport

    naive = Naive()
    done = asyncio.Event()
    count = 0

    async def process(batch: Batch) -> None:
        nonlocal count
        for record in batch.records:
            naive.take(json.loads(record.value))
        count += len(batch.records)
        if count == len(lines):
            done.set()

    class Forgetful(EmbeddedTransport):
        async def processed(self, target: Any, next_offset: int) -> None:
            """The peer keeps no state: nothing is stored for each event."""

    with tempfile.TemporaryDirectory(prefix="driftd-bench-") as folder:
        await _fill(Path(folder), lines, 1)
        transport = Forgetful("embedded://", TransportOptions(Path(folder), BacklogLimits()))
        await transport.open()
        seconds = await _faust_seconds(transport, process, FetchLimits(records=1_000, ahead=2_000), done.wait)
        await transport.close()
    return count / seconds


async def _faust_seconds(transport: Any, process: Any, limits: Any, finished: Callable[[], Any]) -> float:
    from daemon.stream import build
    from daemon.transports import embedded_driver
    from daemon.transports.base import Batch

    fetch = embedded_driver.Consumer._fetch

    async def one_by_one(self: Any, positions: Any) -> Any:
        found = await fetch(self, positions)
        apart = {}
        for target, batches in found.items():
            self._feed.in_flight.done(batches[0])
            apart[target] = [
                Batch(batch.topic, batch.partition, [record], record.offset + 1)
                for batch in batches
                for record in batch.records
            ]
            for one in apart[target]:
                self._feed.in_flight.add(one)
        return apart

    embedded_driver.Consumer._fetch = one_by_one  # type: ignore[method-assign]
    try:

        async def nothing_stored() -> dict[Any, int]:
            return {}

        service = build(transport, [TOPIC], nothing_stored, process, limits=limits)
        began = time.perf_counter()
        await service.start()
        await finished()
        seconds = time.perf_counter() - began
        await service.stop()
    finally:
        embedded_driver.Consumer._fetch = fetch  # type: ignore[method-assign]
    return seconds


def memory() -> None:
    """Resident memory after one and after five million events."""
    from bench.running import daemon

    found = []
    with daemon(DRIFTD_EVENT_LOG__RETENTION_MB="256", DRIFTD_LIMITS__BACKLOG_EVENTS="100000") as running:
        sent = 0
        first = 0
        for goal in MEMORY_EVENTS:
            while sent < goal:
                lines = list(make_events(50_000, seed=first, first=first))
                first += 50_000
                for start in range(0, len(lines), BODY_EVENTS):
                    running.post(b"\n".join(lines[start : start + BODY_EVENTS]))
                sent += len(lines)
            running.wait_until_processed()
            found.append(running.resident_mb())
            print(f"{sent:,} events: {found[-1]:.0f} MB", flush=True)
    print(f"{100 * (found[1] / found[0] - 1):+.1f} %")


if __name__ == "__main__":
    main()
