"""What is known of a change when its cause is asked for."""

from dataclasses import dataclass

from detectors.recent_rows import RecentRows
from detectors.reference import Reference


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a change: of each stream its reference and the rows since. None: the stream is not watched."""

    features: tuple[Reference, RecentRows] | None = None
    prediction: tuple[Reference, RecentRows] | None = None
    outcome: tuple[Reference, RecentRows] | None = None


def answer(prediction: Reference) -> int:
    """The place of what the model answers: its score, or its prediction where there is none."""
    return prediction.signals.index("score" if "score" in prediction.signals else "prediction")
