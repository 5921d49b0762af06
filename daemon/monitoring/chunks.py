"""Cuts a stream into the stretches of rows that charts have a point for each of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.reference import Reference
from detectors.summary import Summary

LEAST_ROWS: Final = 500
"""Fewer would draw noise."""
LEAST_SHARE: Final = 1 / 50
"""Of all rows before it: a new model has its picture soon, and one with much traffic no more points than can be told
apart."""
LONGEST_SECONDS: Final = 1_800.0
"""By the times of the events: from then on ``LEAST_ROWS`` are enough, so that old models have points as well."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Counts of consecutive rows: ``counts[s, b]`` rows of signal s in bin b. ``last_row`` and ``last_ts`` end it."""

    reference: Reference
    counts: NDArray[np.int64]
    rows: int
    last_row: int
    last_ts: float


class Chunks:
    """Adds windows up until they make a chunk.

    Where one ends depends only on the rows before and their times, not on when they were counted.
    """

    def __init__(self) -> None:
        self._counts: NDArray[np.int64] | None = None  # of the chunk that is not complete
        self._rows = 0
        self._before = 0  # rows of the chunks that are
        self._since: float | None = None  # the time of the last row before it

    def add(self, reference: Reference, summary: Summary, first_ts: float) -> list[Chunk]:
        """Take in further windows, of which the first row is of ``first_ts``; return the chunks that they complete."""
        found = []
        ends = np.cumsum(summary.sizes)
        done = 0
        while done < len(summary):
            if self._since is None:
                self._since = first_ts
            rows = self._rows + ends[done:] - (ends[done - 1] if done else 0)
            late = summary.last_ts[done:] - self._since >= LONGEST_SECONDS
            complete = (rows >= LEAST_ROWS) & ((rows >= LEAST_SHARE * self._before) | late)
            last = int(complete.argmax()) if complete.any() else len(rows) - 1
            counts = summary.counts[done : done + last + 1].sum(axis=0, dtype=np.int64)
            self._counts = counts if self._counts is None else self._counts + counts
            self._rows = int(rows[last])
            if complete[last]:
                row, ts = int(summary.last_rows[done + last]), float(summary.last_ts[done + last])
                found.append(Chunk(reference, self._counts, self._rows, row, ts))
                self._before += self._rows
                self._counts, self._rows, self._since = None, 0, ts
            done += last + 1
        return found

    def state(self) -> dict[str, Any]:
        """As values that msgpack can hold."""
        counts = None if self._counts is None else self._counts.tolist()
        return {"counts": counts, "rows": self._rows, "before": self._before, "since": self._since}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what was stored."""
        self._counts = None if state["counts"] is None else np.array(state["counts"], dtype=np.int64)
        self._rows, self._before, self._since = state["rows"], state["before"], state["since"]
