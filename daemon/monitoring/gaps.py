"""What a model does to each segment beside the others: how often it says yes, how often it errs, and the gap."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import hypot, sqrt
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daemon.monitoring.intervals import Z, wilson
from daemon.monitoring.segment_fields import SegmentFields
from detectors.base import Kind, Severity, Verdict
from detectors.bins import FIRST_BIN, CategoryBins
from detectors.reference import Reference
from detectors.segments import LEAST_ROWS, OTHER, SLOTS, WINDOW_ROWS

DETECTOR: Final = "segments"
GAP_FIELD: Final = "field"
"""Of the evidence of an alarm about a gap, and of no other: by what the segments are divided."""
SELECTION, PREDICTION, ERROR_RATE, ERROR = "selection_rate", "mean_prediction", "error_rate", "mean_error"


@dataclass(frozen=True, slots=True)
class Rate:
    """A share or a mean in one segment, over ``rows`` rows, with an interval of 95 %."""

    segment: str
    rows: int
    value: float
    low: float
    high: float
    spread: float = 0.0  # of single values, for a mean


@dataclass(frozen=True, slots=True)
class Gap:
    """The least and the greatest of a field's rates: their difference with an interval of 95 %.

    ``sure`` is the lower end of an interval that holds at all looks and for all pairs of ``among`` segments.
    """

    field: str
    metric: str
    least: Rate
    greatest: Rate
    value: float
    low: float
    high: float
    among: int
    sure: float = 0.0


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure that counts of bins tell: the mean of ``values`` over the bins that have one (NaN: none)."""

    metric: str
    signal: str
    values: NDArray[np.float64]

    @property
    def is_share(self) -> bool:
        """Whether it is a share of the rows."""
        return self.metric in (SELECTION, ERROR_RATE)

    def rate(self, segment: str, counts: NDArray[np.int64]) -> Rate | None:
        """From the counts (B) of a segment; None where there is not enough data."""
        known = np.isfinite(self.values)
        own, values = counts[known], self.values[known]
        rows = int(own.sum())
        if rows < LEAST_ROWS:
            return None
        mean = float(own @ values / rows)
        if self.is_share:
            low, high = map(float, wilson(mean, rows))
            return Rate(segment, rows, mean, low, high)
        spread = sqrt(float(own @ (values - mean) ** 2) / (rows - 1))
        half = Z * spread / sqrt(rows)
        return Rate(segment, rows, mean, mean - half, mean + half, spread)

    def difference(self, least: Rate, greatest: Rate, z: float) -> tuple[float, float]:
        """The interval of ``greatest`` less ``least``: Newcombe's (1998, method 10) for shares."""
        value = greatest.value - least.value
        if not self.is_share:
            half = z * hypot(least.spread / sqrt(least.rows), greatest.spread / sqrt(greatest.rows))
            return value - half, value + half
        (low1, high1), (low2, high2) = (tuple(map(float, wilson(one.value, one.rows, z))) for one in (greatest, least))
        return (
            value - hypot(greatest.value - low1, high2 - least.value),
            value + hypot(high1 - greatest.value, least.value - low2),
        )


def measure_of(whole: Reference, positive: str | None) -> Measure | None:
    """What can be compared in a stream; None where nothing can: several classes, none of which is the positive one."""
    signal = "error" if "error" in whole.signals else "prediction"
    if signal not in whole.signals:
        return None
    bins = whole.bins[whole.signals.index(signal)]
    values = np.full(whole.width, np.nan)
    if isinstance(bins, CategoryBins):
        chosen = positive if positive is not None or len(bins.frequent) > 2 else max(bins.frequent, default=None)  # noqa: PLR2004
        if chosen is None or chosen not in bins.frequent:
            return None
        values[FIRST_BIN : bins.width] = 0.0
        values[FIRST_BIN + bins.frequent.index(chosen)] = 1.0
        return Measure(SELECTION, signal, values)
    values[FIRST_BIN : bins.width] = bins.values
    flag = signal == "error" and bins.exact and set(bins.values.tolist()) <= {0.0, 1.0}
    return Measure(ERROR_RATE if flag else ERROR if signal == "error" else PREDICTION, signal, values)


