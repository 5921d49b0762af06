"""From the event that crosses the threshold to the alert in the outbox.

Goals: p99 under 2 s for a daemon alone at 1,000 events/s, and under 3 s for a fleet of two (`--fleet`) at 5,000.
"""

import argparse
import json
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.fleet import postgresql
from bench.kafka import broker
from bench.running import RunningDaemon, daemon
from bench.stores import first_column, new_store

MODELS = 40
SECONDS_BEFORE, SECONDS_AFTER = 16.0, 5.0
PER_REQUEST = 50
OWN = {"DRIFTD_REFERENCE_ROWS": "300", "DRIFTD_MODE": "observe"}
WORKERS, PARTITIONS = 2, 8

DELAYS = """
select min(alarms.raised - alarms.ts) from alarms where exists
(select 1 from outbox where outbox.incident = alarms.incident) group by alarms.model
"""


def main() -> None:
    """Print the quantiles over the first alarm of each model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fleet", action="store_true", help="two workers on a Kafka and a PostgreSQL of their own")
    parser.add_argument("--rate", type=int, help="events a second")
    chosen = parser.parse_args()
    rate = chosen.rate or (5_000 if chosen.fleet else 1_000)
    with two() if chosen.fleet else alone() as (workers, store):
        _traffic(workers, rate)
        workers[0].wait_until_processed()
        time.sleep(2.0)
        delays = sorted(first_column(store, DELAYS))
    print(
        f"{len(delays)} alarms at {rate:,} events/s: median {delays[len(delays) // 2] * 1e3:.0f} ms,"
        f" p99 {delays[int(0.99 * (len(delays) - 1))] * 1e3:.0f} ms, longest {delays[-1] * 1e3:.0f} ms"
    )


@contextmanager
def alone() -> Iterator[tuple[list[RunningDaemon], str]]:
    """A daemon alone, and the URL of its store."""
    with daemon(**OWN) as running:
        yield [running], f"sqlite:///{running.folder / 'store.db'}"


@contextmanager
def two() -> Iterator[tuple[list[RunningDaemon], str]]:
    """A fleet of two, and the URL of their store."""
    with broker(None) as address, postgresql(None) as server, new_store(server) as (store, _), ExitStack() as stack:
        topic = f"bench.{secrets.token_hex(4)}"
        shared = {"DRIFTD_BROKER": f"kafka://{address}", "DRIFTD_TOPICS": topic, "DRIFTD_KAFKA__GROUP": topic}
        shared |= {"DRIFTD_KAFKA__PARTITIONS": str(PARTITIONS), **store, **OWN}
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="driftd-bench-")))
        workers = []
        for number in range(WORKERS):
            (folder / str(number)).mkdir()
            workers.append(RunningDaemon(folder / str(number), **shared))
            workers[-1].start()
            stack.callback(workers[-1].stop)
        yield workers, store["DRIFTD_DATABASE_URL"]


def _traffic(workers: Sequence[RunningDaemon], rate: int) -> None:
    """Each model in turn shifts by three standard deviations, so that alarms are spread over the run."""
    values = random.Random(5)
    before, after = round(SECONDS_BEFORE * rate / MODELS), round(SECONDS_AFTER * rate / MODELS)
    shifts = {model: before + values.randrange(after // 2) for model in range(MODELS)}
    due = began = time.monotonic()
    lines: list[bytes] = []
    requests = 0
    for row in range(before + after):
        for model in range(MODELS):
            mean = 3.0 if row >= shifts[model] else 0.0
            event = {
                "model": f"model-{model}",
                "id": f"{model}-{row}",
                "ts": time.time(),
                "features": {"x": values.gauss(mean, 1), "y": values.gauss(0, 1)},
                "prediction": values.randrange(2),
            }
            lines.append(json.dumps(event).encode())
            if len(lines) == PER_REQUEST:
                workers[requests % len(workers)].post(b"\n".join(lines))
                lines = []
                requests += 1
                due += PER_REQUEST / rate
                time.sleep(max(0.0, due - time.monotonic()))
    late = time.monotonic() - due
    if late > 1.0:
        print(f"the sender was {late:.1f} s late after {due - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
