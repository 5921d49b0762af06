"""Performance in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from daemon.monitoring.measured import NOT_ENOUGH
from daemon.web import drawing
from daemon.web.words import measure

NAMES: Final = {
    "accuracy": "Accuracy",
    "f1": "F1",
    "auc": "AUC",
    "log_loss": "Log loss",
    "rms_calibration_error": "Calibration error",
    "mae": "Mean absolute error",
    "rmse": "Root mean squared error",
}
MEANS: Final = {
    "f1": "The harmonic mean of precision and recall",
    "auc": "How often a row with the class scores higher than one without",
    "log_loss": "The mean of -log of the probability that was given to what came true",
    "rms_calibration_error": "How far probabilities are from how often it came true, chance apart: root mean square "
    "over ten bins",
    "rmse": "The root of the mean of the squared errors",
}
OF_A_SHARE: Final = frozenset({"f1", "auc", "log_loss", "rms_calibration_error"})
"""Metrics that are told with three digits after the point; others are as large as what is predicted."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A further figure in words: what it is ``of``, and ``why_not`` where there is none."""

    name: str
    means: str
    of: str
    value: str
    interval: str
    why_not: str


@dataclass(frozen=True, slots=True)
class Shown:
    """Performance in words."""

    metric: str
    value: str
    interval: str
    reference: str
    change: str
    worse: bool
    gauge: drawing.Gauge
    others: tuple[Figure, ...]


def shown(performance: Mapping[str, Any] | None) -> Shown | None:
    """Performance in words; None where nothing is measured yet."""
    if performance is None or performance.get("value") is None:
        return None
    metric, value, reference = performance["metric"], performance["value"], performance.get("reference")
    low, high = performance["low"], performance["high"]
    whole = metric == "accuracy"
    change, worse = "", False
    if reference is not None:
        loss = reference - value if whole else value - reference
        worse = (high < reference) if whole else (low > reference)
        size = f"{100 * abs(loss):.1f} points" if whole else measure(abs(loss), metric)
        relation = ("below" if loss > 0 else "above") if whole else ("more than" if loss > 0 else "less than")
        change = "level with the reference" if low <= reference <= high else f"{size} {relation} the reference"
    return Shown(
        NAMES.get(metric, metric),
        measure(value, metric),
        f"{measure(low, metric).removesuffix('%')}\N{EN DASH}{measure(high, metric)}",
        measure(reference, metric),
        change,
        worse,
        drawing.gauge(value, low, high, reference, whole=whole),
        tuple(_figure(one, performance.get("positive")) for one in performance.get("metrics", ())[1:]),
    )


def _figure(one: Mapping[str, Any], positive: str | None) -> Figure:
    metric = one["metric"]
    of = f"mean of {one['classes']} classes" if one["classes"] is not None else ""
    if metric == "f1" and positive is not None:
        of = f"of {positive}"
    value, low, high = ("" if one[end] is None else _told(one[end], metric) for end in ("value", "low", "high"))
    name, means = NAMES.get(metric, metric), MEANS.get(metric, "")
    return Figure(
        name,
        means,
        of,
        value,
        f"{low}\N{EN DASH}{high}" if value else "",
        (one["why_not"] or "").removeprefix(NOT_ENOUGH),
    )


def _told(value: float, metric: str) -> str:
    return f"{value:.3f}" if metric in OF_A_SHARE else measure(value, metric)


def is_accuracy(status: Mapping[str, Any]) -> bool:
    """Whether errors are drawn upside down."""
    performance = status["performance"]
    if performance:
        return bool(performance["metric"] == "accuracy")
    return bool(status["task"] != "regression")
