"""Gradient-boosted trees as plain arrays: small enough to be fitted, kept and asked inside the daemon.

Trees of three levels, fitted by Newton steps on histograms (Friedman 2001, "Greedy function approximation"; Chen and
Guestrin 2016, "XGBoost"), each on half of the rows (Friedman 2002, "Stochastic gradient boosting"). A library's trees
would bring 170 MB of imports into a process that is to stay light, and could be stored only as a pickle.
"""

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

TREES: Final = 50
DEPTH: Final = 3
"""Set on simulated references of 500 to 10,000 rows: deeper trees learn small references by heart."""
SPLITS: Final = 2**DEPTH - 1
RATE: Final = 0.12
"""The part of its step that each tree is allowed."""
MOST_CUTS: Final = 63
"""At how many places a column may be split."""
FEWEST_IN_LEAF: Final = 40
RIDGE: Final = 5.0
"""Rows without an opinion that are added to those of each leaf."""
PRIOR_ROWS: Final = 20.0
"""Rows of the mean that are added to those of each category, so that a rare one is not taken for an extreme one."""
AT_ONCE: Final = 500
"""Rows that are asked at once: all that is known of them fits in a processor's cache."""
LARGEST: Final = 30.0
"""The largest logarithm of odds."""

Table = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BoostedTrees:
    """T trees over a table of F columns, of which some are categories, given by their codes from 0 on.

    A value above ``cuts[t, k]`` goes right at split k of tree t, a missing one (NaN) where ``missing_right`` says so;
    the splits of a tree are numbered level by level. ``ranks`` puts the codes of a category in an order.
    """

    binary: bool
    scale: float
    base: float
    columns: NDArray[np.int16]  # (T, SPLITS)
    cuts: NDArray[np.float32]  # likewise
    missing_right: NDArray[np.bool_]  # likewise
    leaves: NDArray[np.float32]  # (T, SPLITS + 1)
    ranks: dict[int, NDArray[np.float32]]

    @classmethod
    def fit(cls, table: Table, categories: list[int], targets: NDArray[np.float64], *, binary: bool) -> Self:
        """Fit n rows and their targets: 0 or 1 where ``binary``, else any numbers."""
        scale = 1.0 if binary else float(targets.std()) or 1.0
        targets = targets / scale
        ranks = {column: _ranks(table[:, column], targets) for column in categories}
        fit = _Fit(_ordered(table, ranks), targets, binary=binary)
        trees = [fit.next_tree(number) for number in range(TREES)]
        columns, cuts, missing_right, leaves = (np.array(parts) for parts in zip(*trees, strict=True))
        return cls(binary, scale, fit.base, columns, cuts, missing_right, leaves, ranks)

    def predict(self, table: Table) -> NDArray[np.float64]:
        """The expected target of each of n rows."""
        parts = [self._predict(table[start : start + AT_ONCE]) for start in range(0, len(table), AT_ONCE)]
        return np.concatenate([np.empty(0), *parts])

    def _predict(self, table: Table) -> NDArray[np.float64]:
        turned = _ordered(table, self.ranks).T
        values = turned[self.columns.T]  # (SPLITS, T, n)
        with np.errstate(invalid="ignore"):
            right = values > self.cuts.T[:, :, None]
        if np.isnan(table).any():
            right |= np.isnan(values) & self.missing_right.T[:, :, None]
        second = np.where(right[0], right[2], right[1])
        third = np.where(right[0], np.where(second, right[6], right[5]), np.where(second, right[4], right[3]))
        place = right[0].astype(np.int64) * 4
        place += second * np.int64(2)
        place += third
        place += np.arange(len(self.leaves))[:, None] * (SPLITS + 1)
        score = self.base + self.leaves.ravel().astype(np.float64)[place].sum(axis=0)
        return _probability(score) if self.binary else score * self.scale

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for msgpack."""
        return {
            "binary": self.binary,
            "scale": self.scale,
            "base": self.base,
            "trees": [
                one.tobytes()
                for one in (
                    self.columns.astype("<i2"),
                    self.cuts.astype("<f4"),
                    self.missing_right,
                    self.leaves.astype("<f4"),
                )
            ],
            "ranks": {str(column): one.tolist() for column, one in self.ranks.items()},
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The reverse of ``to_dict``."""
        columns, cuts, missing_right, leaves = (
            np.frombuffer(one, dtype=np.dtype(dtype)).reshape(TREES, -1)
            for one, dtype in zip(data["trees"], ("<i2", "<f4", "?", "<f4"), strict=True)
        )
        ranks = {int(column): np.array(one, dtype=np.float32) for column, one in data["ranks"].items()}
        return cls(data["binary"], data["scale"], data["base"], columns, cuts, missing_right, leaves, ranks)


