"""Raises ANOMALY where strange rows become more frequent, whatever says how strange a row is."""

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.base import Verdict
from detectors.columns import Columns, Stream
from detectors.e_detector import EDetector
from detectors.laws import ANOMALY_SCORE
from detectors.reference import Reference
from detectors.summary import Summary, summarise

STRANGEST: Final = 5
"""So many rows are named in the evidence."""


class ScoreAlarm:
    """An e-detector on the anomaly score (see ``e_detector.py``), so that the budget of false alarms holds here too.

    ``usual`` are scores of rows of the reference, in order, by what was not learned from those rows. One strange row is
    rarely enough, a few of them close together are.
    """

    def __init__(self, name: str, usual: NDArray[np.float64], events_per_false_alarm: float, min_effect: float) -> None:
        law = Reference.learn(_as_columns(usual, np.arange(len(usual))))
        self._detector = EDetector(law, events_per_false_alarm, min_effect, name=name)

    def update(self, summary: Summary, columns: Columns, scores: NDArray[np.float64]) -> list[Verdict]:
        """Take in the rows of ``columns``, counted in ``summary``, with their scores; name the strangest of them."""
        return [
            verdict if verdict.recovered else _with_strangest(verdict, columns.rows, scores, int(summary.sizes[0]))
            for verdict in self.found(summary, columns, scores)
        ]

    def found(self, summary: Summary, columns: Columns, scores: NDArray[np.float64]) -> list[Verdict]:
        """The same for scores that are of more than their row, so that no row is to be named."""
        scored = _as_columns(scores, columns.rows, columns.ts)
        law, window = self._detector.reference, int(summary.sizes[0])
        counted = summarise(law.stream, law.signals, law.encode(scored), law.width, columns.rows, columns.ts, window)
        return self._detector.update(counted, scored)

    def state(self) -> dict[str, Any]:
        """Everything needed to go on later."""
        return self._detector.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``. Raises StateMismatch where it belongs to other scores."""
        self._detector.restore(state)


def _with_strangest(verdict: Verdict, rows: NDArray[np.int64], scores: NDArray[np.float64], window: int) -> Verdict:
    """The verdict with the strangest rows of the window in which it was found."""
    end = int(np.flatnonzero(rows == verdict.row)[-1]) + 1
    part = np.arange(max(0, end - window), end)
    strangest = part[np.argsort(-scores[part], kind="stable")[:STRANGEST]]
    found = [[int(rows[i]), round(float(scores[i]), 4)] for i in strangest]
    return replace(verdict, evidence={**verdict.evidence, "strangest": found}, ranking=())


def _as_columns(scores: NDArray[np.float64], rows: NDArray[np.int64], ts: NDArray[np.float64] | None = None) -> Columns:
    return Columns(Stream.FEATURES, rows, rows.astype(np.float64) if ts is None else ts, {ANOMALY_SCORE: scores})
