"""Counts of a stretch of rows -> what is drawn of each signal."""

from collections.abc import Sequence
from itertools import groupby
from math import isfinite
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daemon.monitoring.chunks import Chunk
from daemon.monitoring.estimate_chunks import EstimatedChunk
from daemon.monitoring.intervals import wilson
from detectors.bins import CategoryBins
from detectors.reference import FIRST_BIN, Reference

ESTIMATED: Final = "estimate"
"""The signal under which estimates of the error are drawn."""
Z: Final = 1.959964
"""Half width of a 95 % interval in standard errors."""


def rows_of(measured: Sequence[tuple[Chunk, str | None]], model: str) -> list[dict[str, Any]]:
    """A row of the table ``signals`` for each signal of each chunk, with the version that was in service then."""
    rows = []
    for reference, some in groupby(measured, lambda one: one[0].reference):
        picture = _Picture(reference)
        for chunk, version in some:
            common = {"model": model, "version": version, "row": chunk.last_row, "ts": chunk.last_ts}
            rows += [{**common, "rows": chunk.rows, **drawn} for drawn in picture.of(chunk.counts)]
    return rows


def rows_of_estimates(estimated: Sequence[tuple[EstimatedChunk, str | None]], model: str) -> list[dict[str, Any]]:
    """A row of the same table for each chunk of which the mean loss was estimated."""
    return [
        {
            "model": model,
            "version": version,
            "row": chunk.last_row,
            "ts": chunk.last_ts,
            "rows": chunk.rows,
            "signal": ESTIMATED,
            "category": None,
            "value": chunk.mean,
            "low": chunk.low,
            "high": chunk.high,
            "reference": None,
            "effect": None,
            "counts": None,
        }
        for chunk, version in estimated
    ]


class _Picture:
    """How each signal of a stream is drawn: as a mean, or as a rate, which is that of the flag, or of one category.

    Of a category it is the one that was most frequent in the reference, for ever, so that the points of a line are of
    one thing.
    """

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self._values = np.zeros(reference.counts.shape)  # what a row in each bin counts for, and whether it counts
        self._counted = np.zeros(reference.counts.shape, dtype=bool)
        self._is_rate = np.zeros(len(reference.signals), dtype=bool)
        self._categories: list[str | None] = [None] * len(reference.signals)
        for s, bins in enumerate(reference.bins):
            if isinstance(bins, CategoryBins):
                self._categories[s] = next(iter(bins.frequent), None)
                self._values[s, FIRST_BIN : FIRST_BIN + 1] = 1.0  # there is none where no value ever came
                self._counted[s] = self._categories[s] is not None
                self._is_rate[s] = True
            else:
                own = slice(FIRST_BIN, FIRST_BIN + len(bins.values))
                self._values[s, own], self._counted[s, own] = bins.values, True
                self._is_rate[s] = np.isin(bins.values, (0.0, 1.0)).all()
        self._before = _known(self._means(reference.counts)[0])

    def of(self, counts: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Value, interval, the reference's value and how far it has moved, for each signal."""
        means, rows = self._means(counts)
        squares = (counts * self._counted * self._values**2).sum(axis=1) / rows
        half = Z * np.sqrt(np.maximum(squares - means**2, 0.0) / rows)
        lowest, highest = wilson(np.clip(means, 0.0, 1.0), rows)
        values = _known(means)
        low = _known(np.where(self._is_rate, lowest, means - half))
        high = _known(np.where(self._is_rate, highest, means + half))
        effects = stability_index(self._reference.counts, counts)
        return [
            {
                "signal": signal,
                "category": self._categories[s],
                "value": values[s],
                "low": low[s],
                "high": high[s],
                "reference": self._before[s],
                "effect": round(float(effects[s]), 5),
                "counts": counts[s, : self._reference.bins[s].width].tolist(),
            }
            for s, signal in enumerate(self._reference.signals)
        ]

    def _means(self, counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The mean of each signal and of how many rows it is, NaN where it is of none."""
        counts = counts * self._counted
        rows = counts.sum(axis=1).astype(np.float64)
        rows[rows == 0] = np.nan
        return (counts * self._values).sum(axis=1) / rows, rows


def _known(numbers: NDArray[np.float64]) -> list[float | None]:
    return [number if isfinite(number) else None for number in numbers.tolist()]


def stability_index(reference: Any, current: Any) -> Any:
    """Population stability index per signal: the sum over bins of (q - p) log(q / p), half a row added to each bin.

    Bins that neither side ever met (the padding among them) do not count.
    """
    met = (reference + current) > 0
    p = np.where(met, reference + 0.5, 0.0)
    q = np.where(met, current + 0.5, 0.0)
    p = p / np.maximum(p.sum(axis=-1, keepdims=True), 1)
    q = q / np.maximum(q.sum(axis=-1, keepdims=True), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(met, (q - p) * np.log(q / p), 0.0)
    return terms.sum(axis=-1)
