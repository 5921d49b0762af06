"""A model's segments as its page shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from daemon.alerts.alarm import spoken
from daemon.alerts.figures import figure, percent
from daemon.web.words import tidy

MOST_ROWS: Final = 22
TOO_FEW: Final = "not enough data"
SHARES: Final = {"selection_rate": "Says yes", "error_rate": "Errs"}
MEANS: Final = {"mean_prediction": "Mean prediction", "mean_error": "Mean error"}
HEADS: Final = SHARES | MEANS


@dataclass(frozen=True, slots=True)
class Row:
    """One segment: its rows, its figures with intervals, what moved in it."""

    segment: str
    rows: int
    figures: tuple[str, ...]
    drift: str


@dataclass(frozen=True, slots=True)
class FieldShown:
    """One field's segments; ``heads`` names the figures, ``gaps`` says how far apart they are."""

    name: str
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    gaps: tuple[str, ...]


def shown(report: Mapping[str, Any] | None) -> Sequence[FieldShown]:
    """The report of ``GET /v1/models/{model}/segments`` in words."""
    return [_field(one) for one in ({} if report is None else report).get("fields", []) if one["segments"]]


def _field(field: Mapping[str, Any]) -> FieldShown:
    metrics = [name for name in HEADS if any(name in one for one in field["segments"])]
    rows = sorted(field["segments"], key=lambda one: (-one["rows"], one["segment"]))[:MOST_ROWS]
    gaps = [
        f"{HEADS[name].lower()}: {_value(name, gap['value'])} between {gap['least']['segment']} and "
        f"{gap['greatest']['segment']} ({_value(name, gap['low'])} to {_value(name, gap['high'])})"
        for name in metrics
        if (gap := field["gaps"].get(name, {}).get("now")) is not None
    ]
    return FieldShown(
        spoken(field["field"]),
        tuple(HEADS[name] for name in metrics),
        tuple(
            Row(
                one["segment"], one["rows"], tuple(_rate(name, one.get(name)) for name in metrics), _drift(one["drift"])
            )
            for one in rows
        ),
        tuple(gaps),
    )


def _row(one: Mapping[str, Any], metrics: Sequence[str]) -> Row:
    figures = tuple(_rate(name, one.get(name)) for name in metrics)
    return Row(one["segment"], one["rows"], figures, _drift(one["drift"]))


def _rate(metric: str, compared: Mapping[str, Any] | None) -> str:
    now = None if compared is None else compared["now"]
    if now is None:
        return TOO_FEW
    return f"{_value(metric, now['value'])} ({_value(metric, now['low'])} to {_value(metric, now['high'])})"


def _value(metric: str, value: float) -> str:
    return tidy(percent(value)) if metric in SHARES else figure(value)


def _drift(moved: Sequence[Sequence[Any]]) -> str:
    return ", ".join(f"{spoken(signal)} {figure(effect)}" for signal, effect in moved)
