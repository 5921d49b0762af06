"""How much of what is seen a shift of the labels leaves unexplained, where all else given the label is as it was.

That is the idea of Lipton, Wang and Smola (2018, "Detecting and correcting for label shift with black box predictors")
with all features in the place of the predictor.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.effect import groups_of
from detectors.error_shift import FEWEST_LABELS
from detectors.known import Known, answer
from detectors.moves import SMOOTHING, counted, divergence, grouped, law_of
from detectors.parts import LABEL_GROUPS, MOST_CLASSES, Parts
from detectors.recent_rows import RecentRows
from detectors.reference import Reference

FEWEST_JOINED: Final = 100
"""Rows of the reference, with their labels, below which nothing is said of features given labels."""


def unexplained_by_labels(known: Known) -> float:
    """Nats that a shift of the labels alone leaves unexplained of features, scores and labels; inf where unknown.

    Given the label all else is taken to follow the reference's law: the law of a signal is the reference's, each group
    weighed by how many of its rows have which label.
    """
    if known.outcome is None:
        return np.inf
    outcome, outcomes = known.outcome
    part = Parts(outcome, outcome.signals.index("label"), LABEL_GROUPS)
    classes = part(outcome.sample)
    count = int(classes.max(initial=0)) + 1
    if not 1 < count <= MOST_CLASSES:
        return np.inf
    before = np.bincount(classes, minlength=count) + SMOOTHING
    before /= before.sum()
    labels = np.bincount(part(outcomes.points), minlength=count)[:count].astype(np.float64)
    if labels.sum() < FEWEST_LABELS and count > 2:  # noqa: PLR2004 (of two classes the share is found without labels)
        return np.inf
    after = (labels + count * before) / (labels.sum() + count)
    candidates = np.array(_candidates(before, after))
    temper = float(outcome.temper[outcome.signals.index("label")])
    costs = np.array([labels.sum() * temper * _kl(after, one) for one in candidates])
    rows = 0
    for stream, only in ((known.features, None), (known.prediction, answer)):
        if stream is None or len(stream[1]) < FEWEST_LABELS:
            continue
        which = slice(None) if only is None else slice(only(stream[0]), only(stream[0]) + 1)
        left = _mixed(*stream, which, outcome, classes, candidates, before)
        if left is None:
            return np.inf
        costs += left
        rows = max(rows, len(stream[1]))
    return float(costs.min()) + 0.5 * (count - 1) * float(np.log(max(rows, 3)))


def _mixed(
    reference: Reference,
    since: RecentRows,
    which: slice,
    outcome: Reference,
    classes: NDArray[np.int64],
    candidates: NDArray[Any],
    before: NDArray[Any],
) -> NDArray[np.float64] | None:
    """Nats that each of the candidates leaves unexplained of the signals ``which``; None where rows have no label."""
    found, mine, theirs = np.intersect1d(reference.sample_rows, outcome.sample_rows, return_indices=True)
    if len(found) < FEWEST_JOINED:
        return None
    now = grouped(reference, counted(reference.codes(since.points), reference.width))[which]
    law = grouped(reference, reference.counts)[which]
    used = (now + law) > 0
    law = law_of(law, used)
    codes = reference.codes(reference.sample[mine])
    given = np.zeros((*law.shape, len(before)))
    for place, s in enumerate(range(len(reference.signals))[which]):
        np.add.at(given[place], (groups_of(reference, s)[codes[:, s]], classes[theirs]), 1.0)
    # what share of each group has which label, tempered where it has few rows
    given = (given + 2 * before) / (given.sum(axis=2, keepdims=True) + 2)
    temper = reference.temper[which]
    # as large as where each signal moved by itself (see ``moves.py``): what is compared has to be weighed alike
    noise = 1 / (np.maximum(now.sum(axis=1), 1.0) * temper) + 1 / (reference.rows * temper)
    costs = []
    for one in candidates:
        mixed = law * (given @ (one / before))
        mixed /= np.maximum(mixed.sum(axis=1, keepdims=True), 1e-12)
        costs.append(float((divergence(now, mixed, used) / noise).sum()))
    return np.array(costs)


def _candidates(before: NDArray[Any], after: NDArray[Any]) -> list[NDArray[Any]]:
    if len(before) == 2:  # noqa: PLR2004 (two classes: every share)
        shares = np.linspace(0.02, 0.98, 49)
        return [np.array([1 - share, share]) for share in shares.tolist()]
    path = [before + step * (after - before) for step in np.linspace(0, 1.3, 27).tolist()]
    return [one / one.sum() for one in (np.maximum(each, 1e-3) for each in path)]


def _kl(q: NDArray[np.float64], p: NDArray[np.float64]) -> float:
    return float((q * np.log(q / np.maximum(p, 1e-9))).sum())
