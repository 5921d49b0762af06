"""Performance without labels, a chunk of rows after the other: what `driftd replay --estimates` writes."""

from collections import deque
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daemon.events.tabular import Table
from daemon.monitoring import tasks
from daemon.monitoring.schema import FEATURE_PREFIX
from daemon.monitoring.tasks import Task
from detectors.columns import Columns, Stream, concatenate
from detectors.estimate_check import EstimateCheck
from detectors.loss_estimate import LossEstimate

CHUNK_ROWS: Final = 5_000


@dataclass(frozen=True, slots=True)
class ChunkEstimate:
    """Accuracy (or mean absolute error) of rows ``first_row`` to ``last_row``, estimated with an interval of 95 %.

    ``real`` is what their labels say, None without any. ``wrong_since`` is the row at which the labels that had come
    by then showed that estimates are wrong, the last time that they did.
    """

    first_row: int
    last_row: int
    metric: str
    estimate: float
    low: float
    high: float
    real: float | None
    wrong_since: int | None


@dataclass(slots=True)
class _Rows:
    columns: Columns
    losses: NDArray[np.float64]  # NaN where there is no label


class ChunkEstimates:
    """Estimates chunks of ``chunk_rows``, once it has learned from rows with labels.

    Those are given (``learn``), or else the first ``reference_rows``; no row is judged before their labels have come,
    ``delay`` rows later. ``task`` is inferred from the first rows where it is None.
    """

    def __init__(
        self, task: Task | None, reference_rows: int, delay: int, tolerance: float, chunk_rows: int = CHUNK_ROWS
    ) -> None:
        self._task = task
        self._reference_rows = reference_rows
        self._delay = delay
        self._tolerance = tolerance
        self._chunk_rows = chunk_rows
        self._model: LossEstimate | None = None
        self._check: EstimateCheck | None = None
        self._waiting: list[_Rows] = []
        self._unchecked: deque[tuple[int, float, float]] = deque()  # row, expected and real loss
        self._wrong_since: int | None = None

    def learn(self, tables: list[Table]) -> None:
        """Learn from labelled rows. Raises ValueError where none has prediction and label."""
        rows = _joined([self._rows(piece, piece.labels) for piece in tables])
        self._learn(rows)

    def take(self, piece: Table, labels: list[Any] | None) -> list[ChunkEstimate]:
        """Take in a piece of history; answer the chunks that are complete now."""
        self._waiting.append(self._rows(piece, labels))
        now = piece.first + len(piece)
        if self._model is None and not self._learn_from_first(now):
            return []
        rows = _joined(self._waiting)
        found = []
        start = 0
        while len(rows.columns) - start >= self._chunk_rows:
            found.append(self._chunk(_slice(rows, start, start + self._chunk_rows)))
            start += self._chunk_rows
        self._waiting = [_slice(rows, start, len(rows.columns))] if start < len(rows.columns) else []
        return found

    def end(self) -> list[ChunkEstimate]:
        """The rows that are left: one chunk that is shorter."""
        rows, self._waiting = self._waiting, []
        return [self._chunk(rows[0])] if self._model is not None and rows and len(rows[0].columns) else []

    def _learn_from_first(self, now: int) -> bool:
        rows = _joined(self._waiting)
        known = rows.columns.rows + self._delay < now
        places = np.flatnonzero(np.isfinite(rows.losses) & known)[: self._reference_rows]
        if len(places) < self._reference_rows:
            return False
        stop = int(places[-1]) + 1
        self._learn(_slice(rows, 0, stop))
        self._waiting = [_slice(rows, stop + self._delay, len(rows.columns))]
        return True

    def _learn(self, rows: _Rows) -> None:
        self._model = LossEstimate.learn(rows.columns, rows.losses, chunk_rows=self._chunk_rows)
        self._check = EstimateCheck(binary=self._task is not Task.REGRESSION, tolerance=self._tolerance)

    def _chunk(self, rows: _Rows) -> ChunkEstimate:
        assert self._model is not None  # noqa: S101 (the caller has learned)
        expected = self._model.expected(rows.columns)
        estimate = self._model.over(expected)
        last = int(rows.columns.rows[-1])
        labelled = np.flatnonzero(np.isfinite(rows.losses))
        triples = (rows.columns.rows[labelled], expected.mean[labelled], rows.losses[labelled])
        self._unchecked.extend(zip(*(one.tolist() for one in triples), strict=True))
        self._reconcile(last)
        real = float(rows.losses[labelled].mean()) if len(labelled) else None
        first = int(rows.columns.rows[0])
        if self._task is Task.REGRESSION:
            shown = ("mae", estimate.mean, estimate.low, estimate.high, real)
        else:
            accuracy = None if real is None else 1 - real
            shown = ("accuracy", 1 - estimate.mean, 1 - min(estimate.high, 1.0), 1 - estimate.low, accuracy)
        return ChunkEstimate(first, last, *shown, self._wrong_since)

    def _reconcile(self, last: int) -> None:
        """Check what was estimated against the labels that have come by row ``last``."""
        assert self._check is not None  # noqa: S101 (the caller has learned)
        due = []
        while self._unchecked and self._unchecked[0][0] + self._delay <= last:
            due.append(self._unchecked.popleft())
        if due:
            rows, expected, losses = (np.array(one) for one in zip(*due, strict=True))
            wrong = self._check.update(expected, losses)
            if wrong:
                self._wrong_since = int(rows[wrong[-1]]) + self._delay

    def _rows(self, piece: Table, labels: list[Any] | None) -> _Rows:
        predictions = piece.predictions
        scored = bool(np.isfinite(predictions.scores).any())
        if self._task is None:
            self._task = tasks.infer(predictions.values, scored=scored)
        made = tasks.column(predictions.values, self._task)
        values = {FEATURE_PREFIX + name: column for name, column in predictions.features.items()}
        values |= {"prediction": made, "score": predictions.scores}
        losses = np.full(len(piece), np.nan)
        if labels is not None:
            losses = tasks.error(made, tasks.column(labels, self._task), self._task)
        rows = np.arange(piece.first, piece.first + len(piece))
        return _Rows(Columns(Stream.FEATURES, rows, predictions.ts, values), losses)


def _joined(parts: list[_Rows]) -> _Rows:
    if len(parts) == 1:
        return parts[0]
    return _Rows(concatenate([one.columns for one in parts]), np.concatenate([one.losses for one in parts]))


def _slice(rows: _Rows, start: int, stop: int) -> _Rows:
    return _Rows(rows.columns.slice(start, stop), rows.losses[start:stop])
