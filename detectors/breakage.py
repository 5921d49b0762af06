"""Whether what came of a signal is broken, and how: nulls, wrong types, categories never seen, units, frozen feeds."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.bins import FIRST_BIN, INVALID_BIN, MISSING, NEW
from detectors.recent_rows import RecentRows
from detectors.reference import Reference


class Breakage(StrEnum):
    """In what way data is broken."""

    UNIT_CHANGE = "unit_change"
    NULLS = "nulls"
    NEW_CATEGORY = "new_category"
    WRONG_TYPE = "wrong_type"
    STOPPED_FEED = "stopped_feed"
    """Nothing comes any more: no events, no labels, no value of a feature, or always the same one."""
    OUT_OF_RANGE = "out_of_range"
    """Numbers such as the reference never had, and no unit accounts for them."""
    NEW_FEATURE = "new_feature"


FEWEST_ROWS: Final = 10
"""Rows below which nothing is said of a signal."""
LEAST_SHARE: Final = 0.03
LEAST_COUNT: Final = 3
"""A smaller rise of a special bin's share, or fewer rows in it, is no breakage."""
STANDARD_ERRORS: Final = 5.0
"""And it has to be beyond chance by so many, because all signals are looked at."""
STOPPED_SHARE: Final = 0.97
"""From this share of missing values on the feed has stopped."""
FROZEN_SHARE: Final = 0.9
MOST_USUAL: Final = 0.67
FROZEN_NATS: Final = 14.0
RARE_VALUE: Final = 0.02
"""A number has frozen when so large a share of its rows is one value, none had more than ``MOST_USUAL`` before, and as
many rows alike are as improbable as ``FROZEN_NATS`` says. Rows that depend on each other count for fewer, but where no
value had as much as ``RARE_VALUE``: there neighbours are nearly the same, and not the same."""
SHAPE_GAIN: Final = 0.25
"""The distance between two distribution functions (Kolmogorov and Smirnov) has to fall by this much when the unit is
changed back."""
SMALLER_APART: Final = 0.75
SMALLER_ROWS: Final = 150
"""Rows that have become small ones fit many a larger unit: so far apart, or so many, have they to be."""
SHAPE_SLACK: Final = 0.05
SHAPE_CRITICAL: Final = 1.63
"""Of that distance, at one chance in a hundred, times the root of 1/n + 1/m."""
GAIN_NATS: Final = 6.0
"""And that has to be so improbable by chance (Dvoretzky, Kiefer and Wolfowitz): many units are tried on many features,
and rows that resemble their neighbours wander off as a whole."""
FARTHEST: Final = 0.4
"""And no more than this, however few rows there are: what is divided by a thousand is all at 0, which is .5 from any
law around it."""
FEWEST_VALUES: Final = 5
"""A number of fewer different values has no shape."""
LARGE_FACTOR: Final = 6.0
APART: Final = 0.95
"""Prices that rise by half are scaled, too. A factor below this, or a shift, is a unit only where the two laws are so
far apart that they hardly have a value in common."""
SHIFT_REACH: Final = 0.5
"""Numbers out of range belong to a shift of the whole law where its middle half lies within the reference's range,
widened by this share of it, and most of those outside within twice that."""


@dataclass(frozen=True, slots=True)
class Broken:
    """What is broken in one signal; ``rows`` says of each row that was looked at whether it has it.

    ``share`` is how many have it, ``reference`` how many usually do; ``figures`` the rest behind it (JSON values).
    """

    kind: Breakage
    signal: str
    share: float
    reference: float
    confidence: float
    rows: NDArray[np.bool_]
    figures: dict[str, Any]

    def text(self) -> str:
        """A sentence for people, without the signal's name."""
        share = f"in {100 * self.share:.0f} % of the rows (usually {100 * self.reference:.0f} %)"
        if self.kind is Breakage.UNIT_CHANGE:
            return f"is in another unit: the values fit the reference again when {self.figures['undo']}"
        if self.kind is Breakage.STOPPED_FEED:
            stuck = self.figures.get("stuck_at")
            return "no longer arrives" if stuck is None else f"is stuck at {stuck:.6g}"
        return {
            Breakage.NULLS: "is missing",
            Breakage.NEW_CATEGORY: "has values never seen before",
            Breakage.WRONG_TYPE: "is of the wrong type",
        }.get(self.kind, "is far out of its range") + f" {share}"


