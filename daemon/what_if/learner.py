"""Trains models on rows of a history, with one of the built-in algorithms."""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.events.tabular import CannotRead
from daemon.monitoring.tasks import Task
from daemon.what_if.history import History


@dataclass(frozen=True, slots=True)
class Said:
    """Predictions of some rows, as events would have them, and their scores (NaN where there is none)."""

    values: list[Any]
    scores: NDArray[np.float64]


@dataclass(slots=True)
class Learner:
    """Counts the models that it trains, and the seconds of one processor that they take."""

    history: History
    algorithm: str = "random_forest"
    seed: int = 0
    fits: int = 0
    seconds: float = field(default=0.0)

    def fit(self, rows: NDArray[np.int64]) -> Any:
        """A model that has learned from labelled rows. Raises CannotRead where they teach nothing."""
        began = time.process_time()
        model = self._fit(rows)
        self.seconds += time.process_time() - began
        self.fits += 1
        return model

    def predict(self, model: Any, rows: NDArray[np.int64]) -> Said:
        """What a model says of rows."""
        frame = self.history.frame(rows)
        if self.history.task is Task.REGRESSION:
            return Said(np.asarray(model.predict(frame), dtype=np.float64).tolist(), np.full(len(rows), np.nan))
        chances = np.asarray(model.predict_proba(frame), dtype=np.float64)
        # of two classes the chance of the second, of many that of the likeliest
        scores = chances[:, 1] if chances.shape[1] == 2 else chances.max(axis=1)  # noqa: PLR2004 (binary)
        return Said(model.classes_[chances.argmax(axis=1)].tolist(), scores)

    def judged(self, rows: NDArray[np.int64], count: int) -> Said:
        """What a model of the earlier rows says of the last ``count``; its cost is not counted: a gate has the like."""
        return self.predict(self._fit(rows[:-count]), rows[-count:])

    def _fit(self, rows: NDArray[np.int64]) -> Any:
        from retrain.trainers.algorithms import ALGORITHMS, usable_inputs

        if self.algorithm not in ALGORITHMS:
            raise CannotRead(f"no algorithm is called {self.algorithm!r}; known are {', '.join(ALGORITHMS)}")
        frame = self.history.frame(rows)
        inputs = usable_inputs(frame)
        if not inputs.names:
            raise CannotRead(f"in {len(rows)} rows no feature tells them apart")
        target = self.history.labels[rows]
        if target.dtype == object:
            target = target.astype(str)
        return ALGORITHMS[self.algorithm](inputs, self.history.task.value, self.seed).fit(frame, target)
