"""The past in constant memory: counts of single windows near now, of more and more windows further back."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.summary import Summary

LEVELS: Final = 17
"""Buckets of 1, 2, 4, ... windows; the last level is one bucket that holds all that is older."""


@dataclass(slots=True)
class _Level:
    counts: NDArray[Any]
    starts: NDArray[np.int64]
    first_rows: NDArray[np.int64]
    first_ts: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.starts)


class History:
    """Window counts of one stream in buckets that grow with their distance, as in ADWIN.

    (Bifet and Gavalda 2007, "Learning from time-changing data with adaptive windowing".) Each level keeps ``depth`` or
    ``depth`` + 1 buckets and hands the oldest two, as one, to the next, so that a bucket d rows ago is about
    d / (2 depth) rows long. What is kept depends on the windows alone and not on how they were batched.

    Places in the past are counted in rows of the stream since its beginning. Row numbers are kept for people: those of
    outcomes come in the order of their labels.
    """

    def __init__(self, signals: int, width: int) -> None:
        # the more signals the coarser, so that a model with thousands of features still fits in memory
        self.depth = 6 if signals * width <= 2_000 else 4 if signals * width <= 20_000 else 2  # noqa: PLR2004
        self._shape = (signals, width)
        self._levels = [self._empty() for _ in range(LEVELS)]
        self.rows = 0

    def _empty(self) -> _Level:
        return _Level(
            np.zeros((0, *self._shape), dtype=np.int32),
            np.zeros(0, dtype=np.int64),
            np.zeros(0, dtype=np.int64),
            np.zeros(0, dtype=np.float64),
        )

    def extend(self, summary: Summary, start: int, stop: int) -> None:
        """Add windows ``start`` to ``stop`` of ``summary``."""
        part = slice(start, stop)
        ends = self.rows + np.cumsum(summary.sizes[part])
        self.rows = int(ends[-1]) if len(ends) else self.rows
        new = _Level(summary.counts[part], ends - summary.sizes[part], summary.first_rows[part], summary.last_ts[part])
        for number, level in enumerate(self._levels):
            if not len(new):
                return
            counts = np.concatenate((level.counts, new.counts))
            starts = np.concatenate((level.starts, new.starts))
            rows = np.concatenate((level.first_rows, new.first_rows))
            ts = np.concatenate((level.first_ts, new.first_ts))
            if number == LEVELS - 1:
                self._levels[number] = _Level(
                    counts.sum(axis=0, keepdims=True, dtype=np.int64), starts[:1], rows[:1], ts[:1]
                )
                return
            leaving = max(0, (len(rows) - self.depth) // 2 * 2)
            # copies, so that no view keeps a whole batch of counts alive
            kept, first = slice(leaving, None), slice(0, leaving, 2)
            self._levels[number] = _Level(counts[kept].copy(), starts[kept].copy(), rows[kept].copy(), ts[kept].copy())
            new = _Level(counts[first] + counts[1:leaving:2], starts[first], rows[first], ts[first])

    def starts(self) -> NDArray[np.int64]:
        """How many rows came before each bucket, oldest bucket first."""
        return np.concatenate([level.starts for level in reversed(self._levels)])

    def first_rows(self) -> NDArray[np.int64]:
        """Number of the first row of each bucket, oldest bucket first."""
        return np.concatenate([level.first_rows for level in reversed(self._levels)])

    def first_ts(self) -> NDArray[np.float64]:
        """Time of the end of the first window of each bucket, oldest bucket first."""
        return np.concatenate([level.first_ts for level in reversed(self._levels)])

    def signal(self, s: int) -> NDArray[np.int64]:
        """Counts of signal s: a row for each bucket, oldest first, and a column for each bin."""
        return np.concatenate([level.counts[:, s] for level in reversed(self._levels)])

    def since(self, start: int) -> NDArray[np.int64]:
        """Counts (S signals, B bins) of the buckets that begin ``start`` rows into the stream or later."""
        total = np.zeros(self._shape, dtype=np.int64)
        for level in self._levels:
            total += level.counts[level.starts >= start].sum(axis=0)
        return total

    def start_of(self, row: int) -> int:
        """How many rows came before the first bucket that begins at row number ``row`` or later."""
        later = np.flatnonzero(self.first_rows() >= row)
        return int(self.starts()[later[0]]) if len(later) else self.rows

    def to_dict(self) -> dict[str, Any]:
        """Plain values and bytes, for msgpack."""
        return {"depth": self.depth, "rows": self.rows, "levels": [_pack(level) for level in self._levels]}

    def restore(self, data: dict[str, Any]) -> None:
        """Go on from what ``to_dict`` gave. Raises ValueError where the shape is another."""
        levels = [_unpack(one, self._shape, last=i == LEVELS - 1) for i, one in enumerate(data["levels"])]
        if data["depth"] != self.depth or len(levels) != LEVELS:
            raise ValueError("history of another shape")
        self._levels = levels
        self.rows = int(data["rows"])


def _pack(level: _Level) -> dict[str, Any]:
    # single windows hold a few rows: the narrowest type that holds the counts keeps a checkpoint small
    dtype = np.min_scalar_type(int(level.counts.max(initial=0)))
    return {
        "n": len(level),
        "dtype": dtype.str,
        "counts": level.counts.astype(dtype).tobytes(),
        "starts": level.starts.tolist(),
        "rows": level.first_rows.tolist(),
        "ts": level.first_ts.tolist(),
    }


def _unpack(data: dict[str, Any], shape: tuple[int, int], *, last: bool) -> _Level:
    counts = np.frombuffer(data["counts"], dtype=np.dtype(data["dtype"])).reshape(data["n"], *shape)
    return _Level(
        counts.astype(np.int64 if last else np.int32),
        np.array(data["starts"], dtype=np.int64),
        np.array(data["rows"], dtype=np.int64),
        np.array(data["ts"], dtype=np.float64),
    )
