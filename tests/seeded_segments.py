"""Seeded traffic in segments, as rows for a monitor and as events for a log."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.events.rows import Labels, Predictions, Rows
from daemon.monitoring.monitor import Monitor
from daemon.monitoring.monitors import make_monitor
from daemon.settings import ModelSettings
from detectors.base import Verdict

Change = Callable[[NDArray[np.int64], NDArray[Any], dict[str, NDArray[Any]]], None]
"""Changes what was drawn in place: row numbers, segments, and ``age``, ``prediction`` and ``wrong``."""


def watching(**settings: Any) -> Monitor:
    return make_monitor("loans", ModelSettings(**settings))


def drawn(seed: int, rows: int, channels: int, change: Change | None) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    rng = np.random.default_rng(seed)
    segments = np.array([f"c{one}" for one in rng.integers(0, channels, rows)], dtype=object)
    columns: dict[str, NDArray[Any]] = {
        "age": rng.normal(40, 10, rows),
        "prediction": rng.integers(0, 2, rows),
        "wrong": rng.random(rows) < 0.1,
    }
    if change is not None:
        change(np.arange(rows), segments, columns)
    return segments, columns


def watch(
    monitor: Monitor, seed: int, rows: int, *, channels: int = 4, change: Change | None = None, batch: int = 1_000
) -> list[Verdict]:
    """What is found in so many rows, labels at once, given to the monitor ``batch`` rows at a time."""
    segments, columns = drawn(seed, rows, channels, change)
    found: list[Verdict] = []
    for start in range(0, rows, batch):
        part = slice(start, min(start + batch, rows))
        count = part.stop - part.start
        ids = [str(row) for row in range(part.start, part.stop)]
        order, ts = 2 * np.arange(count), np.arange(part.start, part.stop, dtype=np.float64)
        carried = [{"channel": one} for one in segments[part]]
        answers, wrong = columns["prediction"][part], columns["wrong"][part].astype(np.int64)
        nothing = [None] * count
        features = {"age": columns["age"][part]}
        predictions = Predictions(
            order, ids, ts, nothing, carried, answers.tolist(), np.full(count, np.nan), None, features, None
        )
        monitor.take(Rows(predictions, Labels(order + 1, ids, ts, (answers ^ wrong).tolist()), None, ts[-1]), 0.0)
        found += monitor.take_findings().verdicts
    return found


def events(seed: int, rows: int, *, channels: int = 4, change: Change | None = None) -> Iterator[bytes]:
    """The same as a log: each prediction is followed by its label."""
    segments, columns = drawn(seed, rows, channels, change)
    for row in range(rows):
        common = {"id": str(row), "model": "loans", "ts": 1_795_176_000.0 + row}
        answer = int(columns["prediction"][row])
        prediction = {"features": {"age": round(columns["age"][row], 2)}, "prediction": answer}
        yield json.dumps({**common, **prediction, "segment": {"channel": segments[row]}}).encode()
        yield json.dumps({**common, "type": "label", "label": answer ^ int(columns["wrong"][row])}).encode()
