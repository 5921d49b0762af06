"""What one worker takes, by the number of models and of features: time, memory, and room in the store and the archive.

The log is filled first. Then a daemon works it off: with the columns, joins, detectors, checkpoints and archive of
`driftd run`. Every prediction has all features, one in five of them a category; half of them get a label.
"""

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.events import STATES
from bench.running import RunningDaemon
from bench.stores import add_option, new_store, table_bytes
from bench.throughput import BODY_EVENTS, _fill

SHAPES = ((1, 20), (1, 100), (1, 500), (10, 20), (100, 20), (10, 100))
VALUES = 8_000_000
BODY_BYTES = 150_000
HOUSEKEEPING_SECONDS = 12.0
LEAST_ROWS = 4_000  # of a model: twice what its reference takes


def main() -> None:
    """Print a line for each number of models and features."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", nargs=2, type=int, action="append", metavar=("MODELS", "FEATURES"))
    parser.add_argument("--values", type=int, default=VALUES, help="feature values in all events together")
    add_option(parser)
    chosen = parser.parse_args()
    head = f"{'models':>6} {'features':>8} {'bytes/event':>12} {'events/s':>9} {'resident MB':>11}"
    tables = f" {'states':>10} {'waiting':>10} {'signals':>10}"
    print(f"{head}{tables} {'archive/prediction':>19}  (states to signals: MB a model in the store; archive: bytes)")
    for models, features in chosen.shape or SHAPES:
        measure(models, features, chosen.values, chosen.store)


def measure(models: int, features: int, values: int, server: str | None) -> None:
    """One line."""
    predictions = max(values // features, LEAST_ROWS * models)
    lines = list(make_events(predictions, models, features))
    size = sum(map(len, lines)) / len(lines)
    with tempfile.TemporaryDirectory(prefix="driftd-bench-") as name, new_store(server) as (store, _):
        folder = Path(name)
        asyncio.run(_fill(folder, lines, min(BODY_EVENTS, int(BODY_BYTES // size))))
        running = RunningDaemon(folder, **store)
        running.start()
        began = time.perf_counter()
        while done(running) < len(lines):
            time.sleep(0.2)
        rate = len(lines) / (time.perf_counter() - began)
        running.wait_until_processed()
        resident = running.resident_mb()
        running.stop()
        archive_the_rest(folder, store)
        tables = table_bytes(folder, store)
        archived = bytes_a_row(folder / "archive")
    figures = [tables["states"], tables["waiting"], tables["signals"]]
    print(f"{models:>6} {features:>8} {size:>12.0f} {rate:>9,.0f} {resident:>11.0f}", end="")
    print("".join(f" {one / 1e6 / models:>10.2f}" for one in figures), f"{archived:>19.0f}", flush=True)


def archive_the_rest(folder: Path, store: dict[str, str]) -> None:
    """Let what waits in the store become files, of however few rows."""
    running = RunningDaemon(folder, DRIFTD_ARCHIVE__FILE_ROWS=str(LEAST_ROWS // 4), **store)
    running.start()
    time.sleep(HOUSEKEEPING_SECONDS)
    running.stop()


def bytes_a_row(archive: Path) -> float:
    """Bytes of the archive by the rows of its events: the labels count with their prediction."""
    import pyarrow.parquet as pq

    files = list(archive.rglob("*.parquet"))
    rows = sum(pq.read_metadata(file).num_rows for file in files if file.name.startswith("events-"))
    return float(sum(file.stat().st_size for file in files) / max(rows, 1))


def done(running: RunningDaemon) -> int:
    """Events that are in the store."""
    return sum(sum(one["events"].values()) for one in running.get("/v1/status")["models"])


def make_events(predictions: int, models: int, features: int) -> Iterator[bytes]:
    """Predictions of each model in turn, and a label for every second one some time later."""
    values = random.Random(1)
    late = 500 * models
    for row in range(predictions + late):
        if row < predictions:
            answer, score = values.randrange(2), round(values.random(), 4)
            yield (
                f'{{"type":"prediction","id":"{row:010d}","model":"model-{row % models}","version":"3",'
                f'"ts":{1_790_000_000 + row / 100:.2f},"features":{_features(values, features)},"prediction":{answer},'
                f'"score":{score}}}'
            ).encode()
        known = row - late
        if known >= 0 and known // models % 2 == 0:
            label = values.randrange(2)
            yield f'{{"type":"label","id":"{known:010d}","model":"model-{known % models}","label":{label}}}'.encode()


def _features(values: random.Random, count: int) -> str:
    categories = count // 5
    row: dict[str, float | str] = {f"number_{one}": round(values.gauss(0, 1), 5) for one in range(count - categories)}
    row |= {f"state_{one}": values.choice(STATES) for one in range(categories)}
    return json.dumps(row, separators=(",", ":"))


if __name__ == "__main__":
    main()
