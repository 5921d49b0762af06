"""Every metric, in one table."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import choose_encoder

MOST_MODELS: Final = 500
"""Models that have series of their own; what comes after them is counted together as ``other``."""
OTHER: Final = "other"

_BATCH_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_REQUEST_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Kind(StrEnum):
    """How a metric moves."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name as Prometheus shows it, how it moves, what it means and what it is told apart by."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


EVENTS = Metric("driftd_events_total", Kind.COUNTER, "Events taken through the pipeline.", ("model", "type"))
JOINED = Metric("driftd_joined_total", Kind.COUNTER, "Predictions whose label has arrived.", ("model",))
DUPLICATES = Metric("driftd_duplicates_total", Kind.COUNTER, "Events that had been seen before.", ("model",))
DEAD_LETTERS = Metric("driftd_dead_letters_total", Kind.COUNTER, "Events put aside, by why.", ("reason",))
INGESTED = Metric(
    "driftd_ingested_events_total", Kind.COUNTER, "Events sent by HTTP, by what was answered.", ("result",)
)
BATCHES = Metric("driftd_batches_total", Kind.COUNTER, "Batches processed.")
BATCH_SECONDS = Metric(
    "driftd_batch_seconds", Kind.HISTOGRAM, "Time that a batch took, from bytes to verdicts.", buckets=_BATCH_SECONDS
)
LAG = Metric("driftd_lag_events", Kind.GAUGE, "Events that are not processed yet, by the whole fleet.")
WORKERS_ALIVE = Metric("driftd_workers_alive", Kind.GAUGE, "Workers of the fleet that are there; 0: a daemon alone.")
PARTITIONS_UNREAD = Metric("driftd_partitions_unread", Kind.GAUGE, "Partitions that no worker of the fleet reads.")
MODELS_UNOWNED = Metric("driftd_models_unowned", Kind.GAUGE, "Models that no worker of the fleet watches.")
PARCELS_WAITING = Metric("driftd_parcels_waiting", Kind.GAUGE, "Parcels of events that the fleet has read, not judged.")
PARCEL_EVENTS_WAITING = Metric("driftd_parcel_events_waiting", Kind.GAUGE, "Events in these parcels.")
LAST_CHECKPOINT = Metric(
    "driftd_last_checkpoint_timestamp_seconds", Kind.GAUGE, "When state was stored last, epoch seconds."
)
WAITING = Metric("driftd_waiting_labels", Kind.GAUGE, "Labels that wait for their prediction.", ("model",))
ALARMS = Metric("driftd_alarms_total", Kind.COUNTER, "Alarms raised.", ("model", "kind"))
OPEN_ALARMS = Metric("driftd_open_alarms", Kind.GAUGE, "Alarms that are open.", ("model",))
DECISIONS = Metric("driftd_decisions_total", Kind.COUNTER, "What was decided on alarms, and why.", ("action", "reason"))
RETRAINS = Metric("driftd_retrains_total", Kind.COUNTER, "Retrains that have ended.", ("model", "outcome"))
RETRAINS_RUNNING = Metric("driftd_retrains_running", Kind.GAUGE, "Retrains under way.")
PROMOTIONS = Metric("driftd_promotions_total", Kind.COUNTER, "Versions put into service.", ("model",))
ROLLBACKS = Metric("driftd_rollbacks_total", Kind.COUNTER, "Versions taken back.", ("model",))
PERFORMANCE = Metric("driftd_performance", Kind.GAUGE, "Measured performance in service.", ("model", "metric"))
PERFORMANCE_BOUND = Metric(
    "driftd_performance_bound", Kind.GAUGE, "The ends of its interval of 95 %: low, high.", ("model", "metric", "bound")
)
ESTIMATED = Metric(
    "driftd_estimated_performance", Kind.GAUGE, "Performance in service, estimated without labels.", ("model", "metric")
)
ESTIMATED_BOUND = Metric(
    "driftd_estimated_performance_bound",
    Kind.GAUGE,
    "The ends of its interval of 95 %: low, high.",
    ("model", "metric", "bound"),
)
ESTIMATE_TRUSTED = Metric(
    "driftd_estimate_trusted", Kind.GAUGE, "1 while the estimate is trusted: learned, and not shown wrong.", ("model",)
)
OUTBOX_WAITING = Metric("driftd_outbox_waiting", Kind.GAUGE, "Alerts that wait to be sent.")
OUTBOX_SENT = Metric("driftd_outbox_sent_total", Kind.COUNTER, "Alerts sent.")
OUTBOX_FAILED = Metric(
    "driftd_outbox_failed_total", Kind.COUNTER, "Attempts to send an alert that failed.", ("reason",)
)
HTTP_REQUESTS = Metric(
    "driftd_http_requests_total", Kind.COUNTER, "HTTP requests answered.", ("method", "route", "status")
)
HTTP_SECONDS = Metric(
    "driftd_http_request_seconds", Kind.HISTOGRAM, "Time to answer a request.", ("route",), _REQUEST_SECONDS
)

