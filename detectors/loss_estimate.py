"""Performance without labels: the loss of a row, estimated from what is known before its label comes.

Direct loss estimation: a model of the loss is learned on labelled rows from the features, the prediction and the score,
and its mean over unlabelled rows is the estimate. Where the score alone told how often a prediction is wrong, this
would be confidence-based estimation (Guillory et al. 2021, "Predicting with confidence on unseen distributions"); the
features tell in addition in which region the score is too sure of itself. It sees a change of the features, and none
of what the labels are for the same features: ``estimate_check`` notices that, once there are labels.
"""

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from detectors.bins import FIRST_BIN, as_numbers
from detectors.columns import Columns
from detectors.reference import Reference

FEWEST_ROWS: Final = 200
"""Labelled rows below which nothing but their mean is learned."""
FOLDS: Final = 5
"""Parts of the reference, each estimated by what the others taught."""
FEWEST_CHUNKS: Final = 8
"""So many chunks of the reference are needed to tell how far chunks lie from their estimates."""
MOST_CATEGORIES: Final = 250
"""Fewer than the trees can tell apart; a category with more values is left out."""
DEPTH: Final = 3
"""Of the trees. Set on simulated references of 500 to 10,000 rows: deeper ones learn small references by heart."""
Z: Final = 1.959964
"""Half width of a 95 % interval in standard errors."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean loss of some rows, with an interval of 95 %."""

    rows: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Expected:
    """For each of n rows the expected loss and its variance."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]


class LossEstimate:
    """Estimates losses as they were on ``reference`` rows: 0 or 1 for classes, numbers from 0 on else."""

    def __init__(self, reference: Reference, models: "_Models", dispersion: float) -> None:
        self.reference = reference
        self.dispersion = dispersion
        """By how much chunks of the reference lay further from their estimates than independent rows would."""
        self._models = models

    @classmethod
    def learn(cls, columns: Columns, losses: NDArray[np.float64], *, chunk_rows: int) -> Self:
        """Learn from rows (n of them, all signals that are known before the label) and their n losses.

        The interval is for chunks of ``chunk_rows``. Rows whose loss is not finite do not count. Raises ValueError
        where none is.
        """
        known = np.flatnonzero(np.isfinite(losses))
        if not len(known):
            raise ValueError("no row with a loss to learn from")
        values = {name: column[known] for name, column in columns.values.items()}
        rows = Columns(columns.stream, columns.rows[known], columns.ts[known], values)
        losses = losses[known]
        reference = Reference.learn(rows)
        table, categories = _table(reference, rows)
        with threadpool_limits(1):  # more threads than free cores would wait for each other most of the time
            models = _Models.fit(table, losses, categories)
            return cls(reference, models, _dispersion(table, losses, categories, chunk_rows))

    def expected(self, columns: Columns) -> Expected:
        """The losses to be expected of rows."""
        with threadpool_limits(1):
            return self._models.predict(_table(self.reference, columns)[0])

    def over(self, expected: Expected) -> Estimate:
        """The mean over a chunk of rows."""
        mean, rows = float(expected.mean.mean()), len(expected.mean)
        half = Z * self.dispersion * float(np.sqrt(expected.variance.sum())) / rows
        return Estimate(rows, mean, max(0.0, mean - half), mean + half)


@dataclass(frozen=True, slots=True)
class _Models:
    """Models of the loss and, where it is no matter of yes and no, of its square; None for a constant."""

    binary: bool
    loss: Any
    square: Any
    constant: tuple[float, float]

    @classmethod
    def fit(cls, table: NDArray[np.float64], losses: NDArray[np.float64], categories: list[int]) -> "_Models":
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        binary = bool(np.isin(losses, (0.0, 1.0)).all())
        constant = float(losses.mean()), float(losses.var())
        if len(losses) < FEWEST_ROWS or losses.min() == losses.max() or not table.shape[1]:
            return cls(binary, None, None, constant)
        options: dict[str, Any] = {"categorical_features": categories, "max_depth": DEPTH, "random_state": 0}
        if binary:
            return cls(binary, HistGradientBoostingClassifier(**options).fit(table, losses), None, constant)
        square = HistGradientBoostingRegressor(**options).fit(table, losses**2)
        return cls(binary, HistGradientBoostingRegressor(**options).fit(table, losses), square, constant)

    def predict(self, table: NDArray[np.float64]) -> Expected:
        if self.loss is None:
            mean, variance = (np.full(len(table), value) for value in self.constant)
            return Expected(mean, variance)
        if self.binary:
            mean = self.loss.predict_proba(table)[:, 1]
            return Expected(mean, mean * (1 - mean))
        mean = np.maximum(self.loss.predict(table), 0.0)
        return Expected(mean, np.maximum(self.square.predict(table) - mean**2, 0.0))


def _table(reference: Reference, columns: Columns) -> tuple[NDArray[np.float64], list[int]]:
    """Signals of the reference as numbers, a column each, and which of them are categories."""
    parts: list[NDArray[np.float64]] = []
    categories = []
    for name, bins in zip(reference.signals, reference.bins, strict=True):
        if bins.width == FIRST_BIN or (bins.kind != "number" and bins.width > MOST_CATEGORIES):
            continue  # nothing but missing values, or too many
        column = columns.values.get(name)
        if column is None:
            parts.append(np.full(len(columns), np.nan))
        elif bins.kind == "number":
            numbers = as_numbers(column)
            parts.append(np.where(np.isfinite(numbers), numbers, np.nan))
        else:
            parts.append(bins.encode(column).astype(np.float64))
        if bins.kind != "number":
            categories.append(len(parts) - 1)
    return np.column_stack(parts) if parts else np.empty((len(columns), 0)), categories


def _dispersion(
    table: NDArray[np.float64], losses: NDArray[np.float64], categories: list[int], chunk_rows: int
) -> float:
    """The spread of chunks around their estimates, in standard errors of independent rows; at least 1.

    Each part of the reference is estimated by models of the others. Where it is too short for chunks of that length,
    shorter ones tell.
    """
    count = len(losses)
    length = min(chunk_rows, count // FEWEST_CHUNKS)
    if length < FEWEST_ROWS // FEWEST_CHUNKS:
        return 1.0
    expected = np.empty(count)
    variance = np.empty(count)
    for fold in range(FOLDS):
        held_out = np.zeros(count, dtype=bool)
        held_out[fold * count // FOLDS : (fold + 1) * count // FOLDS] = True
        found = _Models.fit(table[~held_out], losses[~held_out], categories).predict(table[held_out])
        expected[held_out], variance[held_out] = found.mean, found.variance
    chunks = count // length
    missed = (losses - expected)[: chunks * length].reshape(chunks, length).sum(axis=1)
    spread = variance[: chunks * length].reshape(chunks, length).sum(axis=1)
    scores = missed[spread > 0] / np.sqrt(spread[spread > 0])
    return max(1.0, float(np.sqrt((scores**2).mean()))) if len(scores) else 1.0
