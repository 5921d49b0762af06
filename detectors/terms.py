"""Rows as what a classifier of all features together is linear in."""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.bins import FIRST_BIN, NumberBins
from detectors.reference import Reference

MOST_SCORES: Final = 400
"""Features, and indicators of categories, that are looked at; the first ones."""
MOST_CATEGORIES: Final = 5
"""Values of a category that are told apart, the most frequent ones."""
MOST_PAIRS: Final = 400
"""Products that are looked at: where there would be more, of the pairs that go together most in the reference."""
LARGEST_SCORE: Final = 3.0
MOST_NAMED: Final = 3
NAMED_SHARE: Final = 0.25
"""A pair is named where it tells at least so much of all that tells."""


@dataclass(frozen=True, slots=True)
class _Score:
    """One column of normal scores: of a number, or of whether a category is ``bin``."""

    signal: int
    bin: int | None
    knots: NDArray[np.float64]
    scores: NDArray[np.float64]

    def __call__(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        column = points[:, self.signal]
        if self.bin is not None:
            return np.asarray(np.where(column == self.bin, self.scores[1], self.scores[0]))
        return np.asarray(np.where(np.isfinite(column), np.interp(column, self.knots, self.scores), 0.0))


class Terms:
    """k normal scores of each row, their k squares less 1, and the products of pairs.

    ``learned`` are the points of the rows that the classifier is learned from.
    """

    def __init__(self, reference: Reference, learned: NDArray[np.float64]) -> None:
        self._signals = reference.signals
        self._scores = _scores(reference)[:MOST_SCORES]
        self._left, self._right = self._pairs(learned)
        self.count = 2 * len(self._scores) + len(self._left)

    def __call__(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """The terms of rows (n), ``count`` of each."""
        scores = self._of(points)
        return np.hstack((scores, scores**2 - 1, scores[:, self._left] * scores[:, self._right]))

    def ranking(self, tells: NDArray[np.float64]) -> tuple[tuple[str, float], ...]:
        """Signals by how much their terms tell, each with its share; a product's is shared by both."""
        k = len(self._scores)
        shares = np.zeros(len(self._signals))
        owners = np.array([one.signal for one in self._scores], dtype=np.int64)
        np.add.at(shares, owners, tells[:k] + tells[k : 2 * k])
        for side in (self._left, self._right):
            np.add.at(shares, owners[side], tells[2 * k :] / 2)
        total = float(shares.sum())
        order = [int(s) for s in np.argsort(-shares, kind="stable") if shares[s] > 0]
        return tuple((self._signals[s], round(float(shares[s] / total), 4)) for s in order)

    def pairs_of(
        self, weights: NDArray[np.float64], before: NDArray[np.float64], now: NDArray[np.float64]
    ) -> list[list[Any]]:
        """The pairs of signals that tell most, if any tells much: both names, and their covariance before and now.

        What products are because both features have moved by themselves tells nothing of a pair.
        """
        k = len(self._scores)
        then, latest = (one[2 * k :] - one[self._left] * one[self._right] for one in (before, now))
        of_pairs = np.abs(weights[2 * k :] * (latest - then))
        least = NAMED_SHARE * float(np.abs(weights * (now - before)).sum())
        found: dict[tuple[str, str], list[Any]] = {}
        for place in np.argsort(-of_pairs, kind="stable"):
            if of_pairs[place] <= least or len(found) == MOST_NAMED:
                break
            one, other = (self._signals[self._scores[side[place]].signal] for side in (self._left, self._right))
            found.setdefault((one, other), [one, other, round(float(then[place]), 3), round(float(latest[place]), 3)])
        return list(found.values())

    def _of(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        if not self._scores:
            return np.zeros((len(points), 0))
        return np.column_stack([one(points) for one in self._scores])

    def _pairs(self, learned: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The pairs that are looked at, chosen by rows that nothing is ranked among: by others they would look odd."""
        owners = np.array([one.signal for one in self._scores])
        left, right = np.triu_indices(len(self._scores), 1)
        apart = owners[left] != owners[right] if len(owners) else np.zeros(0, dtype=bool)
        left, right = left[apart], right[apart]
        if len(left) > MOST_PAIRS:
            scores = self._of(learned)
            together = np.abs(scores.T @ scores)[left, right]
            kept = np.sort(np.argsort(-together, kind="stable")[:MOST_PAIRS])
            left, right = left[kept], right[kept]
        return left, right


def _scores(reference: Reference) -> list[_Score]:
    found = []
    for s, bins in enumerate(reference.bins):
        counts = reference.counts[s, : bins.width].astype(np.float64)
        if isinstance(bins, NumberBins):
            known = counts[FIRST_BIN:]
            if np.count_nonzero(known) > 1:
                knots, scores = _normal_scores(bins, known)
                found.append(_Score(s, None, knots, scores))
            continue
        for code in np.argsort(-counts, kind="stable")[:MOST_CATEGORIES]:
            share = counts[code] / counts.sum()
            if 0 < share < 1:
                # of one standard deviation and mean 0, a rare category's no larger than what is looked at
                high = min(LARGEST_SCORE, float(np.sqrt((1 - share) / share)))
                found.append(_Score(s, int(code), np.zeros(0), np.array([-high * share / (1 - share), high])))
    return found


def _normal_scores(bins: NumberBins, counts: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where between the edges of its bins a number lies, as the normal score of its rank."""
    total, normal = counts.sum(), NormalDist()
    if bins.exact:
        knots, shares = bins.values, (np.cumsum(counts) - counts / 2) / total
    else:
        knots, shares = bins.edges, np.concatenate(([0.0], np.cumsum(counts))) / total
    lowest = normal.cdf(-LARGEST_SCORE)
    scores = np.array([normal.inv_cdf(float(share)) for share in np.clip(shares, lowest, 1 - lowest)])
    if bins.exact:
        mean = counts @ scores / total
        scores = (scores - mean) / max(float(np.sqrt(counts @ (scores - mean) ** 2 / total)), 1e-3)
    return knots, np.clip(scores, -LARGEST_SCORE, LARGEST_SCORE)
