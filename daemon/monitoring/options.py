"""What of the settings a monitor needs."""

from dataclasses import dataclass, field

from daemon.events.event_rules import EventLimits
from daemon.monitoring.estimate_stream import EstimateOptions
from daemon.monitoring.tasks import Task


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
