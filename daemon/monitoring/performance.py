"""Real performance: how good the version in service is over its latest labelled rows, with intervals of 95 %."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from daemon.monitoring import class_report
from daemon.monitoring.class_metrics import accuracy
from daemon.monitoring.labelled import LabelledRows, Outcomes, Revision
from daemon.monitoring.number_metrics import mean_absolute_error, root_mean_squared_error
from daemon.monitoring.tasks import Task
from detectors.bins import CategoryBins
from detectors.reference import FIRST_BIN, Reference


class Performance:
    """Figures over the last ``rows`` labelled predictions of the version in service.

    Of classes accuracy and F1, and where they came with scores AUC, log loss and calibration; of numbers mean absolute
    and root mean squared error. They are worked out when they are asked for, not with each row. ``positive`` is the
    class that a plain score is of, where somebody has said so.
    """

    def __init__(self, rows: int = 2_000, positive: str | None = None) -> None:
        self.positive = positive
        self.labelled = LabelledRows(rows)
        self._reported: dict[tuple[Any, ...], dict[str, Any] | None] = {}

    def add(self, outcomes: Outcomes) -> None:
        """Further rows; what is missing or invalid does not count."""
        self._reported = {}
        self.labelled.add(outcomes)

    def revise(self, revisions: Sequence[Revision], task: Task) -> None:
        """Labels that replace those of earlier rows."""
        self._reported = {}
        self.labelled.revise(revisions, task)

    def clear(self) -> None:
        """Begin again, for another version."""
        self._reported = {}
        self.labelled.clear()

    def report(self, task: Task, reference: float | None, classes: Sequence[str] = ()) -> dict[str, Any] | None:
        """The leading metric with its interval and the reference's value, and all ``metrics``; None without labels.

        ``reference`` is the mean error of the reference, ``classes`` are those that were predicted in it.
        """
        asked = (task, reference, *classes)
        if asked not in self._reported:
            self._reported = {asked: self._report(task, reference, classes)}
        return self._reported[asked]

    def _report(self, task: Task, reference: float | None, classes: Sequence[str]) -> dict[str, Any] | None:
        errors = self.labelled.errors
        errors = errors[np.isfinite(errors)]
        if not len(errors):
            return None
        positive = None
        if task is Task.REGRESSION:
            found = [mean_absolute_error(errors), root_mean_squared_error(errors)]
        else:
            named, labels, predictions, scores = self.labelled.of_classes()
            found = [accuracy(errors)]
            reference = None if reference is None else 1 - reference
            if task is Task.BINARY:
                positive = class_report.positive_class(self.positive, classes, named, predictions, scores)
                found += class_report.of_two_classes(positive, named, labels, predictions, scores)
            else:
                found += class_report.of_several_classes(named, labels, predictions, scores)
        first = found[0]
        return {
            "metric": first.metric,
            "value": first.value,
            "low": first.low,
            "high": first.high,
            "reference": reference,
            "rows": first.rows,
            "positive": positive,
            "metrics": [one.as_dict() for one in found],
        }

    # --- what is stored: the errors as older releases did, and apart from them what those did not keep

    def errors(self) -> bytes:
        """The errors, oldest first."""
        return self.labelled.errors.tobytes()

    def restore(self, errors: bytes, rows: Mapping[str, Any] | None) -> None:
        """Go on from ``errors`` and ``labelled.state()``, which older releases did not keep."""
        self._reported = {}
        self.labelled.restore(np.frombuffer(errors), rows)


def mean_of(reference: Reference, signal: str) -> float | None:
    """The mean of a number in the reference."""
    if signal not in reference.signals:
        return None
    place = reference.signals.index(signal)
    values = getattr(reference.bins[place], "values", None)
    if values is None:
        return None
    weights = reference.counts[place, FIRST_BIN : FIRST_BIN + len(values)]
    total = weights.sum()
    return float(weights @ values / total) if total else None


def classes_of(reference: Reference | None) -> Sequence[str]:
    """The classes that were predicted in the reference of the predictions, the frequent ones."""
    if reference is None or "prediction" not in reference.signals:
        return ()
    bins = reference.bins[reference.signals.index("prediction")]
    return tuple(bins.frequent) if isinstance(bins, CategoryBins) else ()