TABLE: Final = (
    EVENTS,
    JOINED,
    DUPLICATES,
    DEAD_LETTERS,
    INGESTED,
    BATCHES,
    BATCH_SECONDS,
    LAG,
    WORKERS_ALIVE,
    PARTITIONS_UNREAD,
    MODELS_UNOWNED,
    PARCELS_WAITING,
    PARCEL_EVENTS_WAITING,
    LAST_CHECKPOINT,
    WAITING,
    ALARMS,
    OPEN_ALARMS,
    DECISIONS,
    RETRAINS,
    RETRAINS_RUNNING,
    PROMOTIONS,
    ROLLBACKS,
    PERFORMANCE,
    PERFORMANCE_BOUND,
    ESTIMATED,
    ESTIMATED_BOUND,
    ESTIMATE_TRUSTED,
    OUTBOX_WAITING,
    OUTBOX_SENT,
    OUTBOX_FAILED,
    HTTP_REQUESTS,
    HTTP_SECONDS,
)


class Metrics:
    """The metrics of one daemon, in a registry of their own.

    ``labels`` are given in the order of the table. Nothing here blocks. A label ``model`` gets at most
    ``MOST_MODELS`` values, because every value is a series that a Prometheus server keeps.
    """

    def __init__(self, *, most_models: int = MOST_MODELS) -> None:
        self.registry = CollectorRegistry()
        self._most_models = most_models
        self._models: set[str] = set()
        self._series: dict[str, Counter | Gauge | Histogram] = {metric.name: self._made(metric) for metric in TABLE}
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def add(self, metric: Metric, amount: float = 1, *labels: str) -> None:
        """Count ``amount`` more of a counter. Raises ValueError where it is negative or labels are missing."""
        series = self._one(metric, labels)
        assert isinstance(series, Counter), metric.name  # noqa: S101 (a mistake in the code, not in the data)
        series.inc(amount)

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Where a gauge stands now."""
        series = self._one(metric, labels)
        assert isinstance(series, Gauge), metric.name  # noqa: S101 (likewise)
        series.set(value)

    def forget(self, metric: Metric) -> None:
        """Drop all series of a gauge with labels, until they are set again."""
        self._series[metric.name].clear()

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """One more value of a histogram."""
        series = self._one(metric, labels)
        assert isinstance(series, Histogram), metric.name  # noqa: S101 (likewise)
        series.observe(value)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All of them in the format that ``accept`` asks for, and that format's content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def _made(self, metric: Metric) -> Counter | Gauge | Histogram:
        if metric.kind is Kind.HISTOGRAM:
            return Histogram(metric.name, metric.help, metric.labels, registry=self.registry, buckets=metric.buckets)
        kind = Counter if metric.kind is Kind.COUNTER else Gauge
        return kind(metric.name, metric.help, metric.labels, registry=self.registry)

    def _one(self, metric: Metric, labels: tuple[str, ...]) -> Counter | Gauge | Histogram:
        series = self._series[metric.name]
        if not metric.labels:
            return series
        return series.labels(*self._bounded(metric.labels, labels))

    def _bounded(self, names: tuple[str, ...], values: tuple[str, ...]) -> Iterable[str]:
        for name, value in zip(names, values, strict=True):
            if name == "model" and value not in self._models:
                if len(self._models) >= self._most_models:
                    yield OTHER
                    continue
                self._models.add(value)
            yield value