def rates(
    measure: Measure, signals: Sequence[str], counts: NDArray[np.int64], fields: SegmentFields
) -> dict[str, dict[str, Rate | None]]:
    """The rate of each segment by field, from counts (slots, S, B); None where there is not enough data."""
    s = list(signals).index(measure.signal)
    found: dict[str, dict[str, Rate | None]] = {}
    for place, one in enumerate(fields.fields):
        names = [*enumerate(one.names), (OTHER, "(other)")]
        found[one.name] = {
            name: measure.rate(name, counts[place * SLOTS + slot, s])
            for slot, name in names
            if place * SLOTS + slot < len(counts) and counts[place * SLOTS + slot, s].any()
        }
    return found


def gaps(measure: Measure, found: dict[str, dict[str, Rate | None]], chance: float | None = None) -> list[Gap]:
    """The gap of each field that has two segments with enough data.

    ``chance``: how often ``sure`` may be too high at one look, over all pairs.
    """
    answer = []
    for name, of_field in found.items():
        known = [rate for rate in of_field.values() if rate is not None]
        if len(known) < 2:  # noqa: PLR2004 (one has nothing beside it)
            continue
        least, greatest = min(known, key=_value), max(known, key=_value)
        low, high = measure.difference(least, greatest, Z)
        gap = Gap(name, measure.metric, least, greatest, greatest.value - least.value, low, high, len(known))
        if chance is not None:
            pairs = len(known) * (len(known) - 1) * len(found) / 2
            z = NormalDist().inv_cdf(1 - chance / pairs)
            gap = replace(gap, sure=measure.difference(least, greatest, z)[0])
        answer.append(gap)
    return answer


def _value(rate: Rate) -> float:
    return rate.value


class GapWatch:
    """Says when a gap exceeds ``most`` for certain, and when it is below again.

    A look after every ``WINDOW_ROWS`` rows, each with a chance of a false alarm that makes one in
    ``events_per_false_alarm`` rows of all.
    """

    def __init__(self, most: float, events_per_false_alarm: float, positive: str | None) -> None:
        self.most = most
        self.positive = positive
        self._chance = min(0.5, WINDOW_ROWS / events_per_false_alarm)
        self._raised: dict[str, int] = {}

    def clear(self) -> None:
        """Begin again, with another reference."""
        self._raised = {}

    def of(self, whole: Reference, counts: NDArray[np.int64], fields: SegmentFields) -> list[Gap]:
        """The gaps that are watched: of shares."""
        measure = measure_of(whole, self.positive)
        if measure is None or not measure.is_share:
            return []
        signals = ["error"] if measure.signal == "error" else list(whole.signals)
        return gaps(measure, rates(measure, signals, counts, fields), self._chance)

    def look(self, found: Sequence[Gap], first: int, last: int, ts: float) -> list[Verdict]:
        """What there is to say after a window of rows ``first`` to ``last``."""
        said = []
        for gap in found:
            signal = f"{gap.metric}[{gap.field}]"
            if signal in self._raised and gap.value < self.most:
                raised_row = self._raised.pop(signal)
                said.append(self._verdict(gap, signal, first, last, ts, {"raised_row": raised_row}, recovered=True))
            elif signal not in self._raised and gap.sure > self.most:
                self._raised[signal] = last
                said.append(self._verdict(gap, signal, first, last, ts, {}, recovered=False))
        return said

    def _verdict(
        self, gap: Gap, signal: str, first: int, last: int, ts: float, more: dict[str, Any], *, recovered: bool
    ) -> Verdict:
        figures = {name: value for name, value in as_dict(gap).items() if name != GAP_FIELD}
        evidence = {GAP_FIELD: gap.field, "most": self.most, "metric": f"gap of the {gap.metric}", **figures, **more}
        severity = Severity.WARNING
        return Verdict(Kind.PERFORMANCE, signal, DETECTOR, severity, last, ts, first, ts, evidence, recovered=recovered)

    def state(self) -> dict[str, int]:
        """What was raised and where."""
        return dict(self._raised)

    def restore(self, state: dict[str, int]) -> None:
        """Go on from ``state``."""
        self._raised = dict(state)


def as_dict(gap: Gap) -> dict[str, Any]:
    """A gap as JSON values."""
    return {
        "field": gap.field,
        "value": round(gap.value, 6),
        "low": round(gap.low, 6),
        "high": round(gap.high, 6),
        "least": rate_as_dict(gap.least),
        "greatest": rate_as_dict(gap.greatest),
    }


def rate_as_dict(rate: Rate | None) -> dict[str, Any] | None:
    """A rate as JSON values; None where there was not enough data."""
    if rate is None:
        return None
    figures = {name: round(getattr(rate, name), 6) for name in ("value", "low", "high")}
    return {"segment": rate.segment, "rows": rate.rows, **figures}
