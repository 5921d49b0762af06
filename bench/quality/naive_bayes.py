"""river's Gaussian naive Bayes over rows that are all known: what it says after learning from any stretch of them."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

LEAST_DENSITY: Final = 10e-10
"""Added to each density by river, so that one odd value decides nothing alone."""
AT_ONCE: Final = 1_000


class NaiveBayes:
    """Of n rows of d numbers and their classes; sums up to each row take the place of learning."""

    def __init__(self, numbers: NDArray[np.float64], classes: NDArray[Any]) -> None:
        self._numbers = numbers - numbers.mean(axis=0)
        known, self._classes = np.unique(classes, return_inverse=True)
        own = self._classes[:, None] == np.arange(len(known))
        of_classes = np.where(own[:, :, None], self._numbers[:, None, :], 0.0)
        self._counts = _sums(own.astype(np.float64))
        self._totals = _sums(of_classes)
        self._squares = _sums(of_classes * self._numbers[:, None, :])

    def __len__(self) -> int:
        return len(self._numbers)

    def right(self, since: int, start: int, stop: int) -> NDArray[np.bool_]:
        """Whether rows ``start`` to ``stop`` are predicted right, each by what was learned from the rows ``since``."""
        parts = [self._right(since, one, min(one + AT_ONCE, stop)) for one in range(start, stop, AT_ONCE)]
        return np.concatenate(parts) if parts else np.empty(0, dtype=bool)

    def _right(self, since: int, start: int, stop: int) -> NDArray[np.bool_]:
        counts = self._counts[start:stop] - self._counts[since]
        means = (self._totals[start:stop] - self._totals[since]) / np.maximum(counts, 1)[:, :, None]
        squares = self._squares[start:stop] - self._squares[since] - counts[:, :, None] * means**2
        variances = squares / np.maximum(counts, 1)[:, :, None]
        usable = (counts > 1)[:, :, None] & (variances > 0)
        variances = np.where(usable, variances, 1.0)
        away = self._numbers[start:stop, None, :] - means
        density = np.where(usable, np.exp(-(away**2) / (2 * variances)) / np.sqrt(2 * np.pi * variances), 0.0)
        with np.errstate(divide="ignore"):  # a class that has not come yet
            likely = np.log(counts) + np.log(LEAST_DENSITY + density).sum(axis=2)
        said = np.where(counts.any(axis=1), likely.argmax(axis=1), -1)
        right: NDArray[np.bool_] = said == self._classes[start:stop]
        return right

    def best(self, times: int, step: int) -> float:
        """The highest share of right predictions with at most so many fresh starts, chosen with all labels known.

        A fresh start may come after each ``step`` rows, and learns from the rows since any such place before it.
        """
        edges = np.append(np.arange(0, len(self), step), len(self))
        sums = np.zeros((len(edges) - 1, len(edges)))  # right ones up to each edge, by what learns from each edge on
        for place, since in enumerate(edges[:-1].tolist()):
            right = np.concatenate(([0], np.cumsum(self.right(since, since, len(self)))))
            sums[place, place:] = right[edges[place:] - since]
        ahead = np.full((len(edges), len(edges)), -np.inf)  # right ones from an edge to another, by the best start
        for place in range(len(edges) - 1):
            ahead[place, place:] = (sums[: place + 1, place:] - sums[: place + 1, place : place + 1]).max(axis=0)
        best = ahead[0]
        for _ in range(times):
            best = np.maximum(best, (best[:-1, None] + ahead[:-1]).max(axis=0))
        return float(best[-1] / len(self))


def _sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of all rows before each, and of all."""
    return np.concatenate((np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)))
