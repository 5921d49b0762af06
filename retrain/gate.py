"""Whether a challenger replaces the champion: PROMOTE, HOLD or REJECT, with every reason and its figures.

The gain is the mean difference of the two losses on the same later rows. It is bounded by betting (see
``retrain.betting``), not by a studentised interval, so that a challenger that is no better is promoted with
probability at most 1 - confidence on any law of losses and any number of rows. Where neighbouring rows resemble each
other, blocks of rows are one observation (``retrain.paired``).
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Final

from retrain.base import Candidate, Outcome, Reason
from retrain.checks import Check, calibration, constant, fairness, latency, size
from retrain.evaluation import Evaluation
from retrain.job import GateSettings
from retrain.losses import metrics
from retrain.slices import SliceFigures, judge_slices

ORDER: Final = (Outcome.REJECT, Outcome.HOLD, Outcome.PROMOTE)


@dataclass(frozen=True, slots=True)
class Gain:
    """How much smaller the challenger's mean loss is: a share of the rows for classes, of the champion's error else.

    ``low`` and ``high`` are one-sided bounds at ``confidence``; None where there is none.
    """

    estimate: float
    low: float | None
    high: float | None
    confidence: float
    loss: str
    rows: int
    block: int
    """Rows that count as one observation, because they resemble each other."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the gate found."""

    outcome: Outcome
    reasons: tuple[Reason, ...]
    checks: tuple[Check, ...]
    gain: Gain
    slices: tuple[SliceFigures, ...] = ()
    metrics: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def judge(evaluation: Evaluation, candidate: Candidate, settings: GateSettings) -> Judgement:
    """The gate's judgement. Raises RetrainError where a setting names what the rows do not have."""
    slices = judge_slices(evaluation, settings)
    gain = measure_gain(evaluation, settings)
    checks = [
        _gain_check(evaluation, gain, settings),
        _slice_check(slices, settings),
        constant(evaluation),
        fairness(evaluation, settings),
        calibration(evaluation, settings),
        latency(candidate, settings),
        size(candidate, settings),
    ]
    found = tuple(check for check in checks if check is not None)
    outcome = next(one for one in ORDER if any(check.outcome is one for check in found))
    reasons = tuple(dict.fromkeys(check.reason for check in found if check.outcome is outcome))
    return Judgement(
        outcome=outcome,
        # a limit that was kept is no reason to promote, only the gain is
        reasons=(Reason.GAIN_PROVEN,) if outcome is Outcome.PROMOTE else reasons,
        checks=found,
        gain=gain,
        slices=tuple(slices),
        metrics={
            "champion": metrics(evaluation.truth, evaluation.champion),
            "challenger": metrics(evaluation.truth, evaluation.challenger),
            "constant": metrics(evaluation.truth, evaluation.constant),
        },
    )


def measure_gain(evaluation: Evaluation, settings: GateSettings) -> Gain:
    """The gain and its interval."""
    pairs = evaluation.pairs()
    low, high = pairs.interval(1 - settings.confidence)
    return Gain(pairs.gain, low, high, settings.confidence, settings.loss, len(pairs), pairs.block)


def _gain_check(evaluation: Evaluation, gain: Gain, settings: GateSettings) -> Check:
    alpha = 1 - settings.confidence
    pairs = evaluation.pairs()
    bounds = f"{_signed(gain.low)} to {_signed(gain.high)} at {settings.confidence:.0%}"
    said = f"gain {gain.estimate:+.4f} ({bounds}) on {gain.rows} rows"
    if gain.rows < settings.minimum_rows:
        text = f"{gain.rows} rows with a loss of both models, {settings.minimum_rows} are needed"
        return Check(Reason.TOO_FEW_ROWS, Outcome.HOLD, text)
    if pairs.proves_below(0.0, alpha):
        return Check(Reason.WORSE, Outcome.REJECT, said)
    # losses are cut off for the proof; the mean that nobody cut must agree
    uncut = evaluation.uncut_gain()
    if pairs.proves_above(settings.minimum_gain, alpha) and uncut > settings.minimum_gain:
        return Check(Reason.GAIN_PROVEN, Outcome.PROMOTE, said)
    return Check(Reason.GAIN_NOT_PROVEN, Outcome.HOLD, f"{said}, more than {settings.minimum_gain:g} was to be shown")


def _slice_check(slices: list[SliceFigures], settings: GateSettings) -> Check | None:
    if not slices:
        return None
    broken = [one for one in slices if one.broken]
    worst = min(broken or slices, key=lambda one: one.gain)
    text = (
        f"{worst.attribute} = {worst.value}: gain {worst.gain:+.4f} on {worst.rows} rows,"
        f" the lowest of {len(slices)} slices; floor {-settings.slice_floor:g}"
    )
    outcome = Outcome.REJECT if broken else Outcome.PROMOTE
    return Check(Reason.SLICE_FLOOR, outcome, text, {"slices": len(slices), "broken": len(broken)})


def _signed(bound: float | None) -> str:
    return "unbounded" if bound is None else f"{bound:+.4f}"
