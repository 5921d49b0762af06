"""Predictions and their labels -> the outcome stream."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon import tasks
from daemon.labels import BY_PREDICTION, Joined
from daemon.rows import Labels, Predictions
from daemon.serving import Serving
from daemon.tasks import Task
from detectors.columns import Columns, Stream


@dataclass(slots=True)
class Pairs:
    """Predictions with their labels, in the order in which they were completed.

    ``rows`` are those of the predictions, ``at`` the newest row at the time, ``ts`` the time of what completed the pair.
    """

    rows: list[int] = field(default_factory=list)
    predictions: list[Any] = field(default_factory=list)
    versions: list[str | None] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    ts: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def each(self) -> list[tuple[Any, ...]]:
        """One after the other."""
        return list(zip(*_lists(self), strict=True))

    def columns(self, task: Task, serving: Serving) -> Columns:
        """Label and error of the rows that the version in service has made."""
        rows = np.array(self.rows, dtype=np.int64)
        labels = tasks.column(self.labels, task)
        errors = tasks.error(tasks.column(self.predictions, task), labels, task)
        columns = Columns(Stream.OUTCOME, rows, np.array(self.ts, dtype=np.float64), {"label": labels, "error": errors})
        own = serving.own(self.versions)
        if own is None and (not serving.from_row or int(rows.min(initial=serving.from_row)) >= serving.from_row):
            return columns
        keep = np.zeros(len(rows), dtype=bool)
        keep[slice(None) if own is None else own] = True
        keep &= (rows >= serving.from_row) | np.array([version is not None for version in self.versions])
        return only(columns, np.flatnonzero(keep))


def pairs_of(
    joined: Joined,
    first_row: int,
    next_rows: NDArray[np.int64],
    predictions: Predictions | None,
    labels: Labels | None,
) -> Pairs:
    """What was joined, in order.

    ``first_row`` is that of the first of ``predictions``; ``next_rows`` are, for each of ``labels``, the row that the
    next prediction after it gets.
    """
    places = np.array(joined.label_places, dtype=np.int64)
    rows = np.array(joined.rows, dtype=np.int64)
    by_label = places != BY_PREDICTION
    order, ts = np.empty(len(rows)), np.empty(len(rows))
    at = rows.copy()
    if labels is not None:
        order[by_label], ts[by_label] = labels.order[places[by_label]], labels.ts[places[by_label]]
        at[by_label] = next_rows[places[by_label]] - 1
    pairs = Pairs(joined.rows, joined.predictions, joined.versions, joined.labels, at.tolist(), ts.tolist())
    if by_label.all() or predictions is None:
        return pairs
    own = rows[~by_label] - first_row
    order[~by_label], ts[~by_label] = predictions.order[own], predictions.ts[own]
    sort = np.argsort(order, kind="stable").tolist()
    pairs.ts = ts.tolist()
    return Pairs(*([values[place] for place in sort] for values in _lists(pairs)))


def _lists(pairs: Pairs) -> tuple[list[Any], ...]:
    return pairs.rows, pairs.predictions, pairs.versions, pairs.labels, pairs.at, pairs.ts


def only(columns: Columns, places: NDArray[np.int64]) -> Columns:
    """The rows at ``places``."""
    values = {name: column[places] for name, column in columns.values.items()}
    return Columns(columns.stream, columns.rows[places], columns.ts[places], values)
