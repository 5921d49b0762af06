"""An alarm as it stands in the store, and what a person calls it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from daemon.alerts.figures import count, figure, is_number, percent
from daemon.monitoring.gaps import GAP_FIELD
from detectors.base import Kind, Severity
from detectors.cause import CAUSE, Cause

FEATURE: Final = "feature:"
FEATURES: Final = "features"
URGENCY: Final = (Kind.CONCEPT, Kind.PERFORMANCE, Kind.QUALITY, Kind.VOLUME, Kind.DRIFT, Kind.ANOMALY)
"""What is said first."""
CLEARLY: Final = 3.0
"""One segment carries a change where it has moved so many times as much as any other."""


_MOVED: Final = {
    "feature": "what goes into the model has moved",
    FEATURES: "what goes into the model has moved",
    "prediction": "what the model answers has moved",
    "score": "the model's scores have moved",
    "label": "the true answers have moved",
}
_CAUSES: Final = {
    Cause.DATA_BROKEN: "broken data",
    Cause.COVARIATE_SHIFT: "covariate shift",
    Cause.LABEL_SHIFT: "label shift",
    Cause.CONCEPT_DRIFT: "concept drift",
    Cause.RETURN: "an earlier regime is back",
}
_WITHIN: Final = re.compile(
    r"(?P<signal>feature:.+?|prediction|score|error)\[(?P<field>[^=\[]+)=(?P<value>.*)\]", re.DOTALL
)
_ROW_FIELDS: Final = ("id", "detector", "row", "ts", "change_row", "change_ts", "raised")


@dataclass(frozen=True, slots=True)
class Alarm:
    """One row of the store's table of alarms. Times are epoch seconds."""

    id: int
    kind: Kind
    signal: str
    detector: str
    severity: Severity
    is_open: bool
    row: int
    ts: float
    change_row: int | None
    change_ts: float | None
    evidence: Mapping[str, Any]
    ranking: tuple[tuple[str, float], ...]
    acknowledged_by: str | None
    raised: float

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Alarm":
        """From a row of the table."""
        return cls(
            kind=Kind(row["kind"]),
            signal=row["signal"],
            severity=Severity(row["severity"]),
            is_open=row["state"] == "open",
            evidence=row["evidence"],
            ranking=tuple((signal, share) for signal, share in row["ranking"]),
            acknowledged_by=row["acknowledged_by"],
            **{name: row[name] for name in _ROW_FIELDS},
        )

    @property
    def since(self) -> float:
        """When the change began."""
        return self.ts if self.change_ts is None else self.change_ts

    @property
    def since_row(self) -> int:
        """The row where the change began."""
        return self.row if self.change_row is None else self.change_row

    @property
    def what(self) -> str:
        """What is wrong, without figures."""
        if self.kind is Kind.PERFORMANCE and GAP_FIELD in self.evidence:
            metric = str(self.evidence.get("metric")).replace("_", " ")
            return f"the {metric} between segments of {self.evidence[GAP_FIELD]} is too large"
        name, within = spoken(self.signal), place(self.signal)
        said = {
            Kind.CONCEPT: self._what_of_errors(),
            Kind.QUALITY: f"broken data: {name}" if self.is_broken_data else f"{name} has values as never before",
            Kind.VOLUME: "labels have stopped" if self.signal == "labels" else "events have stopped",
            Kind.PERFORMANCE: f"{self.evidence.get('metric', 'performance')} fell short",
            Kind.ANOMALY: "strange events",
        }
        whole = within[0] if within else self.signal
        what = said.get(self.kind) or _MOVED.get(whole.split(":")[0], f"{name} moved")
        # broken data names the signal, with where it is
        return f"{what} where {within[1]}" if within and self.kind is not Kind.QUALITY else what

    @property
    def headline(self) -> str:
        """What is wrong, with the name of the feature where it is one that has moved."""
        within = place(self.signal)
        whole = within[0] if within else self.signal
        return f"{self.what}: {spoken(whole)}" if self.kind is Kind.DRIFT and whole.startswith(FEATURE) else self.what

    def _what_of_errors(self) -> str:
        before, after = self.change or (0.0, 1.0)
        if self._is_rate:
            return f"the model errs {'more' if after >= before else 'less'} often"
        return f"the model's error has {'grown' if after >= before else 'shrunk'}"

    @property
    def figures(self) -> str:
        """How much, as far as the evidence says; empty where it says nothing."""
        evidence = self.evidence
        if self.kind is Kind.QUALITY:
            return _breakage(evidence)
        if self.kind is Kind.VOLUME:
            silent = evidence.get("silent_seconds")
            return f"silent for {figure(silent / 60)} minutes" if is_number(silent) else ""
        if self.kind is Kind.ANOMALY:
            return _share(evidence)
        if self.kind is Kind.DRIFT:
            return _shift(evidence) + self._carried
        if self.change is None:
            return _gap(evidence) if "greatest" in evidence else ""
        metric = evidence.get("metric") or ("error rate" if self._is_rate else "mean error")
        alone = ", no feature moved" if evidence.get("features_moved") == 0 else ""
        return f"{metric} {figure(self.change[0])} -> {figure(self.change[1])}{alone}{self._carried}"

    @property
    def _carried(self) -> str:
        """The one segment that carries the change, where it is clear that one does."""
        mine = [
            (segment, effect) for segment, signal, effect in self.evidence.get("segments", ()) if signal == self.signal
        ]
        if not mine or (len(mine) > 1 and mine[0][1] < CLEARLY * mine[1][1]):
            return ""
        field, _, value = str(mine[0][0]).partition("=")
        return f", most of it where {field} is {value}"

    @property
    def cause(self) -> str:
        """The name of the cause; empty where none is named."""
        return _CAUSES.get(self.evidence.get(CAUSE, {}).get("name"), "")

    @property
    def why(self) -> str:
        """The cause in words; empty where none is named."""
        return f"{self.cause}: {self.evidence[CAUSE]['text']}" if self.cause else ""

    @property
    def is_broken_data(self) -> bool:
        """Whether it says so by its kind, and its cause does not say otherwise."""
        return self.kind is Kind.QUALITY and self.cause in ("", _CAUSES[Cause.DATA_BROKEN])

    @property
    def explains(self) -> tuple[str | None, ...]:
        """What the cause is about: its name, and of broken data which signal is broken in which way."""
        cause = self.evidence.get(CAUSE, {})
        return cause.get("name"), cause.get("breakage"), cause.get("signal")

    @property
    def confidence(self) -> float:
        """How sure the cause is, between 0 and 1."""
        return float(self.evidence.get(CAUSE, {}).get("confidence", 0.0))

    @property
    def change(self) -> tuple[float, float] | None:
        """The figure before and after, where the evidence has both."""
        before, after = self.evidence.get("reference"), self.evidence.get("current")
        return (before, after) if is_number(before) and is_number(after) else None

    @property
    def _is_rate(self) -> bool:
        return str(self.evidence.get("effect_name", "error_rate")) == "error_rate"


