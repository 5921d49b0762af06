"""Predictions and their labels -> the outcome stream."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.events.rows import Labels, Predictions
from daemon.monitoring import tasks
from daemon.monitoring.labelled import Outcomes
from daemon.monitoring.labels import BY_PREDICTION, Joined
from daemon.monitoring.prediction_scores import Scores
from daemon.monitoring.serving import Serving
from daemon.monitoring.tasks import Task
from detectors.columns import Columns, Stream


@dataclass(frozen=True, slots=True)
class Pairs:
    """Predictions with their labels, in the order in which they were completed.

    ``rows`` are those of the predictions, ``at`` the newest row then, ``ts`` the time of what completed the pair.
    """

    rows: NDArray[np.int64]
    at: NDArray[np.int64]
    ts: NDArray[np.float64]
    predictions: Sequence[Any]
    versions: Sequence[str | None]
    labels: Sequence[Any]
    segments: Sequence[int] | None
    scores: Scores

    def outcomes(self, task: Task, serving: Serving) -> tuple[Columns, Outcomes]:
        """The rows that the version in service has made: label and error as a stream, and what performance needs."""
        labels, predictions = tasks.column(self.labels, task), tasks.column(self.predictions, task)
        errors = tasks.error(predictions, labels, task)
        segments = None if self.segments is None else np.array(self.segments, dtype=np.int64)
        columns = Columns(Stream.OUTCOME, self.rows, self.ts, {"label": labels, "error": errors}, segments)
        own = serving.own(self.versions)
        if own is None and (not serving.from_row or int(self.rows.min()) >= serving.from_row):
            return columns, Outcomes(self.rows, errors, predictions, labels, self.scores)
        keep = np.zeros(len(self.rows), dtype=bool)
        keep[slice(None) if own is None else own] = True
        keep &= (self.rows >= serving.from_row) | np.array([version is not None for version in self.versions])
        kept = np.flatnonzero(keep)
        outcomes = Outcomes(self.rows[kept], errors[kept], predictions[kept], labels[kept], self.scores.at(kept))
        return columns.at(kept), outcomes

    def state(self) -> list[Any]:
        """Plain values for msgpack, all but the scores."""
        return [
            self.rows.tolist(),
            self.at.tolist(),
            self.ts.tolist(),
            list(self.predictions),
            list(self.versions),
            list(self.labels),
            *([] if self.segments is None else [list(self.segments)]),
        ]

    @classmethod
    def restored(cls, state: list[Any], scores: Scores | None = None) -> "Pairs":
        """The reverse of ``state``, with these scores."""
        rows, at, ts, predictions, versions, labels, *segments = state
        return cls(
            np.array(rows, dtype=np.int64),
            np.array(at, dtype=np.int64),
            np.array(ts, dtype=np.float64),
            predictions,
            versions,
            labels,
            segments[0] if segments else None,
            Scores.none(len(rows)) if scores is None else scores,
        )


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
    rows = np.array(joined.rows, dtype=np.int64)
    places = np.array(joined.label_places, dtype=np.int64)
    by_label = places != BY_PREDICTION
    if labels is not None and by_label.all():
        ts = labels.ts[places]
        texts = joined.predictions, joined.versions, joined.labels, joined.segments, joined.scores
        return Pairs(rows, next_rows[places] - 1, ts, *texts)
    assert predictions is not None  # noqa: S101 (one of the two has completed each pair)
    order, ts, at = np.empty(len(rows)), np.empty(len(rows)), rows.copy()
    if labels is not None:
        known = places[by_label]
        order[by_label], ts[by_label], at[by_label] = labels.order[known], labels.ts[known], next_rows[known] - 1
    own = rows[~by_label] - first_row
    order[~by_label], ts[~by_label] = predictions.order[own], predictions.ts[own]
    sort = np.argsort(order, kind="stable")
    predictions_of, versions_of, labels_of = (
        [values[place] for place in sort] for values in (joined.predictions, joined.versions, joined.labels)
    )
    segments = None if joined.segments is None else [joined.segments[place] for place in sort]
    return Pairs(
        rows[sort], at[sort], ts[sort], predictions_of, versions_of, labels_of, segments, joined.scores.at(sort)
    )
