"""All rows of a model's history at once: features, and what turned out to be right."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from daemon.events.columns import Column
from daemon.events.tabular import CannotRead, Table
from daemon.monitoring import tasks
from daemon.monitoring.tasks import Task

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class History:
    """n rows in order. ``labels`` is a column as the task has it: numbers, or classes as text; missing where unknown.

    ``timed`` says that ``ts`` is time; else it is the row's number.
    """

    features: dict[str, Column]
    labels: NDArray[Any]
    ts: NDArray[np.float64]
    task: Task
    timed: bool

    @classmethod
    def of(cls, pieces: Iterable[tuple[Table, list[Any] | None]], task: Task | None, *, timed: bool) -> Self:
        """From tables with the labels of their rows. Raises CannotRead where there is no feature or no label."""
        found = list(pieces)
        labels = [label for piece, some in found for label in (some or [None] * len(piece))]
        known = [label for label in labels if label is not None]
        if not known:
            raise CannotRead("policies are compared by what turned out to be right: name the labels with --label")
        names = found[0][0].predictions.features
        if not names:
            raise CannotRead("there is no feature to learn from")
        task = task or tasks.infer(known, scored=False)
        features = {name: _joined([piece.predictions.features[name] for piece, _ in found]) for name in names}
        ts = np.concatenate([piece.predictions.ts for piece, _ in found])
        return cls(features, tasks.column(labels, task), ts, task, timed)

    def __len__(self) -> int:
        return len(self.ts)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which rows have a label."""
        if self.labels.dtype == object:
            return np.array([label is not None for label in self.labels])
        return np.asarray(np.isfinite(self.labels))

    def frame(self, rows: NDArray[np.int64]) -> "pd.DataFrame":
        """Features of some rows, as the built-in algorithms take them."""
        import pandas as pd

        columns = {}
        for name, column in self.features.items():
            part = column[rows]
            if part.dtype == object:
                part = np.array([np.nan if value is None else value for value in part.tolist()], dtype=object)
            columns[name] = part
        return pd.DataFrame(columns)


def _joined(parts: list[Column]) -> Column:
    if any(part.dtype == object for part in parts):
        parts = [part.astype(object) for part in parts]
    return np.concatenate(parts)
