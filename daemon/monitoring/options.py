"""What of the settings a monitor needs."""

from dataclasses import dataclass, field

from daemon.events.event_rules import EventLimits
from daemon.monitoring.tasks import Task


@dataclass(frozen=True, slots=True)
class EstimateOptions:
    """``labels`` to learn from, rows of the shortest chunk, sampled rows of one, chunks and values that are kept.

    ``tolerance``: an estimate that is wrong by less is right.
    """

    labels: int = 2_000
    chunk_rows: int = 500
    sample_rows: int = 1_500
    most_chunks: int = 50
    most_values: int = 60_000
    tolerance: float = 0.01


@dataclass(frozen=True, slots=True)
class MonitorOptions:
    """How one model is watched."""

    reference_rows: int = 2_000
    window_rows: int = 10
    bins: int = 20
    max_waiting: int = 200_000
    performance_rows: int = 2_000
    task: Task | None = None
    features: frozenset[str] | None = None
    exclude: frozenset[str] = frozenset()
    most_features: int = 2_000
    segments: tuple[str, ...] = ("carried",)
    positive: str | None = None
    estimates: EstimateOptions | None = field(default_factory=EstimateOptions)
    limits: EventLimits = field(default_factory=EventLimits)
