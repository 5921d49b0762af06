"""Performance without labels: the loss of a row, estimated from what is known before its label comes.

Direct loss estimation: a model of the loss is learned on labelled rows from the features, the prediction and the score,
and its mean over unlabelled rows is the estimate. Where the score alone told how often a prediction is wrong, this
would be confidence-based estimation (Guillory et al. 2021, "Predicting with confidence on unseen distributions"); the
features tell in addition in which region the score is too sure of itself. It sees a change of the features, and none
of what the labels are for the same features: ``estimate_check`` notices that, once there are labels.
"""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from detectors.boosted_trees import Table
from detectors.columns import Columns
from detectors.loss_model import Estimate, Expected, LossModel
from detectors.reference import Reference


class LossEstimate:
    """Estimates losses as they were on ``reference`` rows: 0 or 1 for classes, numbers from 0 on else."""

    def __init__(self, reference: Reference, model: LossModel) -> None:
        self.reference = reference
        self.model = model

    @classmethod
    def learn(cls, columns: Columns, losses: NDArray[np.float64], *, chunk_rows: int) -> Self:
        """Learn from rows (n of them, all signals that are known before the label) and their n losses.

        The interval is for chunks of ``chunk_rows``. Rows whose loss is not finite do not count. Raises ValueError
        where none is.
        """
        known = np.flatnonzero(np.isfinite(losses))
        if not len(known):
            raise ValueError("no row with a loss to learn from")
        rows = columns.at(known)
        reference = Reference.learn(rows)
        model = LossModel.learn(
            table_of(reference, rows), categories_of(reference), losses[known], chunk_rows=chunk_rows
        )
        return cls(reference, model)

    @property
    def dispersion(self) -> float:
        """By how much chunks of the reference lay further from their estimates than independent rows would."""
        return self.model.dispersion

    def expected(self, columns: Columns) -> Expected:
        """The losses to be expected of rows."""
        return self.model.expected(table_of(self.reference, columns))

    def over(self, expected: Expected) -> Estimate:
        """The mean over a chunk of rows."""
        return self.model.over(expected)


def table_of(reference: Reference, columns: Columns) -> Table:
    """Rows as a model of the loss takes them: n by the reference's signals, a category by the number of its bin."""
    points = reference.points(columns)
    points[np.isinf(points)] = np.nan
    return points


def categories_of(reference: Reference) -> list[int]:
    """Which of these columns are categories."""
    return [place for place, kind in enumerate(reference.kinds) if kind == "category"]
