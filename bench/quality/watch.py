"""driftd's e-detector on a stream: the reference is learned from the first rows, the rest is watched."""

from collections.abc import Iterator

import numpy as np

from bench.quality.streams import Values
from detectors.base import Verdict
from detectors.columns import Columns, Stream
from detectors.e_detector import EDetector
from detectors.reference import Reference
from detectors.summary import summarise, window_rows

REFERENCE_ROWS = 2_000
BUDGET = 100_000
"""Rows per false alarm, where a table does not vary it."""
BATCH = 5_000


def verdicts(values: Values, budget: float = BUDGET, reference_rows: int = REFERENCE_ROWS) -> Iterator[Verdict]:
    """What is raised, in order; recoveries are left out."""
    stream = Stream.OUTCOME if "error" in values else Stream.FEATURES
    rows = np.arange(len(next(iter(values.values()))), dtype=np.int64)
    columns = Columns(stream, rows, rows.astype(np.float64), values)
    reference = Reference.learn(columns.slice(0, reference_rows))
    detector = EDetector(reference, budget)
    window = window_rows(len(reference.signals))
    batch = BATCH // window * window
    end = reference_rows + (len(rows) - reference_rows) // window * window
    for start in range(reference_rows, end, batch):
        yield from _take(detector, columns.slice(start, min(start + batch, end)), window)


def _take(detector: EDetector, part: Columns, window: int) -> list[Verdict]:
    reference = detector.reference
    codes = reference.encode(part)
    counted = summarise(part.stream, reference.signals, codes, reference.width, part.rows, part.ts, window)
    return [one for one in detector.update(counted, part) if not one.recovered]


class ErrorWatch:
    """The same on errors that come one at a time, because what is predicted depends on what was raised."""

    def __init__(self, reference_rows: int) -> None:
        self._reference_rows = reference_rows
        self._detector: EDetector | None = None
        self._first: list[tuple[int, float]] = []

    def take(self, row: int, error: float) -> Verdict | None:
        """What is raised after this row, if anything."""
        if self._detector is not None:
            return next(iter(_take(self._detector, _errors([(row, error)]), 1)), None)
        self._first.append((row, error))
        if len(self._first) == self._reference_rows:
            self._detector = EDetector(Reference.learn(_errors(self._first)), BUDGET)
        return None


def _errors(found: list[tuple[int, float]]) -> Columns:
    rows = np.array([row for row, _ in found], dtype=np.int64)
    return Columns(Stream.OUTCOME, rows, rows.astype(np.float64), {"error": np.array([error for _, error in found])})
