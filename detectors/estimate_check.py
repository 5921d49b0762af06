"""Notices when losses are not what was estimated, as soon as labels tell."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.shiryaev_roberts import advance

MORE: Final = (1.35, 1.75, 2.5, 4.0)
"""By how much the odds of a loss, or the loss, may be larger than was estimated."""
LESS: Final = (1 / 1.35, 1 / 1.75, 1 / 2.5)
STAKES: Final = (0.05, 0.15, 0.4)
"""Shares of the evidence that are bet on larger losses, where losses are numbers."""
SMALLEST: Final = 1e-6
AT_ONCE: Final = 100
"""Rows by which evidence grows at once: no odds of ``MORE`` and ``LESS`` to this power are too large for a number."""
LARGEST_FACTOR: Final = 1e20
"""What one row does to the evidence, at most: more than any threshold, and no overflow."""


class EstimateCheck:
    """A Shiryaev-Roberts mixture of bets that losses are larger, or smaller, than estimated.

    While every estimate is right to within ``tolerance`` (for losses that are numbers: that share of it), the mean
    number of labelled rows until it says otherwise is at least ``rows_per_false_alarm`` (Shin, Ramdas and Rinaldo
    2023; the bets' mean is at most 1, whatever the rows). Losses that are numbers are only checked for being larger:
    nothing bounds them, so that nothing can be bet on their being small.
    """

    def __init__(self, *, binary: bool, tolerance: float = 0.01, rows_per_false_alarm: float = 1e6) -> None:
        self._binary = binary
        self._tolerance = tolerance
        self._threshold = rows_per_false_alarm
        bets = len(MORE) + len(LESS) if binary else len(STAKES)
        self._weights = np.full(bets, 1 / bets)
        self._evidence = np.zeros(bets)

    def update(self, expected: NDArray[np.float64], losses: NDArray[np.float64]) -> list[int]:
        """Take in rows in the order of their labels; after which of them the estimate is known to be wrong.

        It begins afresh after each.
        """
        factor = self._of_classes(expected, losses) if self._binary else self._of_numbers(expected, losses)
        found = []
        done = 0
        while done < len(factor):
            part = factor[done : done + AT_ONCE]
            after = self._after(part)
            over = np.flatnonzero(after.sum(axis=1) >= self._threshold)
            if not len(over):
                self._evidence = after[-1]
                done += len(part)
                continue
            done += int(over[0]) + 1
            found.append(done - 1)
            self._evidence = np.zeros(len(self._weights))
        return found

    def _after(self, factor: NDArray[np.float64]) -> NDArray[np.float64]:
        """The evidence after each row."""
        if not self._binary:  # nothing bounds what a row does to it
            return advance(factor, np.ones(len(factor), dtype=np.int64), self._weights, self._evidence)
        grown = np.cumprod(factor, axis=0)
        before = np.concatenate((np.ones((1, factor.shape[1])), grown[:-1]))
        after: NDArray[np.float64] = grown * (self._evidence + self._weights * np.cumsum(1 / before, axis=0))
        return after

    def state(self) -> list[float]:
        """The evidence so far, as plain values."""
        evidence: list[float] = self._evidence.tolist()
        return evidence

    def restore(self, evidence: list[float]) -> None:
        """Go on from ``state``."""
        self._evidence = np.array(evidence)

    def _of_classes(self, expected: NDArray[np.float64], losses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Likelihood ratios of odds that are so many times those of the nearest rate that would be right."""
        high = np.clip(expected + self._tolerance, SMALLEST, 1 - SMALLEST)[:, None]
        low = np.clip(expected - self._tolerance, SMALLEST, 1 - SMALLEST)[:, None]
        lost = losses[:, None] > 0
        more, less = np.array(MORE), np.array(LESS)
        parts = [np.where(lost, odds, 1.0) / (1 - rate + odds * rate) for odds, rate in ((more, high), (less, low))]
        return np.hstack(parts)

    def _of_numbers(self, expected: NDArray[np.float64], losses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bets on the ratio of loss and estimate, whose mean is at most 1 while the estimate is right."""
        ratio = losses / np.maximum(expected * (1 + self._tolerance), SMALLEST)
        return np.minimum(1 + np.array(STAKES) * (ratio[:, None] - 1), LARGEST_FACTOR)
