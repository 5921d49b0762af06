"""What the cause of an alarm can be, and what is said of it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from detectors.base import Kind
from detectors.breakage import Breakage, Broken

CAUSE: Final = "cause"
"""Of an alarm's evidence: its cause, as ``Named.to_evidence`` writes it."""
FEATURE: Final = "feature:"
MOST_CONFIDENT: Final = 0.99


class Cause(StrEnum):
    """Why something was raised."""

    DATA_BROKEN = "data_broken"
    COVARIATE_SHIFT = "covariate_shift"
    """What goes into the model has moved; what follows from it has not."""
    LABEL_SHIFT = "label_shift"
    """Some answers have become more frequent; what goes with each answer is as it was."""
    CONCEPT_DRIFT = "concept_drift"
    """Something else follows from the same features."""
    RETURN = "return"
    """The rows are as they were in an earlier regime of this model."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Raised:
    """What was raised: its kind, its signal, and by how much the error rate rose where it is one."""

    kind: Kind
    signal: str
    rise: float | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """A cause with its confidence, the figures behind it (JSON values) and a sentence for people.

    ``ranking`` has the features by how much they moved, weighed by how much they matter to the model, as shares of 1.
    Of broken data: which ``breakage`` of which ``signal``, in what ``share`` of the rows.
    """

    cause: Cause
    confidence: float
    text: str
    breakage: Breakage | None = None
    signal: str | None = None
    share: float | None = None
    figures: dict[str, Any] = field(default_factory=dict)
    ranking: tuple[tuple[str, float], ...] = ()

    def to_evidence(self) -> dict[str, Any]:
        """What an alarm keeps of it, in JSON values."""
        broken: dict[str, Any] = {}
        if self.breakage is not None:
            broken = {"breakage": self.breakage.value, "signal": self.signal}
            broken |= {} if self.share is None else {"share": round(self.share, 4)}
        return {
            "name": self.cause.value,
            "confidence": round(self.confidence, 3),
            "text": self.text,
            **broken,
            "figures": self.figures,
            "ranking": [list(one) for one in self.ranking],
        }


def stopped_feed(what: str) -> Named:
    """The cause where nothing comes any more: ``what`` is the signal."""
    return Named(Cause.DATA_BROKEN, MOST_CONFIDENT, f"{what} no longer arrive", Breakage.STOPPED_FEED, what, 1.0)


def new_feature(signal: str) -> Named:
    """The cause where a feature came that was not there before."""
    text = f"{spoken(signal)} was not there before"
    return Named(Cause.DATA_BROKEN, MOST_CONFIDENT, text, Breakage.NEW_FEATURE, signal, 1.0)


def broken_data(broken: Broken) -> Named:
    """The cause where a signal is broken."""
    figures = {"share": round(broken.share, 4), "reference": round(broken.reference, 4), **broken.figures}
    return Named(
        Cause.DATA_BROKEN,
        broken.confidence,
        f"{spoken(broken.signal)} {broken.text()}",
        broken.kind,
        broken.signal,
        broken.share,
        figures,
    )


def spoken(signal: str) -> str:
    """A signal as a person calls it."""
    return signal.removeprefix(FEATURE)
