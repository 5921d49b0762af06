"""Half-space trees: how strange a row is among the reference's.

Tan, Ting and Liu (2011), "Fast anomaly detection for streaming data": trees that halve a random feature at each node,
built before any data is seen; a row is strange where few rows of the reference fell into its half-spaces. Here the
masses are those of half the reference's sample and stay as they are, so that the scores of the other half say what is
normal for a live row, and nothing has to be stored but the evidence.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.base import StateMismatch, Verdict
from detectors.bins import FIRST_BIN, NumberBins
from detectors.columns import Columns
from detectors.reference import Reference
from detectors.score_alarm import ScoreAlarm
from detectors.summary import Summary

TREES: Final = 25
HEIGHT: Final = 10
SEED: Final = 11
FEWEST_ROWS: Final = 100
"""With fewer rows in the reference's sample every row scores 0, and nothing is raised."""
SMALLEST_MASS: Final = 0.02
"""A walk down a tree ends where less than this share of the reference's rows went."""
OUTSIDE: Final = 0.15
"""How far outside the reference's range, in shares of it, everything that lies outside is put."""
SCORED_AT_ONCE: Final = 20_000


class HalfSpaceTrees:
    """Scores rows of features, and raises ANOMALY where strange ones become more frequent (see ``score_alarm.py``)."""

    name: str = "half_space_trees"

    def __init__(self, reference: Reference, events_per_false_alarm: float, min_effect: float = 0.1) -> None:
        self.reference = reference
        self._features, self._splits = _grow(len(reference.signals))
        points = self._place(reference.sample.astype(np.float64))
        learned, held_out = points[::2], points[1::2]
        self._mass = np.zeros((TREES, 2 ** (HEIGHT + 1) - 1))
        self._trained = len(points) >= FEWEST_ROWS
        self._alarm: ScoreAlarm | None = None
        if self._trained:
            for walk in self._walk(learned):
                for t in range(TREES):
                    self._mass[t] += np.bincount(walk[t], minlength=self._mass.shape[1])
            self._mass /= len(learned)
            self._alarm = ScoreAlarm(self.name, self._scores(held_out), events_per_false_alarm, min_effect)

    def update(self, summary: Summary, columns: Columns) -> list[Verdict]:
        """Score the rows, and say in which windows strange ones became more frequent, or normal again."""
        return [] if self._alarm is None else self._alarm.update(summary, columns, self.scores(columns))

    def scores(self, columns: Columns) -> NDArray[np.float64]:
        """How strange each row is: n numbers between 0 and 1, higher is stranger."""
        if not self._trained:
            return np.zeros(len(columns))
        placed = self._place(self.reference.points(columns).astype(np.float64))
        parts = [self._scores(placed[i : i + SCORED_AT_ONCE]) for i in range(0, len(placed), SCORED_AT_ONCE)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def state(self) -> dict[str, Any]:
        """Everything needed to go on later."""
        return {"name": self.name, "detector": None if self._alarm is None else self._alarm.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``. Raises StateMismatch where it belongs to another reference."""
        if state.get("name") != self.name or (state["detector"] is None) != (self._alarm is None):
            raise StateMismatch("the state of other half-space trees")
        if self._alarm is not None:
            self._alarm.restore(state["detector"])

    def _place(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points with each signal between 0 and 1, as evenly spread as its bins are; what is odd lies outside.

        A number goes where its bin is among the bins (which are even in normal score), a category where its share of
        the reference is: rare ones are near 1. Missing and invalid values are below 0.
        """
        placed = np.empty_like(points)
        for s, bins in enumerate(self.reference.bins):
            column = points[:, s]
            if isinstance(bins, NumberBins):
                if not len(bins.edges):
                    placed[:, s] = np.where(np.isfinite(column), 1 + OUTSIDE, 0.5)
                    continue
                at = np.interp(column, bins.edges, np.linspace(0.0, 1.0, len(bins.edges)))
                outside = (column < bins.edges[0]) | (column >= bins.edges[-1])
                at = np.where(outside, np.where(column < bins.edges[0], -OUTSIDE, 1 + OUTSIDE), at)
                placed[:, s] = np.where(np.isfinite(column), at, -OUTSIDE)
            else:
                share = (self.reference.counts[s] + 0.5) / (self.reference.rows + 1)
                rarity = np.log(share) / np.log(0.5 / (self.reference.rows + 1))
                rarity[:FIRST_BIN] = np.where(self.reference.counts[s, :FIRST_BIN] > 0, rarity[:FIRST_BIN], 1 + OUTSIDE)
                placed[:, s] = rarity[column.astype(np.int64)]
        return placed

    def _walk(self, points: NDArray[np.float64]) -> list[NDArray[np.int64]]:
        """The node of each row in each tree (trees, n), level by level from the root."""
        n = len(points)
        flat = points.ravel()
        base = np.arange(n) * points.shape[1]
        tree = np.arange(TREES)[:, None]
        node = np.zeros((TREES, n), dtype=np.int64)
        levels = [node]
        for _ in range(HEIGHT):
            value = flat[base + self._features[tree, node]]
            node = 2 * node + 1 + (value >= self._splits[tree, node])
            levels.append(node)
        return levels

    def _scores(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        tree = np.arange(TREES)[:, None]
        total = np.zeros((TREES, len(points)))
        walking = np.ones((TREES, len(points)), dtype=bool)
        for depth, node in enumerate(self._walk(points)):
            mass = self._mass[tree, node]
            total = np.where(walking, mass * 2.0**depth, total)
            walking &= mass > SMALLEST_MASS
        return np.asarray(1 / (1 + total.mean(axis=0)))


def _grow(signals: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each tree and inner node, the signal that it splits and where: in the middle of what is left of its range."""
    rng = np.random.default_rng(SEED)
    inner = 2**HEIGHT - 1
    features = rng.integers(0, signals, (TREES, inner))
    splits = np.zeros((TREES, inner))
    # a random point of each tree's range is its middle, as in the paper, so that no two trees cut alike
    middle = rng.random((TREES, signals))
    reach = 2 * np.maximum(middle, 1 - middle)
    low, high = (middle - reach)[:, None], (middle + reach)[:, None]
    tree = np.arange(TREES)[:, None]
    for depth in range(HEIGHT):
        nodes = np.arange(2**depth - 1, 2 ** (depth + 1) - 1)
        place = np.arange(len(nodes))
        chosen = features[:, nodes]
        half = (low[tree, place, chosen] + high[tree, place, chosen]) / 2
        splits[:, nodes] = half
        low, high = low.repeat(2, axis=1), high.repeat(2, axis=1)
        high[tree, 2 * place, chosen] = half
        low[tree, 2 * place + 1, chosen] = half
    return features, splits
