"""A model's performance before its labels come, in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daemon.web.words import measure

METRICS = {"accuracy": "Accuracy", "mae": "Mean absolute error"}


@dataclass(frozen=True, slots=True)
class Estimated:
    """An estimate: of which rows (none yet where ``value`` is empty), what they came to where their labels are known.

    ``distrusted`` is where labels showed that it was wrong: row and epoch seconds. ``learning`` says what is missing
    until it has learned; ``learned`` is a share of 1.
    """

    metric: str
    value: str
    interval: str
    first_row: int
    last_row: int
    checked: "Checked | None"
    distrusted: tuple[int, float] | None
    learning: str
    learned: float | None


@dataclass(frozen=True, slots=True)
class Checked:
    """What was estimated of rows whose labels have come, what these say, and whether that is within the interval."""

    last_row: int
    estimated: str
    real: str
    held: bool


def shown(estimate: Mapping[str, Any] | None) -> Estimated | None:
    """The ``estimate`` of a model's status in words; None where there is none."""
    if estimate is None:
        return None
    metric, since = estimate["metric"], estimate["distrusted_since"]
    known, wanted = estimate["learning"] or (0, 0)
    learning = ""
    if estimate["state"] == "reference":
        learning = "Estimates begin once the reference is learned."
    elif estimate["learning"] is not None:
        again = "Learning anew from later labels" if since else "Learning from labels"
        learning = f"{again}: {known:,} of {wanted:,} so far."
    return Estimated(
        METRICS.get(metric, metric),
        measure(estimate["value"], metric),
        _interval(estimate, metric) if estimate["value"] is not None else "",
        estimate["first_row"] or 0,
        estimate["last_row"] or 0,
        _checked(estimate["checked"], metric),
        None if since is None else (since["row"], since["ts"]),
        learning,
        known / wanted if estimate["learning"] is not None and estimate["state"] != "reference" else None,
    )


def _checked(checked: Mapping[str, Any] | None, metric: str) -> Checked | None:
    if checked is None or checked["real"] is None:
        return None
    estimated, real = (measure(checked[name], metric) for name in ("value", "real"))
    return Checked(checked["last_row"], estimated, real, checked["low"] <= checked["real"] <= checked["high"])


def _interval(estimate: Mapping[str, Any], metric: str) -> str:
    low, high = measure(estimate["low"], metric), measure(estimate["high"], metric)
    return f"{low.removesuffix('%')}\N{EN DASH}{high}"
