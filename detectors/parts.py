"""The parts that one signal cuts rows into."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.bins import FIRST_BIN, NumberBins
from detectors.reference import Reference

SCORE_GROUPS: Final = 5
LABEL_GROUPS: Final = 3
"""Numbers are cut into so many groups of the reference's rows."""
MOST_CLASSES: Final = 8


class Parts:
    """The part of each row by one of its signals: a class, or one of a few ranges that the reference has evenly."""

    def __init__(self, reference: Reference, s: int, parts: int) -> None:
        self._s = s
        bins = reference.bins[s]
        column = reference.sample[:, s].astype(np.float64)
        self._edges: NDArray[np.float64] | None = None
        self._codes = np.empty(0)
        if isinstance(bins, NumberBins):
            present = column[np.isfinite(column)]
            cuts = np.quantile(present, np.linspace(0, 1, parts + 1)[1:-1]) if len(present) else np.empty(0)
            self._edges = np.unique(cuts)
        else:
            codes, counts = np.unique(column[column >= FIRST_BIN], return_counts=True)
            self._codes = np.sort(codes[np.argsort(-counts, kind="stable")][:MOST_CLASSES])

    def __call__(self, points: NDArray[np.float32]) -> NDArray[np.int64]:
        """The part of each row, from 0 on."""
        column = points[:, self._s].astype(np.float64)
        if self._edges is not None:
            return np.searchsorted(self._edges, np.nan_to_num(column), side="right").astype(np.int64)
        if not len(self._codes):
            return np.zeros(len(column), dtype=np.int64)
        place = np.clip(np.searchsorted(self._codes, column), 0, len(self._codes) - 1)
        # classes that the reference does not have, and rows without any, are a part of their own
        return np.where(self._codes[place] == column, place, len(self._codes)).astype(np.int64)
