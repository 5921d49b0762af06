"""Real performance over the latest labelled rows, with an interval."""

from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.monitoring.tasks import Task
from detectors.reference import FIRST_BIN, Reference

CONFIDENCE = 0.95
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


class Performance:
    """Accuracy of classes, mean absolute error of numbers, over the last ``rows`` labelled predictions."""

    def __init__(self, rows: int = 2_000) -> None:
        self.rows = rows
        self._errors: NDArray[np.float64] = np.empty(0)

    def add(self, errors: NDArray[np.float64]) -> None:
        """Further errors; what is missing or invalid does not count."""
        self._errors = np.concatenate((self._errors, errors[np.isfinite(errors)]))[-self.rows :]

    def clear(self) -> None:
        """Begin again, for another version."""
        self._errors = np.empty(0)

    def report(self, task: Task, reference: float | None) -> dict[str, Any] | None:
        """Metric, value, interval of 95 % and the reference's value; None where nothing is labelled yet.

        The interval is Wilson's (1927) for a proportion and the normal one for a mean, both for independent rows.
        ``reference`` is the mean error of the reference.
        """
        count = len(self._errors)
        if not count:
            return None
        mean = float(self._errors.mean())
        if task is Task.REGRESSION:
            spread = sqrt(float(((self._errors - mean) ** 2).sum()) / max(count - 1, 1) / count)
            low, high = max(0.0, mean - Z * spread), mean + Z * spread
            return _report("mae", count, mean, low, high, reference)
        low, high = map(float, wilson(1 - mean, count))
        return _report("accuracy", count, 1 - mean, low, high, None if reference is None else 1 - reference)

    def state(self) -> bytes:
        """The errors, oldest first."""
        return self._errors.tobytes()

    def restore(self, errors: bytes) -> None:
        """Go on from ``state``."""
        self._errors = np.frombuffer(errors)


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


def wilson(
    share: NDArray[np.float64] | float, count: NDArray[np.float64] | float, z: float = Z
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's interval for proportions of ``count`` rows, of 95 % unless ``z`` says otherwise."""
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return np.maximum(0.0, middle - half), np.minimum(1.0, middle + half)


def _report(metric: str, rows: int, value: float, low: float, high: float, reference: float | None) -> dict[str, Any]:
    return {"metric": metric, "value": value, "low": low, "high": high, "reference": reference, "rows": rows}
