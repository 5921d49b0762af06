"""What it costs to measure real performance: all figures of a window with their intervals, and what is stored of it.

    python bench/performance.py

How often the intervals hold is a table of bench/quality.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from daemon.monitoring.labelled import Outcomes
from daemon.monitoring.performance import Performance
from daemon.monitoring.prediction_scores import Scores
from daemon.monitoring.tasks import Task

SEED = 71


def main() -> None:
    """Print the costs of each task."""
    print("of 2,000 rows: to work out all figures, to take in 100 rows, and what a checkpoint stores of them")
    rng, rows = np.random.default_rng(SEED), 2_000
    for task, classes in ((Task.REGRESSION, 0), (Task.BINARY, 2), (Task.MULTICLASS, 5), (Task.MULTICLASS, 20)):
        names = tuple(f"class {place}" for place in range(classes))
        if task is Task.REGRESSION:
            said, came = rng.normal(size=(2, rows))
            taken = Outcomes(np.arange(rows), np.abs(said - came), said, came, Scores.none(rows))
        else:
            given = rng.dirichlet(np.ones(classes), rows)
            labels = (rng.random(rows)[:, None] > given.cumsum(axis=1)).sum(axis=1).clip(0, classes - 1)
            said, came = (np.array(names, dtype=object)[one] for one in (given.argmax(axis=1), labels))
            values = np.column_stack((np.full(rows, np.nan), given)).astype(np.float32)
            taken = Outcomes(np.arange(rows), (said != came).astype(np.float64), said, came, Scores(names, values))
        performance = Performance(rows)
        performance.add(taken)
        first = slice(100)
        few = Outcomes(
            taken.rows[first],
            taken.errors[first],
            taken.predictions[first],
            taken.labels[first],
            taken.scores.at(first),
        )
        figures = _microseconds(lambda: performance.report(task, float(rng.random())))  # noqa: B023 (called at once)
        more = _microseconds(lambda: performance.add(few))  # noqa: B023 (likewise)
        state = performance.labelled.state()
        size = len(performance.errors()) + len(msgspec.msgpack.encode(state))
        what = "numbers" if task is Task.REGRESSION else f"{classes} classes"
        print(f"{what:<12} {figures:>6.0f} µs {more:>6.1f} µs {size / 1_000:>6.0f} kB")


def _microseconds(call: Callable[[], object], times: int = 500) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken)) * 1e6


if __name__ == "__main__":
    main()
