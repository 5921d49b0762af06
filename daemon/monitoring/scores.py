"""How strange each row of history is, in one pass: what `driftd replay --scores` writes."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from daemon.events.tabular import Table
from daemon.monitoring.monitor import Monitor
from daemon.monitoring.schema import FEATURE_PREFIX
from detectors.columns import Columns, Stream, concatenate
from detectors.reference import Reference
from detectors.series_scores import SeriesScores
from detectors.tail_scores import TailScores

FALSE_ALARMS_DO_NOT_MATTER = 1_000_000.0
"""Only the scores are wanted."""
SERIES_ROWS: Final = 200
"""A single series is scored from here on, unless asked otherwise: it goes on learning from what it scores."""


class RowScores:
    """Scores rows beside those before them, beginning with the reference's.

    Where no reference is given it is the first ``reference_rows`` rows, of a single number the first ``series_rows``,
    and these score 0. From where a model gets another one, its rows are scored by that.
    """

    def __init__(self, reference_rows: int, series_rows: int) -> None:
        self._reference_rows = reference_rows
        self._series_rows = series_rows
        self._first: list[Columns] = []
        self._scorer: TailScores | SeriesScores | None = None
        self._given: Reference | None = None

    def of(self, monitor: Monitor | None, piece: Table) -> NDArray[np.float64]:
        """The scores of a piece, higher is stranger; ``monitor`` has not taken it yet."""
        values = {FEATURE_PREFIX + name: column for name, column in piece.predictions.features.items()}
        rows = np.arange(piece.first, piece.first + len(piece))
        columns = Columns(Stream.FEATURES, rows, piece.predictions.ts, values)
        given = None if monitor is None else monitor.windows[Stream.FEATURES].reference
        if given is not None and given is not self._given:
            if self._scorer is None or self._given is not None:
                self._scorer = _scorer(given)
            self._given = given
        return self._begin(columns) if self._scorer is None else self._scorer.scores(columns)

    def _begin(self, columns: Columns) -> NDArray[np.float64]:
        """The first rows, until there are enough to learn from, and what comes after them in the same piece."""
        scores = np.zeros(len(columns))
        self._first.append(columns)
        needed = self._series_rows if _is_series(columns) else self._reference_rows
        missing = needed - sum(map(len, self._first[:-1]))
        if columns.values and len(columns) >= missing:
            self._scorer = _scorer(Reference.learn(concatenate(self._first).slice(0, needed)))
            scores[missing:] = self._scorer.scores(columns.slice(missing, len(columns)))
            self._first = []
        return scores


def _is_series(columns: Columns) -> bool:
    return len(columns.values) == 1 and all(column.dtype != object for column in columns.values.values())


def _scorer(reference: Reference) -> TailScores | SeriesScores:
    """A single number is a time series; the rows of anything else are taken as rows."""
    if reference.kinds == ("number",):
        return SeriesScores(reference, FALSE_ALARMS_DO_NOT_MATTER)
    return TailScores(reference, FALSE_ALARMS_DO_NOT_MATTER)
