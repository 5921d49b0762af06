"""What has come of a model's rows since its last checkpoint."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daemon.events.rows import FeatureRows, Labels, Predictions
from daemon.monitoring.chunks import Chunk
from daemon.monitoring.estimate_chunks import EstimatedChunk
from daemon.monitoring.estimate_report import Turn
from daemon.monitoring.second_looks import Renamed
from detectors.base import Verdict

LABELS_LATER: Final = "labels_later"
"""Of an alarm's evidence: how many labels came after it in the checkpoint that stores it."""
FEATURES_MOVED: Final = "features_moved"
"""Of the evidence of an alarm about errors: how many features moved since the change, of which the first are ranked."""


@dataclass(slots=True)
class Findings:
    """Alarms and counts, and what is to be archived, recorded and drawn."""

    verdicts: list[Verdict] = field(default_factory=list)
    renamed: list[Renamed] = field(default_factory=list)  # alarms, perhaps of these verdicts, that have another cause
    counts: Counter[str] = field(default_factory=Counter)
    predictions: list[tuple[Predictions, NDArray[np.int64]]] = field(default_factory=list)  # with their rows
    labels: list[tuple[Labels, Sequence[int]]] = field(default_factory=list)  # with the rows of their predictions
    features: list[FeatureRows] = field(default_factory=list)
    afresh: list[str] = field(default_factory=list)
    met: list[str] = field(default_factory=list)  # versions that events name for the first time
    served: list[str] = field(default_factory=list)  # versions that have taken over
    measured: list[tuple[Chunk, str | None]] = field(default_factory=list)  # with the version in service
    estimated: list[tuple[EstimatedChunk, str | None]] = field(default_factory=list)  # likewise
    turns: list[Turn] = field(default_factory=list)  # where estimates are no longer trusted, or again
