"""Some rows of a model with what was known of them before their labels, in bounded memory."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.bins import MISSING, Bins
from detectors.boosted_trees import Table
from detectors.columns import Columns
from detectors.reference import Reference

MOST_FEATURES: Final = 50
"""Features that estimates go by: the first so many by name."""
BLOCK_ROWS: Final = 250
"""Rows that are stored together, so that a checkpoint writes few more than those that have come."""
SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)
"""Times this, row numbers are as good as random (Fibonacci hashing, Knuth 1973)."""


def is_sampled(rows: NDArray[np.int64], every: int) -> NDArray[np.bool_]:
    """One row in ``every`` by its number alone; those of a larger ``every`` are among those of a smaller one."""
    if every == 1:
        return np.ones(len(rows), dtype=bool)
    with np.errstate(over="ignore"):
        numbers = (rows.astype(np.uint64) * SPREAD) >> np.uint64(32)
    sampled: NDArray[np.bool_] = numbers < np.uint64((1 << 32) // every)
    return sampled


class Layout:
    """The columns of a table of rows: features, prediction and score, as the references know them."""

    def __init__(self, features: Reference | None, prediction: Reference) -> None:
        self.features = features
        self.prediction = prediction
        own: list[tuple[str, Bins]] = []
        if features is not None:
            own += sorted(zip(features.signals, features.bins, strict=True))[:MOST_FEATURES]
        self._signals = [*own, *zip(prediction.signals, prediction.bins, strict=True)]
        self._names = {name for name, _ in self._signals}
        self.categories = [place for place, (_, bins) in enumerate(self._signals) if bins.kind == "category"]

    def __len__(self) -> int:
        return len(self._signals)

    def table(self, predictions: Columns, features: Columns | None) -> Table:
        """Rows of predictions as numbers, with the features of the same rows; a category is the number of its bin."""
        values, known = dict(predictions.values), np.empty(0, dtype=np.int64)
        if features is not None:
            found = np.searchsorted(features.rows, predictions.rows)
            found[found == len(features)] = 0
            known = np.flatnonzero(features.rows[found] == predictions.rows)
            places = found[known]
            values |= {name: column[places] for name, column in features.values.items() if name in self._names}
        turned = np.full((len(self), len(predictions)), np.nan, dtype=np.float32)
        with np.errstate(over="ignore"):
            for line, (name, bins) in zip(turned, self._signals, strict=True):
                if bins.kind == "category":
                    line[:] = MISSING
                if name in predictions.values:
                    line[:] = bins.points(values[name])
                elif name in values and len(known):
                    line[known] = bins.points(values[name])
        turned[np.isinf(turned)] = np.nan  # what is invalid, or too large, tells nothing
        return np.ascontiguousarray(turned.T)


class Sample:
    """Rows (n, in their order), what is known of them (n by columns) and their losses (n, NaN without a label)."""

    def __init__(self, columns: int = 0) -> None:
        self.rows: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.table: Table = np.empty((0, columns), dtype=np.float32)
        self.losses: NDArray[np.float64] = np.empty(0)
        self._stored = 0  # blocks that the store has, or had
        self._fresh = 0  # the first block that the store does not have as it is

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which rows have a loss."""
        known: NDArray[np.bool_] = np.isfinite(self.losses)
        return known

    def append(self, rows: NDArray[np.int64], table: Table) -> None:
        """Further rows."""
        self._fresh = min(self._fresh, len(self) // BLOCK_ROWS)
        self.rows = np.concatenate((self.rows, rows))
        self.table = np.concatenate((self.table, table))
        self.losses = np.concatenate((self.losses, np.full(len(rows), np.nan)))

    def find(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The place of each of these rows, -1 where it is not among them."""
        if not len(self):
            return np.full(len(rows), -1)
        places = np.minimum(np.searchsorted(self.rows, rows), len(self) - 1)
        return np.where(self.rows[places] == rows, places, -1)

    def keep(self, which: NDArray[np.bool_]) -> None:
        """Let go of the others."""
        self._fresh = 0
        self.rows, self.table, self.losses = self.rows[which], self.table[which], self.losses[which]

    def clear(self, columns: int) -> None:
        """Let go of all, for rows of so many columns."""
        self._fresh = 0
        self.rows, self.losses = self.rows[:0], self.losses[:0]
        self.table = np.empty((0, columns), dtype=np.float32)

    # --- what is stored

    def take_blocks(self) -> dict[str, Any]:
        """What of the rows has changed since the last call, by the number of the block; None where one is gone."""
        count = -(-len(self) // BLOCK_ROWS)
        blocks: dict[str, Any] = {}
        for block in range(self._fresh, count):
            part = slice(block * BLOCK_ROWS, (block + 1) * BLOCK_ROWS)
            blocks[str(block)] = [self.rows[part].tobytes(), self.table[part].tobytes()]
        blocks |= {str(block): None for block in range(count, self._stored)}
        self._stored = self._fresh = count
        return blocks

    def restore(self, blocks: Mapping[str, Any], losses: bytes) -> None:
        """Go on from what was stored: the blocks by number, and the losses of their rows."""
        self.losses = np.frombuffer(losses).copy()
        count = -(-len(self.losses) // BLOCK_ROWS)
        rows, tables = (b"".join(blocks[str(block)][part] for block in range(count)) for part in (0, 1))
        self.rows = np.frombuffer(rows, np.int64)
        self.table = np.frombuffer(tables, np.float32).reshape(len(self.rows), -1 if count else self.table.shape[1])
        self._stored = self._fresh = count
