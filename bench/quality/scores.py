"""Anomaly scores in one pass in stored order: driftd's, river's, and NAB's own baseline."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import erfc

from bench.quality.nab import Series
from bench.quality.streams import Values
from detectors.columns import Columns, Stream
from detectors.reference import Reference

Scores = NDArray[np.float64]
BATCH = 5_000
BUDGET = 1e6


def one_pass(make: Callable[[Reference, float], Any], columns: Columns, reference_rows: int) -> Scores:
    """Learn from the first rows, which score 0, and go through the others in batches."""
    detector = make(Reference.learn(columns.slice(0, reference_rows)), BUDGET)
    batches = (columns.slice(start, start + BATCH) for start in range(reference_rows, len(columns), BATCH))
    return np.concatenate([np.zeros(reference_rows), *(detector.scores(batch) for batch in batches)])


def columns_of(values: Values, ts: Scores | None = None) -> Columns:
    """Rows from 0 on, a second apart unless said otherwise."""
    rows = np.arange(len(next(iter(values.values()))))
    return Columns(Stream.FEATURES, rows, rows.astype(np.float64) if ts is None else ts, values)


def of_series(make: Callable[[Reference, float], Any], one: Series) -> Scores:
    """The scores of a detector whose reference is the first part of the series, in which nothing counts."""
    return one_pass(make, columns_of({"feature:value": one.numbers}, one.ts), one.probation)


def windowed_gaussian(one: Series) -> Scores:
    """NAB's own baseline: the tail of a normal law of the last 6,400 values, in steps of 100 from then on."""
    window, step = 6_400, 100
    values = one.numbers - one.numbers[0]
    sums, squares = (np.concatenate(([0.0], np.cumsum(part))) for part in (values, values**2))
    row = np.arange(1, len(values))
    last = np.where(row <= window, row, window + (row - window) // step * step)
    first = np.maximum(0, last - window)
    mean = (sums[last] - sums[first]) / (last - first)
    variance = np.maximum((squares[last] - squares[first]) / (last - first) - mean**2, 0.0)
    deviation = np.where(variance > 0, np.sqrt(variance), 1e-6)
    tail = erfc(np.abs(values[1:] - mean) / deviation / np.sqrt(2)) / 2
    return np.concatenate(([0.0], 1 - tail))


def river_trees(frame: pd.DataFrame, **parameters: Any) -> Scores:
    """river's half-space trees, each row scored before it is learned."""
    from river.anomaly import HalfSpaceTrees

    trees: Any = HalfSpaceTrees(**parameters)
    scores = np.zeros(len(frame))
    for i, row in enumerate(frame.to_dict("records")):
        scores[i] = trees.score_one(row)
        trees.learn_one(row)
    return scores


def timed(rows: int, work: Callable[[], Any]) -> tuple[Any, float]:
    """What it answers, and the processor time it took in microseconds a row."""
    began = time.process_time()
    answer = work()
    return answer, (time.process_time() - began) / rows * 1e6
