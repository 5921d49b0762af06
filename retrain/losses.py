"""Losses of recorded or made predictions, and how well probabilities are calibrated."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy import float64
from numpy.typing import NDArray

CAP: Final = {"error": 5.0, "squared": 15.0}
"""Losses of numbers are cut off at so many times the champion's mean loss, because a bound on a mean needs bounded
values. Of errors of a normal law that is 1 in 15,000 (absolute) and 1 in 9,000 (squared)."""
CALIBRATION_BINS: Final = 10


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model said of some rows.

    ``values``: class texts (object, None where it said nothing) or float64 (NaN likewise). ``probabilities``: float64
    of shape (rows, len(classes)), rows of NaN where there were none, or None.
    """

    values: NDArray[Any]
    classes: tuple[str, ...] = ()
    probabilities: NDArray[float64] | None = None

    def take(self, rows: NDArray[np.bool_]) -> "Predictions":
        """The predictions of some rows."""
        return Predictions(
            self.values[rows], self.classes, None if self.probabilities is None else self.probabilities[rows]
        )


def constant(labels: NDArray[Any], rows: int) -> Predictions:
    """What one says who has seen only labels: the most frequent class with each one's share, or the median."""
    if labels.dtype != object:
        return Predictions(np.full(rows, np.median(labels)))
    names, counts = np.unique(labels.astype(str), return_counts=True)
    shares = counts / counts.sum()
    values = np.full(rows, str(names[counts.argmax()]), dtype=object)
    return Predictions(values, tuple(map(str, names)), np.tile(shares, (rows, 1)))


def loss(name: str, truth: NDArray[Any], said: Predictions) -> NDArray[float64]:
    """The loss of each row: ``error``, ``squared`` or ``brier``; NaN where nothing was said."""
    if name == "brier":
        return brier(truth, said)
    if truth.dtype == object:
        wrong: NDArray[float64] = (said.values != truth).astype(float64)
        wrong[said.values == None] = np.nan  # noqa: E711 (element by element)
        return wrong
    distance: NDArray[float64] = np.abs(said.values.astype(float64) - truth)
    return np.square(distance) if name == "squared" else distance


def brier(truth: NDArray[Any], said: Predictions) -> NDArray[float64]:
    """Half the squared distance between the probabilities and the class that came, in [0, 1].

    For two classes it is the usual Brier score, (p - y) squared. A class that the model does not know has
    probability 0.
    """
    if said.probabilities is None:
        return np.full(len(truth), np.nan)
    came = truth[:, None] == np.array(said.classes, dtype=object)[None, :]
    distance: NDArray[float64] = np.square(said.probabilities - came).sum(axis=1)
    distance += ~came.any(axis=1)
    return distance / 2


def calibration_error(truth: NDArray[Any], said: Predictions) -> float | None:
    """Expected calibration error: how far the probability of the likeliest class is from how often it came.

    Mean over ten bins of equally many rows (Guo et al. 2017, with bins of equal mass). None without probabilities.
    """
    if said.probabilities is None:
        return None
    known = np.isfinite(said.probabilities).all(axis=1)
    if not known.any():
        return None
    probabilities = said.probabilities[known]
    top = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    right = np.array(said.classes, dtype=object)[top] == truth[known]
    order = np.argsort(confidence, kind="stable")
    gaps = [
        abs(confidence[part].mean() - right[part].mean()) * len(part)
        for part in np.array_split(order, CALIBRATION_BINS)
        if len(part)
    ]
    return float(sum(gaps) / len(order))


def metrics(truth: NDArray[Any], said: Predictions) -> dict[str, float | int | None]:
    """Figures for people: accuracy, Brier score and calibration of classes; errors of numbers."""
    error = loss("error", truth, said)
    known = np.isfinite(error)
    figures: dict[str, float | int | None] = {"rows": int(known.sum())}
    if truth.dtype == object:
        figures["accuracy"] = _mean(1 - error[known])
        scores = brier(truth, said)
        figures["brier"] = _mean(scores[np.isfinite(scores)])
        figures["calibration_error"] = calibration_error(truth, said)
        return figures
    figures["mean_absolute_error"] = _mean(error[known])
    square = _mean(np.square(error[known]))
    figures["root_mean_squared_error"] = None if square is None else square**0.5
    return figures


def _mean(values: NDArray[float64]) -> float | None:
    return float(values.mean()) if len(values) else None