class _Fit:
    """Rows while trees are fitted to them, one after the other."""

    def __init__(self, table: Table, targets: NDArray[np.float64], *, binary: bool) -> None:
        self._table = table
        self._targets = targets
        self._binary = binary
        mean = float(targets.mean())
        self.base = float(np.log(mean / (1 - mean))) if binary else mean
        self._score = np.full(len(targets), self.base)
        cuts = [_cuts(column) for column in table.T]
        self._width = max(1, *map(len, cuts)) + 2  # the values between the cuts, and what is missing
        self._cuts = np.full((len(cuts), self._width - 2), np.inf, dtype=np.float32)
        bins = np.empty(table.shape, dtype=np.int64)
        for place, (one, column) in enumerate(zip(cuts, table.T, strict=True)):
            self._cuts[place, : len(one)] = one
            bins[:, place] = np.where(np.isnan(column), self._width - 1, np.searchsorted(one, column))
        self._bins = bins + np.arange(len(cuts)) * self._width

    def next_tree(self, number: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """The columns, cuts and ways of the missing of its splits, and its leaves."""
        if self._binary:
            expected = _probability(self._score)
            slope, curve = self._targets - expected, expected * (1 - expected)
        else:
            slope, curve = self._targets - self._score, np.ones(len(self._targets))
        some = np.flatnonzero(np.random.default_rng(number).random(len(slope)) < 0.5)  # noqa: PLR2004 (half of them)
        columns = np.zeros(SPLITS, dtype=np.int16)
        cuts = np.full(SPLITS, np.inf, dtype=np.float32)
        missing_right = np.zeros(SPLITS, dtype=np.bool_)
        node = np.zeros(len(slope), dtype=np.int64)
        fewest = FEWEST_IN_LEAF / 2 * float(curve.mean())
        for level in range(DEPTH):
            nodes, first = 2**level, 2**level - 1
            own = slice(first, first + nodes)
            sums = self._sums(some, node[some], nodes, slope[some], curve[some])
            columns[own], cuts[own], missing_right[own] = self._best(*sums, fewest)
            split = first + node
            values = self._table[np.arange(len(node)), columns[split]]
            with np.errstate(invalid="ignore"):
                right = np.where(np.isnan(values), missing_right[split], values > cuts[split])
            node = 2 * node + right
        slopes = np.bincount(node[some], slope[some], SPLITS + 1)
        curves = np.bincount(node[some], curve[some], SPLITS + 1)
        leaves = (RATE * slopes / (curves + RIDGE)).astype(np.float32)
        self._score += leaves[node]
        return columns, cuts, missing_right, leaves

    def _sums(
        self,
        some: NDArray[np.int64],
        node: NDArray[np.int64],
        nodes: int,
        slope: NDArray[np.float64],
        curve: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Slopes and curves of the rows in each bin: (nodes, columns, bins)."""
        count = self._table.shape[1]
        cells = self._bins[some] + (node * (count * self._width))[:, None]
        shape = (nodes, count, self._width)
        flat = cells.ravel()
        sums = (np.bincount(flat, np.repeat(one, count), nodes * count * self._width) for one in (slope, curve))
        slopes, curves = (one.astype(np.float64).reshape(shape) for one in sums)
        return slopes, curves

    def _best(
        self, slopes: NDArray[np.float64], curves: NDArray[np.float64], fewest: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]]:
        """The best split of each node: its column, its cut and where the missing go."""
        nodes = len(slopes)
        whole_slope, whole_curve = slopes[:, :1].sum(axis=2)[:, :, None], curves[:, :1].sum(axis=2)[:, :, None]
        left_slope, left_curve = np.cumsum(slopes[:, :, :-2], axis=2), np.cumsum(curves[:, :, :-2], axis=2)
        ways = []
        for missing in (0.0, 1.0):  # right, left
            slope, curve = left_slope + missing * slopes[:, :, -1:], left_curve + missing * curves[:, :, -1:]
            gain = slope**2 / (curve + RIDGE) + (whole_slope - slope) ** 2 / (whole_curve - curve + RIDGE)
            gain[(curve < fewest) | (whole_curve - curve < fewest)] = -np.inf
            ways.append(gain)
        gains = np.stack(ways, axis=1).reshape(nodes, -1)
        best = gains.argmax(axis=1)
        way, column, cut = np.unravel_index(best, (2, *left_slope.shape[1:]))
        worth = gains[np.arange(nodes), best] > (whole_slope**2 / (whole_curve + RIDGE)).ravel() + 1e-9
        at = np.arange(nodes), column, cut
        is_missing = curves[np.arange(nodes), column, -1] > 0
        most_right = 2 * left_curve[at] < whole_curve.ravel()
        missing_right = worth & np.where(is_missing, way == 0, most_right)
        return column, np.where(worth, self._cuts[column, cut], np.float32(np.inf)), missing_right


def _cuts(column: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where a column may be split: between its values where they are few, else at evenly spread ones."""
    known = np.sort(column[~np.isnan(column)])
    distinct = known[np.flatnonzero(np.diff(known, prepend=np.nan) != 0)] if len(known) else known
    if len(distinct) <= MOST_CUTS + 1:
        return distinct[:-1]
    picked = known[np.linspace(0, len(known) - 1, MOST_CUTS + 2).astype(np.int64)[1:-1]]
    return np.unique(picked[picked < known[-1]])


def _ranks(codes: NDArray[np.float32], targets: NDArray[np.float64]) -> NDArray[np.float32]:
    """The mean target of each code, drawn towards that of all: by it, categories are numbers."""
    known = codes.astype(np.int64)
    rows, sums = np.bincount(known), np.bincount(known, targets)
    mean = targets.mean()
    ranks: NDArray[np.float32] = ((sums + PRIOR_ROWS * mean) / (rows + PRIOR_ROWS)).astype(np.float32)
    return np.append(ranks, np.float32(mean))


def _ordered(table: Table, ranks: dict[int, NDArray[np.float32]]) -> Table:
    """The table with the codes of categories put in their order; one that was not met is like the mean of all."""
    if not ranks:
        return table
    ordered = table.copy()
    for column, one in ranks.items():
        ordered[:, column] = one[np.minimum(table[:, column].astype(np.int64), len(one) - 1)]
    return ordered


def _probability(score: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.clip(score, -LARGEST, LARGEST)))
