"""How strange each row of history is, in one pass: what `driftd replay --scores` writes."""

import numpy as np
from numpy.typing import NDArray

from daemon.events.tabular import Table
from daemon.monitoring.monitor import FEATURE_PREFIX, Monitor
from detectors.columns import Columns, Stream
from detectors.half_space_trees import HalfSpaceTrees

FALSE_ALARMS_DO_NOT_MATTER = 1_000_000.0
"""Only the scores are wanted."""


class RowScores:
    """Scores rows against the reference that is there when they come; before there is one, every row scores 0."""

    def __init__(self) -> None:
        self._trees: HalfSpaceTrees | None = None

    def of(self, monitor: Monitor | None, piece: Table) -> NDArray[np.float64]:
        """The scores of a piece, higher is stranger; ``monitor`` has not taken it yet."""
        reference = None if monitor is None else monitor.windows[Stream.FEATURES].reference
        if reference is None:
            return np.zeros(len(piece))
        if self._trees is None or reference is not self._trees.reference:
            self._trees = HalfSpaceTrees(reference, FALSE_ALARMS_DO_NOT_MATTER)
        values = {FEATURE_PREFIX + name: column for name, column in piece.predictions.features.items()}
        rows = np.arange(piece.first, piece.first + len(piece))
        return self._trees.scores(Columns(Stream.FEATURES, rows, piece.predictions.ts, values))
