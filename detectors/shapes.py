"""The latest stretch of a series as a shape: what it was, in shares of the range so far, and its Haar wavelets."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

LENGTH: Final = 8
"""Blocks of a shape: a power of two, for the wavelets."""
LEVELS: Final = 80
"""Steps of the range that values are rounded to."""
NEAR_MEDIAN: Final = 0.075
"""So near the median, in shares of the range, all values are alike."""
HEADROOM: Final = 0.25
"""So much wider, on either side and in shares of its own, the range of the first values is taken to be."""


class Shapes:
    """Makes a shape of each block of a series and those before it.

    The range is that of all values so far, and at first what ``expect`` is given.
    """

    def __init__(self) -> None:
        self._low, self._high = np.inf, -np.inf
        self._mean: float | None = None
        self._counts = np.zeros(LEVELS + 1, dtype=np.int64)
        self._latest = np.zeros(LENGTH)
        self._blocks = 0

    def expect(self, values: Numbers) -> None:
        """Take the range to be that of ``values``, and somewhat wider."""
        low, high = float(values.min()), float(values.max())
        self._low, self._high = low - HEADROOM * (high - low), high + HEADROOM * (high - low)

    def take(self, block: Numbers) -> tuple[Numbers | None, tuple[float, float] | None]:
        """The shape that ends with this block, None for the first few; and how the range has moved.

        A share of the old range is ``scale`` times itself plus ``start`` of the new one: the second answer is
        (scale, start), None where the range is as it was.
        """
        self._blocks += 1
        lowest, highest = float(block.min()), float(block.max())
        moved = self._hold(lowest, highest)
        mean = float(block.mean())
        self._mean = mean if self._mean is None else (self._mean + mean) / 2
        # of a block its farthest value: a mean would hide a spike
        value = lowest if abs(highest - self._mean) < abs(self._mean - lowest) else highest
        wide = self._high - self._low
        level = round((value - self._low) / wide * LEVELS) if wide > 0 else 0
        self._counts[level] += 1
        median = int(np.searchsorted(np.cumsum(self._counts), (self._blocks + 1) // 2)) / LEVELS
        self._latest[:-1] = self._latest[1:]
        self._latest[-1] = median if abs(level / LEVELS - median) < NEAR_MEDIAN else level / LEVELS
        if self._blocks < LENGTH:
            return None, moved
        return np.concatenate((_spread(_haar(_spread(self._latest))), self._latest)), moved

    def _hold(self, lowest: float, highest: float) -> tuple[float, float] | None:
        low, high = min(lowest, self._low), max(highest, self._high)
        if (low, high) == (self._low, self._high):
            return None
        scale, start = (self._high - self._low) / (high - low), (self._low - low) / (high - low)
        self._low, self._high = low, high
        used = np.flatnonzero(self._counts)
        counts = self._counts[used]
        self._counts = np.zeros_like(self._counts)
        np.add.at(self._counts, np.round(used * scale + start * LEVELS).astype(np.int64), counts)
        self._latest = self._latest * scale + start
        return scale, start

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for msgpack."""
        return {
            "range": [self._low, self._high],
            "mean": self._mean,
            "counts": self._counts.tobytes(),
            "latest": self._latest.tobytes(),
            "blocks": self._blocks,
        }

    def restore(self, data: dict[str, Any]) -> None:
        """Go on from what ``to_dict`` gave."""
        self._low, self._high = data["range"]
        self._mean, self._blocks = data["mean"], data["blocks"]
        self._counts = np.frombuffer(data["counts"], dtype=np.int64).copy()
        self._latest = np.frombuffer(data["latest"], dtype=np.float64).copy()


def _haar(values: Numbers) -> Numbers:
    """Haar's wavelet coefficients, the coarsest first."""
    details: list[Numbers] = []
    while len(values) > 1:
        even, odd = values[0::2], values[1::2]
        details.insert(0, (even - odd) / np.sqrt(2))
        values = (even + odd) / np.sqrt(2)
    return np.concatenate((values, *details))


def _spread(values: Numbers) -> Numbers:
    """From 0 to 1."""
    values = values - values.min()
    largest = values.max()
    return np.asarray(values / largest if largest > 0 else values)