def spoken(signal: str) -> str:
    """A signal as a person calls it."""
    within = place(signal)
    if within is not None:
        return f"{spoken(within[0])} where {within[1]}"
    if signal.startswith(FEATURE):
        return signal.removeprefix(FEATURE)
    return {
        FEATURES: "the features together",
        "prediction": "predictions",
        "score": "scores",
        "label": "labels",
        "error": "errors",
    }.get(signal, signal)


def place(signal: str) -> tuple[str, str] | None:
    """The signal and the segment of one within a segment: ``error[channel=web]`` is of errors where channel is web."""
    found = _WITHIN.fullmatch(signal)
    return None if found is None else (found["signal"], f"{found['field']} is {found['value']}")


def moved(alarms: Iterable[Alarm], smallest_share: float = 0.05) -> list[tuple[str, str]]:
    """What moved and how much, over all ``alarms``, first the signals that raised something themselves."""
    found: dict[str, str] = {}
    ranked: dict[str, str] = {}
    for alarm in alarms:
        if alarm.kind is Kind.DRIFT and alarm.signal != FEATURES:
            found.setdefault(alarm.signal, alarm.figures)
        for signal, share in alarm.ranking:
            # an alarm that ranks only its own signal says nothing by it
            if share >= smallest_share and signal not in (alarm.signal, "error"):
                ranked.setdefault(signal, _going_together(alarm.evidence, signal) or f"{percent(share)} of the shift")
    found |= {signal: how for signal, how in ranked.items() if signal not in found}
    return [(spoken(signal), how) for signal, how in found.items()]


def _breakage(evidence: Mapping[str, Any]) -> str:
    if evidence.get("appeared"):
        return f"a feature of type {evidence.get('type')} that was not there before"
    what = {"new": "values never seen before"}.get(str(evidence.get("bin")), str(evidence.get("bin") or ""))
    return f"{what} in {_share(evidence)}" if _share(evidence) else what


def _shift(evidence: Mapping[str, Any]) -> str:
    index = evidence.get("effect")
    parts = [f"stability index {figure(index)}"] if is_number(index) else []
    before, after = evidence.get("reference_mean"), evidence.get("current_mean")
    if is_number(before) and is_number(after):
        parts.insert(0, f"mean {figure(before)} -> {figure(after)}")
    elif evidence.get("bin") and _share(evidence):
        parts.insert(0, f"{evidence['bin']} in {_share(evidence)}")
    for pair in evidence.get("together", ())[:1]:
        parts.insert(0, f"{spoken(pair[0])} {_going_together(evidence, pair[0])}")
    return ", ".join(parts)


def _going_together(evidence: Mapping[str, Any], signal: str) -> str:
    """With which other signal it goes together otherwise than before, where that was found."""
    for one, other, then, now in evidence.get("together", ()):
        if signal in (one, other):
            return f"with {spoken(other if signal == one else one)} {figure(then)} -> {figure(now)}"
    return ""


def _gap(evidence: Mapping[str, Any]) -> str:
    least, greatest = evidence["least"], evidence["greatest"]
    ends = [f"{one['segment']} {percent(one['value'])}" for one in (least, greatest)]
    return f"{ends[0]}, {ends[1]}: {percent(evidence['value'])} apart (at least {percent(evidence['low'])})"


def _share(evidence: Mapping[str, Any]) -> str:
    before, after = evidence.get("reference"), evidence.get("current")
    if not is_number(after):
        return ""
    return f"{percent(after)} of the rows" + (f" (usually {percent(before)})" if is_number(before) else "")


def since_row(alarm: Alarm) -> str:
    """``row 20,031``."""
    return f"row {count(alarm.since_row)}"