@dataclass(frozen=True, slots=True)
class _Unit:
    """What was done to the values, and how a person undoes it."""

    factor: float
    offset: float
    undo: str

    def undone(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return (values - self.offset) / self.factor


_LARGE: Final = (10, 100, 1_000, 1e4, 1e6, 1e9, 60, 3_600, 24, 86_400, 7, 12, 365.25, 1_024)
_SMALL: Final = (2.54, 3.28084, 1.609344, 2.204623, 3.785412, 4.184)


def _units() -> tuple[_Unit, ...]:
    found = []
    for factor in (*_LARGE, *_SMALL):
        found.append(_Unit(factor, 0.0, f"divided by {factor:g}"))
        found.append(_Unit(1 / factor, 0.0, f"multiplied by {factor:g}"))
    return (
        *found,
        _Unit(-1.0, 0.0, "the sign is changed"),
        _Unit(1.8, 32.0, "turned from Fahrenheit into Celsius"),
        _Unit(1 / 1.8, -32 / 1.8, "turned from Celsius into Fahrenheit"),
        _Unit(1.0, 273.15, "turned from kelvin into Celsius"),
        _Unit(1.0, -273.15, "turned from Celsius into kelvin"),
    )


UNITS: Final = _units()


def find_broken(reference: Reference, since: RecentRows, *, skip: tuple[str, ...] = ()) -> list[Broken]:
    """What is broken in the rows ``since`` a change, the largest share first, but for the signals to ``skip``."""
    if len(since) < FEWEST_ROWS:
        return []
    codes = reference.codes(since.points)
    found = []
    for s, name in enumerate(reference.signals):
        if name in skip:
            continue
        broken = _of_signal(reference, s, since.points[:, s].astype(np.float64), codes[:, s])
        if broken is not None:
            found.append(broken)
    return sorted(found, key=lambda one: (-one.share, one.signal))


def out_of_range_by_shift(reference: Reference, since: RecentRows) -> set[str]:
    """Numbers that have left the range of the reference because their law has moved as a whole."""
    if len(since) < FEWEST_ROWS:
        return set()
    codes = reference.codes(since.points)
    left = (np.bincount(codes[:, s], minlength=reference.width) for s in range(len(reference.signals)))
    return {
        name
        for s, (name, counts) in enumerate(zip(reference.signals, left, strict=True))
        if _rise(reference, s, counts, NEW) and _is_shift(reference, s, since.points[:, s].astype(np.float64))
    }


def _of_signal(reference: Reference, s: int, values: NDArray[np.float64], codes: NDArray[np.int64]) -> Broken | None:
    name, bins = reference.signals[s], reference.bins[s]
    counts = np.bincount(codes, minlength=reference.width)
    before = reference.counts[s] / max(int(reference.counts[s].sum()), 1)
    worst = [one for b in (MISSING, INVALID_BIN, NEW) if (one := _rise(reference, s, counts, b)) is not None]
    numbers = bins.kind == "number" and bins.width - FIRST_BIN >= FEWEST_VALUES
    # a probability has no unit
    if numbers and name != "score" and (unit := _unit_of(reference, s, values, codes)) is not None:
        return unit
    if numbers and (frozen := _frozen(reference, s, values)) is not None:
        return frozen
    # a class that was never seen before is no broken label: the world has it now
    worst = [(rise, b) for rise, b in worst if b != NEW or not (name == "label" or _is_shift(reference, s, values))]
    if not worst:
        return None
    rise, b = max(worst)
    share = float(counts[b] / len(codes))
    kind = {MISSING: Breakage.NULLS, INVALID_BIN: Breakage.WRONG_TYPE}.get(b, Breakage.OUT_OF_RANGE)
    if b == NEW and bins.kind == "category":
        kind = Breakage.NEW_CATEGORY
    if b == MISSING and share >= STOPPED_SHARE:
        kind = Breakage.STOPPED_FEED
    sure = 1 - float(np.exp(-rise * len(codes) / 2))
    return Broken(kind, name, share, float(before[b]), min(0.99, sure), codes == b, {})


def _rise(reference: Reference, s: int, counts: NDArray[np.int64], b: int) -> tuple[float, int] | None:
    """By how much the share of special bin b has risen, where that is beyond chance."""
    rows, reference_rows = int(counts.sum()), max(int(reference.counts[s].sum()), 1)
    share, before = counts[b] / rows, reference.counts[s, b] / reference_rows
    pooled = (counts[b] + reference.counts[s, b] + 0.5) / (rows + reference_rows + 1)
    temper = float(reference.bin_temper[s, b] if reference.counts[s, b] else 1.0)
    chance = np.sqrt(pooled * (1 - pooled) * (1 / max(rows * temper, 1.0) + 1 / max(reference_rows * temper, 1.0)))
    rise = float(share - before)
    enough = rise >= LEAST_SHARE and counts[b] >= LEAST_COUNT
    return (rise, b) if enough and rise >= STANDARD_ERRORS * chance else None


def _unit_of(reference: Reference, s: int, values: NDArray[np.float64], codes: NDArray[np.int64]) -> Broken | None:
    """A change of units: all values, or those that lie out of range, fit the reference once it is undone."""
    before = reference.sample[:, s].astype(np.float64)
    before = np.sort(before[np.isfinite(before)])
    outside = codes == NEW
    usual = float(reference.counts[s, NEW] / max(int(reference.counts[s].sum()), 1))
    for which in (np.isfinite(values), outside):
        part = values[which]
        if len(part) < FEWEST_ROWS or len(before) < FEWEST_ROWS:
            continue
        apart = _distance(np.sort(part), before)
        if apart < SHAPE_GAIN + SHAPE_SLACK:
            continue
        temper = float(reference.temper[s])
        critical = SHAPE_CRITICAL * np.sqrt(1 / max(len(part) * temper, 4.0) + 1 / max(len(before) * temper, 4.0))
        possible = [((_distance(np.sort(one.undone(part)), before), i), one) for i, one in _possible(apart, len(part))]
        if not possible:
            continue
        best, unit = min(possible)
        gain = 2 * len(part) * temper * (apart - best[0]) ** 2
        if gain >= GAIN_NATS and best[0] <= min(critical + SHAPE_SLACK, FARTHEST, apart - SHAPE_GAIN):
            figures = {
                "factor": unit.factor,
                "offset": unit.offset,
                "undo": unit.undo,
                "distance": round(apart, 4),
                "distance_undone": round(best[0], 4),
            }
            sure = 1 - float(np.exp(-gain))
            share = float(which.mean())
            return Broken(Breakage.UNIT_CHANGE, reference.signals[s], share, usual, min(0.99, sure), which, figures)
    return None


def _possible(apart: float, rows: int) -> list[tuple[int, _Unit]]:
    """Units that may be thought of where the law of so many rows is ``apart`` from the reference's."""
    smaller = apart >= SMALLER_APART or rows >= SMALLER_ROWS
    return [
        (i, one)
        for i, one in enumerate(UNITS)
        if apart >= APART or abs(one.factor) >= LARGE_FACTOR or (smaller and abs(one.factor) <= 1 / LARGE_FACTOR)
    ]


def _distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The largest difference between two distribution functions; both sorted."""
    at = np.concatenate((a, b))
    return float(
        np.abs(np.searchsorted(a, at, side="right") / len(a) - np.searchsorted(b, at, side="right") / len(b)).max()
    )


def _frozen(reference: Reference, s: int, values: NDArray[np.float64]) -> Broken | None:
    present = values[np.isfinite(values)]
    if len(present) < FEWEST_ROWS:
        return None
    before = reference.sample[:, s]
    before = before[np.isfinite(before)]
    usual = float(np.unique(before, return_counts=True)[1].max() / len(before)) if len(before) else 1.0
    distinct, counts = np.unique(present, return_counts=True)
    share = float(counts.max() / len(values))
    alike = counts.max() * (1.0 if usual <= RARE_VALUE else float(reference.temper[s]))
    if share < FROZEN_SHARE or usual > MOST_USUAL or alike * np.log(1 / usual) < FROZEN_NATS:
        return None
    stuck = float(distinct[np.argmax(counts)])
    figures = {"stuck_at": float(f"{stuck:.6g}")}
    return Broken(Breakage.STOPPED_FEED, reference.signals[s], share, usual, 0.99, values == stuck, figures)


def _is_shift(reference: Reference, s: int, values: NDArray[np.float64]) -> bool:
    """Whether numbers out of range are the tail of a law that has moved as a whole, and no strangers to it."""
    if reference.bins[s].kind != "number":
        return False
    before = reference.sample[:, s]
    before, now = before[np.isfinite(before)], values[np.isfinite(values)]
    if len(before) < FEWEST_ROWS or len(now) < FEWEST_ROWS:
        return False
    low, high = float(before.min()), float(before.max())
    reach = SHIFT_REACH * (high - low)
    first, last = np.percentile(now, (25, 75))
    outside = now[(now < low) | (now > high)]
    near = (outside >= low - 2 * reach) & (outside <= high + 2 * reach)
    return bool(low - reach <= first and last <= high + reach and near.mean() >= 0.5)  # noqa: PLR2004 (most of them)
