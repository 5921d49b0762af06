"""Seeded rows of a stream, and a detector's way through them as the daemon would take it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.base import Detector, Verdict
from detectors.columns import Columns, Stream
from detectors.reference import Reference
from detectors.summary import Summary, summarise

REFERENCE_ROWS = 2_000


def rows_of(stream: Stream, values: dict[str, NDArray[Any]], first: int = 0) -> Columns:
    """One row a second from row ``first`` on."""
    rows = np.arange(first, first + len(next(iter(values.values()))), dtype=np.int64)
    return Columns(stream, rows, rows.astype(np.float64), values)


def text(rng: np.random.Generator, categories: str, n: int) -> NDArray[Any]:
    """``n`` letters of ``categories`` as a text column."""
    return np.array(rng.choice(list(categories), n), dtype=object)


def errors(rng: np.random.Generator, *parts: tuple[int, float]) -> NDArray[np.float64]:
    """Rows right (0) or wrong (1), for each part so many at such an error rate."""
    return np.concatenate([(rng.random(n) < rate).astype(np.float64) for n, rate in parts])


def learn(columns: Columns) -> tuple[Reference, Columns]:
    """The reference of the first 2,000 rows, and the rows after them."""
    return (
        Reference.learn(columns.slice(0, REFERENCE_ROWS)),
        columns.slice(REFERENCE_ROWS, len(columns)),
    )


def count(reference: Reference, columns: Columns, window: int) -> Summary:
    """``columns`` in windows of ``window`` rows."""
    codes = reference.encode(columns)
    return summarise(reference.stream, reference.signals, codes, reference.width, columns.rows, columns.ts, window)


def watch(
    detector: Detector, reference: Reference, columns: Columns, *, window: int = 1, batch: int = 5_000
) -> list[Verdict]:
    """What ``detector`` says of ``columns``, given to it ``batch`` rows at a time."""
    verdicts = []
    whole = len(columns) - len(columns) % window
    batch -= batch % window
    for start in range(0, whole, batch):
        part = columns.slice(start, min(start + batch, whole))
        verdicts += detector.update(count(reference, part, window), part)
    return verdicts
