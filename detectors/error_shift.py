"""How far the errors since a change are from what the features, or the labels, of their rows would have them be."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.bins import FIRST_BIN
from detectors.effect import groups_of
from detectors.known import Known, answer
from detectors.moves import SMOOTHING, Moves, divergence, law_of
from detectors.parts import LABEL_GROUPS, SCORE_GROUPS, Parts

FEWEST_LABELS: Final = 12
"""Labelled rows below which nothing is said of errors."""
SYSTEMATIC: Final = 0.025
"""How far a share of errors, given score or label, may be off without anything having changed: no model is so well
calibrated that it holds in every part of the features."""
PRIOR_ODDS: Final = 2.0
"""Nats by which a rarer explanation has to be better than that only the features have moved."""
MOST_WEIGHED: Final = 3
"""Features whose shift is allowed for in the errors expected of a model without scores."""
WEIGHT_LIMIT: Final = 10.0


@dataclass(frozen=True, slots=True)
class Errors:
    """Nats by which the errors do not follow from the features, from the labels, and what a change of its own takes."""

    given_features: float
    given_labels: float
    anyhow: float
    labels: int
    figures: dict[str, float]


def errors(known: Known, moved: Moves | None) -> Errors | None:
    """What the errors say; None where too few labels have come. ``moved`` is how the features moved."""
    if known.outcome is None or known.prediction is None:
        return None
    outcome, outcomes = known.outcome
    prediction, predictions = known.prediction
    _, mine, theirs = np.intersect1d(outcomes.rows, predictions.rows, return_indices=True)
    _, ref_mine, ref_theirs = np.intersect1d(outcome.sample_rows, prediction.sample_rows, return_indices=True)
    e = outcome.signals.index("error")
    if len(mine) < FEWEST_LABELS or len(ref_mine) < FEWEST_LABELS or not np.isfinite(outcome.sample[:, e]).any():
        return None  # too few labels, or nothing known of errors: labels of models that predicted nothing
    cut = 0.5 if outcome.bins[e].width == FIRST_BIN + 2 else float(np.nanmedian(outcome.sample[:, e]))
    wrong, was_wrong = (rows[:, e] > cut for rows in (outcomes.points[mine], outcome.sample[ref_mine]))
    scored = "score" in prediction.signals
    part = Parts(prediction, answer(prediction), SCORE_GROUPS)
    now, before = part(predictions.points[theirs]), part(prediction.sample[ref_theirs])
    temper = float(outcome.temper[e])
    weights = np.ones(len(ref_mine))
    if not scored and moved is not None:
        weights = _weights(known, moved, outcome.sample_rows[ref_mine])
    ours = _Rates.of(now, wrong, before, was_wrong, weights, temper)
    by_label = Parts(outcome, outcome.signals.index("label"), LABEL_GROUPS)
    theirs_ = _Rates.of(
        by_label(outcomes.points[mine]), wrong, by_label(outcome.sample[ref_mine]), was_wrong, np.ones(len(ref_mine)),
        temper,
    )  # fmt: skip
    labels = len(mine)
    one = 0.5 * np.log(labels)
    overall, parts = ours.overall**2 / 2, float((ours.each**2).sum()) / 2 - len(ours.each) / 2
    given_features = max(overall, parts, 0.0)
    anyhow = PRIOR_ODDS + given_features - max(overall - one, parts - len(ours.each) * one)
    figures = {
        "labels": float(labels),
        "error": round(float(wrong.mean()), 4),
        "expected_error": round(ours.expected, 4),
        "reference_error": round(float(was_wrong.mean()), 4),
    }
    answers = _divergence_given(
        by_label(outcomes.points[mine]), now, by_label(outcome.sample[ref_mine]), before, temper
    )
    given_labels = max(float((theirs_.each**2).sum()) / 2 - len(theirs_.each) / 2, answers, 0.0)
    return Errors(given_features, given_labels, max(anyhow, PRIOR_ODDS), labels, figures)


def _divergence_given(
    labels: NDArray[np.int64],
    parts: NDArray[np.int64],
    labels_before: NDArray[np.int64],
    parts_before: NDArray[np.int64],
    temper: float,
) -> float:
    """Nats by which the parts that rows with each label are in are not those that they were in before."""
    found = 0.0
    width = int(max(parts.max(initial=0), parts_before.max(initial=0))) + 1
    for label in np.unique(labels).tolist():
        now = np.bincount(parts[labels == label], minlength=width)[None].astype(np.float64)
        before = np.bincount(parts_before[labels_before == label], minlength=width)[None].astype(np.float64)
        if now.sum() < FEWEST_LABELS or before.sum() < FEWEST_LABELS:
            continue
        used = (now + before) > 0
        noise = (1 / now.sum() + 1 / before.sum()) / temper
        found += float(divergence(now, law_of(before, used), used)[0]) / noise - float(used.sum() - 1) / 2
    return found


@dataclass(frozen=True, slots=True)
class _Rates:
    """How far the rate of errors is from the reference's, in standard errors: in each part, and given the parts."""

    each: NDArray[np.float64]
    overall: float
    expected: float

    @classmethod
    def of(
        cls,
        now: NDArray[np.int64],
        wrong: NDArray[np.bool_],
        before: NDArray[np.int64],
        was_wrong: NDArray[np.bool_],
        weights: NDArray[np.float64],
        temper: float,
    ) -> "_Rates":
        parts = int(max(now.max(initial=0), before.max(initial=0))) + 1
        rows = np.bincount(now, minlength=parts).astype(np.float64)
        errors = np.bincount(now, wrong, parts)
        mass = np.bincount(before, weights, parts)
        squares = np.bincount(before, weights**2, parts)
        before_rows = np.where(squares > 0, mass**2 / np.maximum(squares, 1e-12), 0.0)
        usual = float((weights * was_wrong).sum() / weights.sum())
        # a part that the reference hardly has is taken to err as all of it does
        before_rate = (np.bincount(before, weights * was_wrong, parts) + usual) / (mass + 1)
        rate = errors / np.maximum(rows, 1.0)
        pooled = (errors + before_rate * before_rows + 0.5) / (rows + before_rows + 1)
        noise = pooled * (1 - pooled) * (1 / np.maximum(rows * temper, 1.0) + 1 / np.maximum(before_rows * temper, 1.0))
        seen = (rows >= 5) & (before_rows >= 5)  # noqa: PLR2004 (as the custom is for a table of counts)
        each = (rate - before_rate) / np.sqrt(noise + SYSTEMATIC**2)
        share = rows / max(rows.sum(), 1.0)
        gap = float((share * (rate - before_rate)).sum())
        overall = gap / np.sqrt(float((share**2 * noise).sum()) + SYSTEMATIC**2)
        return cls(each[seen], float(overall), float((share * before_rate).sum()))


def _weights(known: Known, moved: Moves, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """What each of the reference's ``rows`` counts for, so that the features that moved most are as they are now."""
    weights = np.ones(len(rows))
    if known.features is None:
        return weights
    reference, since = known.features
    found, mine, theirs = np.intersect1d(rows, reference.sample_rows, return_indices=True)
    if not len(found):
        return weights
    which = np.argsort(-np.where(moved.moved, moved.misfit, 0.0), kind="stable")[:MOST_WEIGHED]
    codes, sample = reference.codes(since.points), reference.codes(reference.sample[theirs])
    for s in which[moved.moved[which]].tolist():
        groups = groups_of(reference, s)
        now = np.bincount(groups[codes[:, s]], minlength=len(groups)) + SMOOTHING
        before = np.bincount(groups, reference.counts[s], len(groups)) + SMOOTHING
        ratio = np.clip((now / now.sum()) / (before / before.sum()), 1 / WEIGHT_LIMIT, WEIGHT_LIMIT)
        weights[mine] *= ratio[groups[sample[:, s]]]
    return weights
