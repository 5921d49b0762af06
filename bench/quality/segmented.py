"""A model whose traffic is in segments, watched by the monitor that the daemon runs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.events.rows import Labels, Predictions, Rows
from daemon.monitoring.monitors import make_monitor
from daemon.settings import ModelSettings
from detectors.base import Verdict

SEED = 88_017
"""Not one that anything was set by."""
SEGMENTS = 20
BATCH = 2_500
CHANGE = 10_000
WITH, WITHOUT = "driftd, with segments", "driftd, the model's detectors only"
CHOSEN: dict[str, tuple[str, ...]] = {WITH: ("carried",), WITHOUT: ()}
"""What ``DRIFTD_SEGMENTS`` is in either case."""


@dataclass(frozen=True)
class Batch:
    """Rows ``first`` and on, as they are drawn: a change is made in place."""

    first: int
    segments: NDArray[np.int64]
    features: NDArray[np.float64]
    wrong: NDArray[np.bool_]
    rng: np.random.Generator

    @property
    def rows(self) -> NDArray[np.int64]:
        """Their numbers."""
        return self.first + np.arange(len(self.segments))


Change = Callable[[Batch], None]


def unchanged(_: Batch) -> None:
    """Nothing happens."""


class Watched:
    """A model that is watched: a batch a call, labels at once, a prediction in ten wrong."""

    def __init__(self, seed: int, features: int, **settings: Any) -> None:
        self.monitor = make_monitor("bench", ModelSettings(**settings))
        self._rng = np.random.default_rng(seed)
        self._features = features
        self.rows = 0
        self.seconds = 0.0
        """Processor time of the monitor."""

    def take(self, change: Change = unchanged) -> list[Verdict]:
        """Draw a batch, let ``change`` have its way, and say what is raised."""
        rng, ids = self._rng, [str(row) for row in range(self.rows, self.rows + BATCH)]
        drawn = Batch(
            self.rows,
            rng.integers(0, SEGMENTS, BATCH),
            rng.normal(size=(BATCH, self._features)),
            rng.random(BATCH) < 0.1,
            rng,
        )
        change(drawn)
        predictions = rng.integers(0, 2, BATCH)
        order, ts = 2 * np.arange(BATCH), drawn.rows.astype(np.float64)
        columns = {f"f{place}": drawn.features[:, place] for place in range(self._features)}
        segments = [{"channel": f"s{one}"} for one in drawn.segments.tolist()]
        nothing = [None] * BATCH
        made = Predictions(
            order, ids, ts, nothing, segments, predictions.tolist(), np.full(BATCH, np.nan), None, columns, None
        )
        labels = Labels(order + 1, ids, ts, (predictions ^ drawn.wrong).tolist())
        began = time.process_time()
        self.monitor.take(Rows(made, labels, None, float(ts[-1])), 0.0)
        found = self.monitor.take_findings().verdicts
        self.seconds += time.process_time() - began
        self.rows += BATCH
        return [one for one in found if not one.recovered]
