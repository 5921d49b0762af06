"""The contract of a detector: what it is given, what it answers."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from detectors.columns import Columns
from detectors.summary import Summary


class Kind(StrEnum):
    """What has gone wrong, as far as one stream of rows can tell."""

    DRIFT = "drift"
    """The law of a feature, of the predictions or of the labels has moved."""
    CONCEPT = "concept"
    """The model errs more often than it used to: what it learned no longer holds."""
    ANOMALY = "anomaly"
    """Single events are stranger than the reference's."""
    QUALITY = "quality"
    """The data is broken: missing, of the wrong type, or never seen before."""
    PERFORMANCE = "performance"
    """A measured metric fell short of what was promised."""
    VOLUME = "volume"
    """Events or labels have stopped arriving."""


class Severity(StrEnum):
    """How loudly to say it."""

    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing that a detector found.

    ``row`` is the last row of the window in which it was found and ``change_row`` the estimated first row after the
    change; both are 0-based numbers of the model's predictions. ``evidence`` holds the figures behind the verdict
    (JSON values only), ``ranking`` the signals by how much they moved, most moved first, each with a share of 1.
    ``recovered`` says that what this detector had raised for the same kind and signal is over; from then on it may
    raise it again.
    """

    kind: Kind
    signal: str
    detector: str
    severity: Severity
    row: int
    ts: float
    change_row: int
    change_ts: float
    evidence: dict[str, Any] = field(default_factory=dict)
    ranking: tuple[tuple[str, float], ...] = ()
    recovered: bool = False


class StateMismatch(ValueError):
    """The stored state was written by another detector, other parameters or another library version: rebuild it."""


class Detector(Protocol):
    """Watches one stream of one model.

    ``update`` is given each window exactly once and in order, never blocks, and must not change its arguments. What it
    answers depends only on its state and its arguments, so that a replay of the same rows raises the same verdicts.
    """

    name: str

    def update(self, summary: Summary, columns: Columns) -> list[Verdict]:
        """Take in the windows of ``summary`` (and the rows they count, ``columns``) and say what was found."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything needed to go on later, as values that msgpack can hold."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``. Raises StateMismatch where it does not fit."""
        ...
