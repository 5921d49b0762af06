"""The last rows of a stream, as they were: what the words for a change rest on."""

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from detectors.columns import Columns
from detectors.reference import Reference

MOST_ROWS: Final = 2_000
MOST_VALUES: Final = 10_000
FEWEST_ROWS: Final = 20
"""A stream keeps its last ``MOST_ROWS`` rows, or fewer where that would be more than ``MOST_VALUES`` values, but no
fewer than these."""


@dataclass(frozen=True, slots=True)
class RecentRows:
    """Rows of one stream in their order: their numbers (n) and values (n rows, S signals; see ``Reference.points``)."""

    rows: NDArray[np.int64]
    points: NDArray[np.float32]

    @classmethod
    def none(cls, signals: int) -> Self:
        """No rows of ``signals`` signals."""
        return cls(np.empty(0, dtype=np.int64), np.empty((0, signals), dtype=np.float32))

    def __len__(self) -> int:
        return len(self.rows)

    def then(self, parts: list[Columns], reference: Reference) -> Self:
        """The last of these rows and those that follow."""
        most = most_rows(self.points.shape[1])
        tail = last_of(parts, most)
        kept = slice(max(0, len(self) - max(0, most - sum(map(len, tail)))), None)
        rows = [self.rows[kept], *(columns.rows for columns in tail)]
        points = [self.points[kept], *(reference.points(columns) for columns in tail)]
        return type(self)(np.concatenate(rows).astype(np.int64), np.concatenate(points))

    def where(self, which: NDArray[np.bool_]) -> Self:
        """Some of the rows."""
        return type(self)(self.rows[which], self.points[which])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for msgpack."""
        # steps from row to row, which are small, in the narrowest type that holds them
        steps = np.diff(self.rows, prepend=self.rows[:1])
        dtype = np.min_scalar_type(-int(np.abs(steps).max(initial=0)) - 1)
        return {
            "first": int(self.rows[0]) if len(self) else 0,
            "steps": steps.astype(dtype).tobytes(),
            "dtype": dtype.str,
            "points": self.points.tobytes(),
            "signals": self.points.shape[1],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The reverse of ``to_dict``."""
        rows = data["first"] + np.cumsum(np.frombuffer(data["steps"], dtype=data["dtype"]), dtype=np.int64)
        points = np.frombuffer(data["points"], dtype=np.float32)
        return cls(rows, points.reshape(len(rows), data["signals"]))


def last_of(parts: list[Columns], most: int) -> list[Columns]:
    """The last rows of ``parts``, which follow each other: ``most`` of them, as copies that keep no more in memory."""
    found: list[Columns] = []
    for columns in reversed(parts):
        if most <= 0:
            break
        found.insert(0, columns.at(np.arange(max(0, len(columns) - most), len(columns))))
        most -= len(columns)
    return found


def most_rows(signals: int) -> int:
    """How many rows of a stream with so many signals are kept."""
    return max(FEWEST_ROWS, min(MOST_ROWS, MOST_VALUES // max(signals, 1)))
