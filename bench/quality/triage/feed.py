"""The daemon's own monitor, its own settings, and what it says."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.quality.triage.model import Model
from bench.quality.triage.world import Batch
from daemon.events.rows import Labels, Predictions, Rows
from daemon.monitoring.monitor import Monitor
from daemon.monitoring.second_looks import Renamed
from daemon.replay import WouldTrain
from detectors.base import Verdict
from detectors.cause import CAUSE, Cause

BATCH = 500


@dataclass
class Feed:
    """A monitor that is given rows, their predictions, and their labels when they are due."""

    monitor: Monitor
    delay: int
    row: int = 0
    waiting: list[tuple[int, int]] = field(default_factory=list)
    said: list[Verdict | Renamed] = field(default_factory=list)

    def take(self, batch: Batch, model: Model, version: str) -> None:
        for start in range(0, len(batch), BATCH):
            self._take(batch.at(np.arange(start, min(start + BATCH, len(batch)))), model, version)

    def _take(self, batch: Batch, model: Model, version: str) -> None:
        rows = np.arange(self.row, self.row + len(batch))
        self.row += len(batch)
        predictions = predicted(batch, model, version, rows)
        self.waiting += zip(rows.tolist(), batch.labels.tolist(), strict=True)
        due = [one for one in self.waiting if one[0] + self.delay < self.row]
        del self.waiting[: len(due)]
        order = 2 * (np.array([row for row, _ in due], dtype=np.int64) + self.delay) + 1
        order = np.maximum(order, 2 * rows[0] + 1)
        labels = Labels(order, [str(row) for row, _ in due], order.astype(float), [label for _, label in due])
        self.monitor.take(Rows(predictions, labels if due else None, None, float(rows[-1])), 0.0)
        findings = self.monitor.take_findings()
        self.said += (*findings.verdicts, *findings.renamed)


def predicted(batch: Batch, model: Model, version: str | None, rows: NDArray[np.int64]) -> Predictions:
    scores = model.scores(batch.features)
    nothing: list[Any] = [None] * len(rows)
    ids = [str(row) for row in rows.tolist()]
    values = (scores >= 0.5).astype(int).tolist()
    columns: Any = batch.features
    versions = [version] * len(rows)
    return Predictions(2 * rows, ids, rows.astype(float), versions, nothing, values, scores, None, columns, None)


@dataclass
class Run:
    """What was said after the change."""

    first: Cause | None
    last: Cause | None
    rows: int | None
    breakage: str | None
    trained: bool


def judge(said: list[Verdict | Renamed], change: int, would_train: WouldTrain) -> Run:
    first = last = rows = breakage = None
    trained = False
    for one in said:
        if isinstance(one, Renamed):
            trains, cause = bool(would_train.rename("model", one)), one.cause
        else:
            trains, cause = would_train("model", one), one.evidence.get(CAUSE, {})
        if one.row < change or not cause:
            continue
        trained = trained or trains
        name = Cause(cause["name"])
        if name is Cause.UNKNOWN:
            continue
        if first is None:
            first, rows, breakage = name, one.row - change + 1, cause.get("breakage")
        last = name
    return Run(first, last, rows, breakage, trained)
