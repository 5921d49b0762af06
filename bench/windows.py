"""What the owner of a model pays: microseconds a window and an event, by the number of features.

Rows go through a monitor as they do in the daemon: numbered, joined, counted in windows and judged by the default
detectors. Decoding, archive and store are not part of it.
"""

import argparse
import time
from collections.abc import Iterator

import numpy as np

from daemon.events.rows import Labels, Predictions, Rows
from daemon.monitoring.monitors import make_monitor
from daemon.settings import Settings
from detectors.columns import Stream

BATCH = 2_000


def main() -> None:
    """Print a line for each number of features."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--features", type=int, nargs="+", default=[20, 100, 1_000])
    parser.add_argument("--batches", type=int, default=30)
    chosen = parser.parse_args()
    settings = Settings()
    for features in chosen.features:
        monitor = make_monitor("loans", settings)
        seconds = []
        for rows in batches(features, chosen.batches):
            began = time.perf_counter()
            monitor.take(rows, 0.0)
            monitor.judge()
            seconds.append(time.perf_counter() - began)
            monitor.take_findings()
        window = monitor.windows[Stream.FEATURES].window_rows
        # the first batches are the reference, and what is made once it is there
        event = float(np.median(seconds[3:])) / BATCH
        print(
            f"{features:>5} features: {event * 1e6:8.1f} us an event, {event * window * 1e6:8.0f} us a window of "
            f"{window} rows, {event / features * 1e9:6.0f} ns a value"
        )


def batches(features: int, count: int) -> Iterator[Rows]:
    """Predictions with so many numbers each, and a label for each of the batch before."""
    values = np.random.default_rng(1)
    for number in range(count):
        first = number * BATCH
        ids = [f"{row:08d}" for row in range(first, first + BATCH)]
        order = np.arange(BATCH)
        ts = 1.7e9 + first + np.arange(BATCH, dtype=np.float64)
        columns = {f"number_{one}": values.normal(size=BATCH) for one in range(features)}
        made = values.integers(0, 2, BATCH).tolist()
        predictions = Predictions(
            order, ids, ts, ["1"] * BATCH, [None] * BATCH, made, values.random(BATCH), None, columns, None
        )
        labels = None
        if number:
            late = [f"{row:08d}" for row in range(first - BATCH, first)]
            labels = Labels(order + BATCH, late, ts, values.integers(0, 2, BATCH).tolist())
        yield Rows(predictions, labels, None, float(ts[-1]))


if __name__ == "__main__":
    main()
