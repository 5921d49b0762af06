"""A model's settings as what its parts take: its detectors with their shares of the budget, the policy's rules."""

from collections.abc import Sequence

from daemon.events.event_rules import EventLimits
from daemon.lifecycle.policy import Rules
from daemon.monitoring.gaps import GapWatch
from daemon.monitoring.monitor import Monitor
from daemon.monitoring.options import EstimateOptions, MonitorOptions
from daemon.monitoring.segments import DETECTOR as SEGMENTS
from daemon.monitoring.segments import SegmentWatch
from daemon.monitoring.tasks import Task
from daemon.settings import DetectorChoice, ModelSettings
from daemon.settings import Task as ChosenTask
from detectors import registry
from detectors.alibi import Alibi
from detectors.base import Detector
from detectors.columns import Stream
from detectors.e_detector import EDetector
from detectors.loss_model import FEWEST_ROWS
from detectors.reference import Reference
from detectors.registry import DEFAULT, DETECTORS, Options
from detectors.segments import DOUBT

DEFAULT_LIMITS = EventLimits()
SHARES = {Stream.FEATURES: 1 / 3, Stream.PREDICTION: 1 / 3, Stream.OUTCOME: 1 / 3}
"""How a model's budget of false alarms is split: false alarms of its streams add up, so their shares add up to 1."""

SEGMENTS_SHARE = 1 / 4
"""The part of a stream's share that its segments have, where its reference has any: the stream keeps the rest."""
GAPS_SHARE = 1 / 2
"""The part of that which gaps between segments have, where they are watched."""


def make_monitor(
    model: str,
    settings: ModelSettings,
    limits: EventLimits = DEFAULT_LIMITS,
    alibi: Alibi | None = None,
    *,
    estimated: bool = True,
) -> Monitor:
    """The monitor of ``model``; ``alibi`` is the way to where alibi-detect runs.

    ``estimated`` says whether it estimates performance without labels, where the settings allow that.
    """
    options = MonitorOptions(
        reference_rows=settings.reference_rows,
        window_rows=settings.window_rows,
        bins=settings.reference_bins,
        max_waiting=settings.labels.max_waiting,
        performance_rows=settings.performance_rows,
        task=None if settings.task is ChosenTask.AUTO else Task(settings.task.value),
        features=None if settings.features is None else frozenset(settings.features),
        exclude=frozenset(settings.exclude or ()),
        most_features=limits.features,
        limits=limits,
        segments=settings.segments,
        positive=settings.positive,
        estimates=_estimates(settings) if settings.estimates and estimated else None,
    )

    chosen = chosen_detectors(settings)

    def build(reference: Reference, segmented: bool) -> Sequence[Detector]:
        watching = [one for one in chosen if reference.stream in DETECTORS[one.name].streams]
        share = SHARES[reference.stream] * (1 - SEGMENTS_SHARE * segmented) / max(len(watching), 1)
        told = Options(settings.events_per_false_alarm / share, settings.min_effect, settings.min_loss, alibi)
        made = [registry.build(one.name, reference, told, dict(one.options)) for one in watching]
        return [detector for detector in made if detector is not None]

    def budget_within(stream: Stream, share: float) -> float:
        return settings.events_per_false_alarm / (SHARES[stream] * SEGMENTS_SHARE * share)

    def detector_within(reference: Reference) -> EDetector:
        gaps = settings.max_gap is not None and reference.stream is not Stream.FEATURES
        budget = budget_within(reference.stream, 1 - GAPS_SHARE * gaps)
        return EDetector(reference, budget, settings.min_effect, settings.min_loss, name=SEGMENTS, doubt=DOUBT)

    def gap_watch(stream: Stream) -> GapWatch | None:
        if settings.max_gap is None or stream is Stream.FEATURES:
            return None
        return GapWatch(settings.max_gap, budget_within(stream, GAPS_SHARE), settings.positive)

    return Monitor(model, options, build, SegmentWatch(detector_within, gap_watch))


def _estimates(settings: ModelSettings) -> EstimateOptions:
    return EstimateOptions(labels=max(settings.reference_rows, FEWEST_ROWS), tolerance=settings.min_loss)


def chosen_detectors(settings: ModelSettings) -> list[DetectorChoice]:
    """The detectors to run, ``default`` spelt out, each once."""
    default = [DetectorChoice(name) for name in DEFAULT]
    spelt_out = [each for one in settings.detectors for each in (default if one.name == "default" else [one])]
    return list(dict.fromkeys(spelt_out))


def rules_of(settings: ModelSettings) -> Rules:
    """What the policy goes by for a model."""
    retrain = settings.retrain
    return Rules(
        mode=settings.mode,
        on=frozenset(retrain.on),
        cooldown_seconds=retrain.cooldown_seconds,
        budget_per_day=retrain.budget_per_day,
        minimum_labels=retrain.minimum_labels,
        refits=retrain.refits,
        judged_share=settings.gate.evaluation_share,
        judged_rows=settings.gate.minimum_rows,
        rollback=settings.watch.rollback,
        watch_rows=settings.watch.rows,
    )
