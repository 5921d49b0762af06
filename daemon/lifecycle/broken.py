"""Whether broken data is why a model errs more. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from detectors.base import Kind

BROKEN: Final = frozenset({Kind.QUALITY, Kind.VOLUME})
"""Kinds of alarm that say something of the data and nothing of the world."""
ERROR_RATE: Final = "error_rate"
"""The effect of an alarm on an error that is right or wrong: by how much the rate rose."""
SLACK: Final = 1.25
"""Both are estimates, and what breaks in two signals may be in different rows: rows are taken as enough while the rate
rose by no more than so many times the share of the signal that has most of them."""


@dataclass(frozen=True, slots=True)
class BrokenData:
    """An open alarm that data is broken: since which row, and what share of the rows has it."""

    since: int
    share: float = 1.0

    @classmethod
    def of(cls, since: int, evidence: Mapping[str, Any]) -> Self:
        """From the evidence of such an alarm. Where that names no share, as for stopped traffic, it is all rows."""
        return cls(since, float(evidence.get("current", 1.0)))


def rise(alarm: Mapping[str, Any]) -> float | None:
    """By how much the error rate rose, by the evidence of an alarm; None where it is of something else."""
    return float(alarm["effect"]) if alarm.get("effect_name") == ERROR_RATE else None


def explains_since(broken: Iterable[BrokenData], alarm: Mapping[str, Any] | None) -> int | None:
    """The first row of broken data that may be why an alarm with this evidence was raised; None where nothing is.

    A row cannot be wrong more than once: where the error rate rose by more than the share of rows that are broken, the
    world has changed as well, and the broken rows are no reason to wait for ever. ``alarm`` is None where nothing is to
    be explained: then all that is broken counts.
    """
    found = list(broken)
    if not found:
        return None
    most = max(one.share for one in found)
    rose = None if alarm is None else rise(alarm)
    if rose is not None and rose > SLACK * most:
        return None
    return min(one.since for one in found)
