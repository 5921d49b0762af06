"""Serves a history once under each policy, and says what came of it."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from daemon.events.tabular import CannotRead
from daemon.monitoring import tasks
from daemon.monitoring.tasks import Task
from daemon.settings import ModelSettings
from daemon.what_if.history import History
from daemon.what_if.learner import Learner
from daemon.what_if.ours import Ours
from daemon.what_if.policies import Every, Policy

STEP: Final = 100
"""Rows that are served between two looks at a policy."""
CALENDAR: Final = (("never", None), ("every 1,000 rows", 1_000), ("every 200 rows", 200))
"""Never and always are printed beside whatever is compared: between them every policy lies."""
NOBODY: Final = "last label again"
"""No model at all: the latest label that is known is the prediction."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a policy over ``rows`` served rows.

    ``error`` is the share of wrong predictions, or the mean absolute error of numbers; ``seconds`` is the time of one
    processor that its trainings took.
    """

    policy: str
    rows: int
    alarms: int
    retrains: int
    error: float
    seconds: float


class Comparison:
    """All policies on the same rows: each begins with the same model of the first ``reference_rows`` labelled rows."""

    def __init__(self, history: History, settings: ModelSettings, delay: int) -> None:
        self._history = history
        self._settings = settings
        self._delay = delay
        self.progress: Callable[[int], None] = lambda _rows: None
        """Is called with further rows that were served; they add up to ``work``."""
        labelled = np.flatnonzero(history.labelled)
        self._first = labelled[: settings.reference_rows]
        if len(labelled) <= settings.reference_rows:
            raise CannotRead(
                f"{len(labelled):,} rows have a label: more than {settings.reference_rows:,} are needed, of which the"
                f" first {settings.reference_rows:,} make the first model (--reference-rows)"
            )
        self._start = int(self._first[-1]) + 1

    @property
    def served(self) -> int:
        """Rows that each policy serves: those after the first model's."""
        return len(self._history) - self._start

    @property
    def work(self) -> int:
        """Rows that will be served by all policies together."""
        return (len(CALENDAR) + 1) * self.served

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """One after the other. Raises CannotRead where nothing can be learned."""
        yield self._without_model()
        for name, rows in CALENDAR:
            learner = self._learner()
            yield await self._serve(Every(name, rows), learner)
        with TemporaryDirectory(prefix="driftd-what-if-") as folder:
            learner = self._learner()
            ours = await Ours.open(Path(folder), self._history, learner, self._settings, self._delay)
            try:
                yield await self._serve(ours, learner)
            finally:
                await ours.close()

    def _learner(self) -> Learner:
        chosen = self._settings.retrain
        return Learner(self._history, (chosen.algorithms or ("random_forest",))[0], chosen.seed)

    async def _serve(self, policy: Policy, learner: Learner) -> Outcome:
        history = self._history
        labelled = np.flatnonzero(history.labelled)
        model = learner.fit(self._first)
        await policy.begin(self._first)
        losses = []
        for start in range(self._start, len(history), STEP):
            stop = min(start + STEP, len(history))
            said = learner.predict(model, np.arange(start, stop))
            losses.append(self._losses(start, said.values))
            policy.served(start, said)
            known = labelled[: np.searchsorted(labelled, stop - self._delay)]
            rows = await policy.after(start, stop, known)
            if rows is not None and _teaches(history, rows):
                model = learner.fit(rows)
                await policy.trained(rows, stop)
            self.progress(stop - start)
        error = np.concatenate(losses)
        return Outcome(
            policy.name, self.served, policy.alarms, learner.fits - 1, float(np.nanmean(error)), learner.seconds
        )

    def _losses(self, start: int, values: list[Any]) -> Any:
        said = tasks.column(values, self._history.task)
        return tasks.error(said, self._history.labels[start : start + len(values)], self._history.task)

    def _without_model(self) -> Outcome:
        history = self._history
        labelled = np.flatnonzero(history.labelled)
        rows = np.arange(self._start, len(history))
        latest = labelled[np.searchsorted(labelled, np.maximum(rows - self._delay, self._start)) - 1]
        error = tasks.error(history.labels[latest], history.labels[rows], history.task)
        return Outcome(NOBODY, len(rows), 0, 0, float(np.nanmean(error)), 0.0)


def _teaches(history: History, rows: Any) -> bool:
    """Whether there is anything to tell apart."""
    return history.task is Task.REGRESSION or len(np.unique(history.labels[rows].astype(str))) > 1
