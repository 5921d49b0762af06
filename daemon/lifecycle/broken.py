"""Whether an alarm says that data is broken, and whether that is why a model errs more. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from detectors.base import Kind, Verdict
from detectors.cause import CAUSE, Cause

ERROR_RATE: Final = "error_rate"
"""The effect of an alarm on an error that is right or wrong: by how much the rate rose."""
SLACK: Final = 1.25
"""Both are estimates, and what breaks in two signals may be in different rows: rows are taken as enough while the rate
rose by no more than so many times the share of the signal that has most of them."""
_BROKEN: Final = frozenset({Kind.QUALITY, Kind.VOLUME})
"""Kinds of alarm that say something of the data and nothing of the world, unless their cause is another one."""
_SOURCES: Final = frozenset({*_BROKEN, Kind.DRIFT})
"""Kinds of alarm on the broken signal itself; errors and strange events follow from it."""


@dataclass(frozen=True, slots=True)
class BrokenData:
    """An open alarm that data is broken: since which row, and what share of the rows has it."""

    since: int
    share: float = 1.0

    @classmethod
    def of(cls, since: int, evidence: Mapping[str, Any]) -> Self:
        """From the evidence of such an alarm. Where that names no share, as for stopped traffic, it is all rows."""
        named = evidence.get(CAUSE, {}).get("share")
        return cls(since, float(evidence.get("current", 1.0) if named is None else named))


class OpenBreakage:
    """What is broken as far as verdicts say that nobody stores."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str, Kind], BrokenData] = {}

    def hear(self, model: str, verdict: Verdict) -> None:
        """Take in what a model's detectors found."""
        if verdict.recovered:
            self._open.pop((model, verdict.signal, verdict.kind), None)
        elif breaks(verdict.kind, verdict.signal, verdict.evidence):
            found = BrokenData.of(verdict.change_row, verdict.evidence)
            self._open[model, verdict.signal, verdict.kind] = found

    def rename(self, model: str, kind: Kind, signal: str, change_row: int, cause: Mapping[str, Any]) -> None:
        """An alarm has another cause, since more rows have come."""
        self._open.pop((model, signal, kind), None)
        if breaks(kind, signal, {CAUSE: cause}):
            self._open[model, signal, kind] = BrokenData.of(change_row, {CAUSE: cause})

    def of(self, model: str) -> list[BrokenData]:
        """What is broken in the rows of a model."""
        return [one for (name, _, _), one in self._open.items() if name == model]


def explanation(kind: Kind, evidence: Mapping[str, Any]) -> str | None:
    """What is broken, in words, where broken data is why an alarm of this kind was raised; None where it is not."""
    cause = evidence.get(CAUSE)
    if cause is None or (kind in _BROKEN and cause["name"] == Cause.UNKNOWN):
        return f"the alarm is of kind {kind}" if kind in _BROKEN else None
    return str(cause["text"]) if cause["name"] == Cause.DATA_BROKEN else None


def is_change(evidence: Mapping[str, Any]) -> bool:
    """Whether an alarm's cause is that the world has changed, which the rows that are whole tell by themselves."""
    return evidence.get(CAUSE, {}).get("name") in (Cause.CONCEPT_DRIFT, Cause.RETURN)


def breaks(kind: Kind, signal: str, evidence: Mapping[str, Any]) -> bool:
    """Whether it is this alarm's own signal that is broken."""
    if kind not in _SOURCES or explanation(kind, evidence) is None:
        return False
    return kind in _BROKEN or evidence[CAUSE].get("signal") == signal


def rise(evidence: Mapping[str, Any]) -> float | None:
    """By how much the error rate rose, by the evidence of an alarm; None where it is of something else."""
    return float(evidence["effect"]) if evidence.get("effect_name") == ERROR_RATE else None


def explains_since(broken: Iterable[BrokenData], evidence: Mapping[str, Any] | None) -> int | None:
    """The first row of broken data that may be why an alarm with this evidence was raised; None where nothing is.

    A row cannot be wrong more than once: where the error rate rose by more than the share of rows that are broken, the
    world has changed as well, and the broken rows are no reason to wait for ever. ``evidence`` is None where nothing is
    to be explained: then all that is broken counts.
    """
    found = list(broken)
    if not found:
        return None
    most = max(one.share for one in found)
    rose = None if evidence is None else rise(evidence)
    if rose is not None and rose > SLACK * most:
        return None
    return min(one.since for one in found)
