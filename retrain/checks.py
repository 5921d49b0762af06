"""The limits beside the gain: fairness, calibration, latency, size, and that something was learned at all."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrain.base import Candidate, Outcome, Reason
from retrain.evaluation import Evaluation
from retrain.job import GateSettings
from retrain.losses import Predictions, brier
from retrain.paired import Pairs
from retrain.slices import groups_of

MIB = 1024.0**2


@dataclass(frozen=True, slots=True)
class Check:
    """What one test found, in a sentence for people and in figures; PROMOTE: nothing stands in the way."""

    reason: Reason
    outcome: Outcome
    text: str
    figures: dict[str, Any] = field(default_factory=dict)


def constant(evaluation: Evaluation) -> Check:
    """A challenger must at least beat one that always says the same."""
    losses = evaluation.losses(evaluation.challenger)
    always = evaluation.losses(evaluation.constant)
    means = {"challenger": _mean(losses), "constant": _mean(always)}
    better = means["challenger"] < means["constant"]
    text = f"mean loss {means['challenger']:.4f}; always saying the same has {means['constant']:.4f}"
    return Check(Reason.NO_BETTER_THAN_CONSTANT, Outcome.PROMOTE if better else Outcome.HOLD, text, means)


def _mean(losses: NDArray[np.float64]) -> float:
    known = losses[np.isfinite(losses)]
    return float(known.mean()) if len(known) else 0.0


def fairness(evaluation: Evaluation, settings: GateSettings) -> Check | None:
    """The largest difference between two groups: in how often a class is predicted, or in the mean error of numbers.

    For two classes it is the demographic parity difference (Agarwal et al. 2018); for numbers it is a share of the
    mean error of all. Over the bound is REJECT where that is certain (a one-sided bound of Hoeffding's inequality over
    both groups) and HOLD where it is not.
    """
    if settings.fairness_attribute is None:
        return None
    groups = groups_of(evaluation, settings.fairness_attribute)
    names = [
        name
        for name in dict.fromkeys(groups)
        if name is not None and int((groups == name).sum()) >= settings.slice_rows
    ]
    if len(names) < 2:  # noqa: PLR2004 (a difference needs two)
        text = f"{settings.fairness_attribute}: fewer than two groups of {settings.slice_rows} rows to compare"
        return Check(Reason.FAIRNESS, Outcome.HOLD, text)
    champion, _ = _widest(evaluation, evaluation.champion, groups, names)
    gap, doubt = _widest(evaluation, evaluation.challenger, groups, names, 1 - settings.confidence)
    figures = {"champion": champion, "challenger": gap, "bound": settings.fairness_bound, "groups": len(names)}
    over, certain = gap > settings.fairness_bound, gap - doubt > settings.fairness_bound
    text = (
        f"{settings.fairness_attribute}: gap {gap:.3f} between groups, at most {settings.fairness_bound:g} is allowed"
        f" (champion {champion:.3f})"
    )
    return Check(Reason.FAIRNESS, _limit(over=over, certain=certain), text, figures)


def _limit(*, over: bool, certain: bool = True) -> Outcome:
    if not over:
        return Outcome.PROMOTE
    return Outcome.REJECT if certain else Outcome.HOLD


def _widest(
    evaluation: Evaluation, said: Predictions, groups: NDArray[Any], names: list[Any], alpha: float = 0.5
) -> tuple[float, float]:
    """The widest gap between two groups, and by how much it may be overestimated at level ``alpha``."""
    if evaluation.relative:
        errors = evaluation.losses(said)
        columns = [np.minimum(errors, evaluation.worst) / (errors.mean() or 1.0)]
    else:
        columns = [(said.values == name).astype(np.float64) for name in dict.fromkeys(said.values)]
    widest, doubt = 0.0, 0.0
    for column in columns:
        means = [(float(column[groups == name].mean()), int((groups == name).sum())) for name in names]
        if len(means) > 1:
            (high, high_rows), (low, low_rows) = max(means), min(means)
            if high - low > widest:
                pairs = len(names) * (len(names) - 1) * len(columns)
                widest = high - low
                spread = float(column.max() - column.min())
                doubt = spread * float(np.sqrt(np.log(pairs / alpha) / 2 * (1 / high_rows + 1 / low_rows)))
    return widest, doubt


def calibration(evaluation: Evaluation, settings: GateSettings) -> Check | None:
    """The Brier score must not be worse than the champion's by more than the bound."""
    bound = settings.calibration_bound
    if bound is None or evaluation.relative:
        return None
    champion = brier(evaluation.truth, evaluation.champion)
    known = np.isfinite(champion)
    if not known.any():
        return None  # there is nothing to be worse than
    if evaluation.challenger.probabilities is None:
        text = "the champion gives probabilities, the challenger none"
        return Check(Reason.CALIBRATION, Outcome.HOLD, text)
    pairs = Pairs(champion[known], brier(evaluation.truth, evaluation.challenger)[known])
    certain = pairs.proves_below(-bound, 1 - settings.confidence)
    text = f"Brier score changed by {-pairs.gain:+.4f}, at most {bound:+g} is allowed"
    return Check(Reason.CALIBRATION, _limit(over=pairs.gain < -bound, certain=certain), text)


def latency(candidate: Candidate, settings: GateSettings) -> Check | None:
    """The time of one prediction must stay below the limit."""
    limit = settings.latency_ms
    if limit is None:
        return None
    if candidate.latency_seconds is None:
        text = f"not measured, and at most {limit:g} ms are allowed"
        return Check(Reason.LATENCY, Outcome.HOLD, text)
    measured = candidate.latency_seconds * 1000
    text = f"{measured:.3g} ms a prediction, at most {limit:g} are allowed"
    return Check(Reason.LATENCY, _limit(over=measured > limit), text, {"milliseconds": measured})


def size(candidate: Candidate, settings: GateSettings) -> Check | None:
    """The model's files must stay below the limit."""
    if settings.size_mb is None:
        return None
    total = sum(file.stat().st_size for file in candidate.folder.rglob("*") if file.is_file()) / MIB
    text = f"{total:.3g} MiB, at most {settings.size_mb:g} are allowed"
    return Check(Reason.SIZE, _limit(over=total > settings.size_mb), text, {"mebibytes": total})
