"""Performance in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daemon.web import drawing
from daemon.web.words import measure


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
        {"accuracy": "Accuracy", "mae": "Mean absolute error"}.get(metric, metric),
        measure(value, metric),
        f"{measure(low, metric).removesuffix('%')}\N{EN DASH}{measure(high, metric)}",
        measure(reference, metric),
        change,
        worse,
        drawing.gauge(value, low, high, reference, whole=whole),
    )


def is_accuracy(status: Mapping[str, Any]) -> bool:
    """Whether errors are drawn upside down."""
    performance = status["performance"]
    if performance:
        return bool(performance["metric"] == "accuracy")
    return bool(status["task"] != "regression")
