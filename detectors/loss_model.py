"""A model of the loss of a row, learned from rows whose loss is known: trees, and how far they may be believed."""

from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from detectors.boosted_trees import BoostedTrees, Table

FEWEST_ROWS: Final = 200
"""Labelled rows below which nothing but their mean is learned."""
FOLDS: Final = 5
"""Parts of the reference, each estimated by what the others taught."""
FEWEST_CHUNKS: Final = 8
"""So many chunks of the reference are needed to tell how far chunks lie from their estimates."""
Z: Final = 1.959964
"""Half width of a 95 % interval in standard errors."""
LARGEST: Final = 1e100
"""What a loss counts as at most, so that its square is a number."""


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


@dataclass(frozen=True, slots=True)
class LossModel:
    """Models of the loss and, where it is no matter of yes and no, of its square; None for a constant.

    ``constant`` is the mean and the variance of the losses of the ``rows`` that it was learned from, ``dispersion`` by
    how much chunks of them lay further from their estimates than independent rows would.
    """

    binary: bool
    loss: BoostedTrees | None
    square: BoostedTrees | None
    constant: tuple[float, float]
    rows: int
    dispersion: float = 1.0

    @classmethod
    def learn(cls, table: Table, categories: list[int], losses: NDArray[np.float64], *, chunk_rows: int) -> Self:
        """Learn from n > 0 rows in their order and their losses, which are numbers; for chunks of ``chunk_rows``."""
        losses = np.minimum(losses, LARGEST)
        return replace(
            cls._fit(table, categories, losses), dispersion=cls._dispersion(table, categories, losses, chunk_rows)
        )

    @classmethod
    def _fit(cls, table: Table, categories: list[int], losses: NDArray[np.float64]) -> Self:
        binary = bool(np.isin(losses, (0.0, 1.0)).all())
        constant = float(losses.mean()), float(losses.var())
        if len(losses) < FEWEST_ROWS or losses.min() == losses.max() or not table.shape[1]:
            return cls(binary, None, None, constant, len(losses))
        loss = BoostedTrees.fit(table, categories, losses, binary=binary)
        square = None if binary else BoostedTrees.fit(table, categories, losses**2, binary=False)
        return cls(binary, loss, square, constant, len(losses))

    def expected(self, table: Table) -> Expected:
        """The losses to be expected of rows."""
        if self.loss is None:
            mean, variance = (np.full(len(table), value) for value in self.constant)
            return Expected(mean, variance)
        if self.square is None:
            mean = self.loss.predict(table)
            return Expected(mean, mean * (1 - mean))
        mean = np.maximum(self.loss.predict(table), 0.0)
        return Expected(mean, np.maximum(self.square.predict(table) - mean**2, 0.0))

    def over(self, expected: Expected, rows: int | None = None) -> Estimate:
        """The mean over a chunk of ``rows``, of which ``expected`` are a random sample; without it, over these.

        What is not known of it: how the losses of the chunk will fall, how they fell of the rows learned from, and what
        the rows would say that are not in the sample.
        """
        sample = len(expected.mean)
        rows = sample if rows is None else max(rows, sample)
        mean = float(expected.mean.mean())
        fall = self.dispersion**2 * float(expected.variance.mean()) / rows
        learned = self.dispersion**2 * float(expected.variance.mean()) / self.rows
        sampled = float(expected.mean.var()) / sample * (1 - sample / rows)
        half = Z * float(np.sqrt(fall + learned + sampled))
        return Estimate(rows, mean, max(0.0, mean - half), mean + half)

    @classmethod
    def _dispersion(cls, table: Table, categories: list[int], losses: NDArray[np.float64], chunk_rows: int) -> float:
        """The spread of chunks around their estimates, in standard errors of independent rows; at least 1.

        Each part of the rows is estimated by models of the others. Where they are too few for chunks of that length,
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
            found = cls._fit(table[~held_out], categories, losses[~held_out]).expected(table[held_out])
            expected[held_out], variance[held_out] = found.mean, found.variance
        chunks = count // length
        missed = (losses - expected)[: chunks * length].reshape(chunks, length).sum(axis=1)
        spread = variance[: chunks * length].reshape(chunks, length).sum(axis=1)
        scores = missed[spread > 0] / np.sqrt(spread[spread > 0])
        return max(1.0, float(np.sqrt((scores**2).mean()))) if len(scores) else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for msgpack."""
        return {
            "binary": self.binary,
            "loss": None if self.loss is None else self.loss.to_dict(),
            "square": None if self.square is None else self.square.to_dict(),
            "constant": list(self.constant),
            "rows": self.rows,
            "dispersion": self.dispersion,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The reverse of ``to_dict``."""
        loss, square = (
            None if data[name] is None else BoostedTrees.from_dict(data[name]) for name in ("loss", "square")
        )
        mean, variance = data["constant"]
        return cls(data["binary"], loss, square, (mean, variance), data["rows"], data["dispersion"])
