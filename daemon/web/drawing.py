"""Geometry of the small pictures that are drawn as SVG on the server: pure numbers, no markup."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, isfinite, pi, sin, sqrt
from typing import Final

SPARK_WIDTH: Final = 240.0
SPARK_HEIGHT: Final = 56.0
BARS_WIDTH: Final = 200.0
BARS_HEIGHT: Final = 44.0
FULL_EFFECT: Final = 1.0
"""A stability index of this much fills a bar."""
STATIONS: Final = 6
SPECIAL_BINS: Final = 3


def _arc(place: int, radius: float = 20.0, middle: float = 24.0, gap: float = 0.17) -> str:
    begin = (place / STATIONS - 0.25 - 0.5 / STATIONS) * 2 * pi + gap / 2
    end = begin + 2 * pi / STATIONS - gap
    start, stop = ((middle + radius * cos(angle), middle + radius * sin(angle)) for angle in (begin, end))
    return f"M{start[0]:.2f} {start[1]:.2f}A{radius} {radius} 0 0 1 {stop[0]:.2f} {stop[1]:.2f}"


ARCS: Final = tuple(_arc(place) for place in range(STATIONS))
"""One arc of a ring for each station of the loop, clockwise from the top."""


@dataclass(frozen=True, slots=True)
class Point:
    """One measured value with its interval: ``row`` is the last of the ``rows`` predictions that it is of."""

    row: float
    value: float
    low: float
    high: float
    rows: float = 0.0


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at ``x`` of a picture: ``kind`` is alarm, retrain, promotion or rollback."""

    x: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Spark:
    """A line over time: SVG paths of the line and of its interval, the height of the reference, what happened."""

    line: str
    band: str
    reference: float | None
    marks: tuple[Mark, ...]
    end: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Bar:
    """One bin of a distribution: place and width, heights before and now in the same scale, what it stands for."""

    x: float
    width: float
    before: float
    now: float
    title: str
    special: bool


@dataclass(frozen=True, slots=True)
class Gauge:
    """A value with its interval beside the reference, as shares of the width."""

    low: float
    high: float
    value: float
    reference: float | None


def spark(points: Sequence[Point], reference: float | None, marks: Sequence[tuple[float, str, str]]) -> Spark | None:
    """A picture of ``points`` in order of their rows; ``marks`` are (row, kind, title). None for fewer than two."""
    shown = [point for point in points if isfinite(point.value)]
    if len(shown) < 2:  # noqa: PLR2004 (a line has two ends)
        return None
    heights = [height for point in shown for height in (point.low, point.high)] + (
        [] if reference is None else [reference]
    )
    bottom, top = min(heights), max(heights)
    margin = (top - bottom or abs(top) or 1.0) * 0.08
    bottom, top = bottom - margin, top + margin
    first, last = shown[0].row - shown[0].rows, shown[-1].row

    def x(row: float) -> float:
        return round((row - first) / (last - first or 1.0) * SPARK_WIDTH, 1)

    def y(value: float) -> float:
        return round((top - value) / (top - bottom) * SPARK_HEIGHT, 1)

    upper = [f"{x(point.row)} {y(point.high)}" for point in shown]
    lower = [f"{x(point.row)} {y(point.low)}" for point in reversed(shown)]
    return Spark(
        line="M" + "L".join(f"{x(point.row)} {y(point.value)}" for point in shown),
        band="M" + "L".join([*upper, *lower]) + "Z",
        reference=None if reference is None else y(reference),
        marks=tuple(Mark(x(row), kind, title) for row, kind, title in marks if first <= row <= last),
        end=(x(shown[-1].row), y(shown[-1].value)),
    )


def bars(before: Sequence[int], now: Sequence[int], labels: Sequence[str]) -> tuple[Bar, ...]:
    """A distribution before and now. The special bins are shown where anything ever fell into them."""
    count = min(len(before), len(now), len(labels))
    places = [place for place in range(count) if place >= SPECIAL_BINS or before[place] or now[place]]
    total_before, total_now = sum(before) or 1, sum(now) or 1
    shares = [(before[place] / total_before, now[place] / total_now) for place in places]
    highest = max((share for pair in shares for share in pair), default=0.0)
    if highest <= 0:
        return ()
    width = BARS_WIDTH / len(places)
    return tuple(
        Bar(
            x=round(i * width, 2),
            width=round(width, 2),
            before=round(was / highest * BARS_HEIGHT, 2),
            now=round(is_now / highest * BARS_HEIGHT, 2),
            title=f"{labels[place]}: {100 * was:.1f}% before, {100 * is_now:.1f}% now",
            special=place < SPECIAL_BINS,
        )
        for i, (place, (was, is_now)) in enumerate(zip(places, shares, strict=True))
    )


def gauge(value: float, low: float, high: float, reference: float | None, *, whole: bool) -> Gauge:
    """Where a value lies. ``whole`` says that 1 is the most there can be."""
    known = [value, low, high, *([] if reference is None else [reference])]
    bottom, top = min(known), max(known)
    margin = max((top - bottom) * 0.35, 0.02 if whole else abs(top) * 0.05, 1e-9)
    bottom, top = bottom - margin, (min(top + margin, 1.0) if whole else top + margin)

    def place(one: float) -> float:
        return round(100 * (one - bottom) / (top - bottom), 2)

    return Gauge(place(low), place(high), place(value), None if reference is None else place(reference))


def effect_length(effect: float) -> float:
    """How far a bar reaches, of 100. A square root, so that small effects can be told apart and large ones fit."""
    return round(100 * min(sqrt(max(effect, 0.0) / FULL_EFFECT), 1.0), 2)
