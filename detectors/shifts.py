"""How well a shift of the features, of the labels, or of what labels follow from features, explains what is seen.

Each explanation is weighed by what it leaves unexplained, in nats, and by what it takes to say it (Schwarz 1978,
"Estimating the dimension of a model"): a feature that has moved freely takes as many numbers as it has groups, a shift
of the labels one number for all features together. That is the idea of Lipton, Wang and Smola (2018, "Detecting and
correcting for label shift with black box predictors") with all features in the place of the predictor.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.bins import FIRST_BIN, NumberBins
from detectors.effect import groups_of
from detectors.recent_rows import RecentRows
from detectors.reference import Reference

SMOOTHING: Final = 0.5
FEWEST_LABELS: Final = 12
"""Labelled rows below which nothing is said of errors."""
FEWEST_JOINED: Final = 100
"""Rows of the reference, with their labels, below which nothing is said of features given labels."""
SCORE_GROUPS: Final = 5
LABEL_GROUPS: Final = 3
"""Numbers are cut into so many groups of the reference's rows."""
MOST_CLASSES: Final = 8
SYSTEMATIC: Final = 0.025
"""How far a share of errors, given score or label, may be off without anything having changed: no model is so well
calibrated that it holds in every part of the features."""
PRIOR_ODDS: Final = 2.0
"""Nats by which a rarer explanation has to be better than that only the features have moved."""
MOST_WEIGHED: Final = 3
"""Features whose shift is allowed for in the errors expected of a model without scores."""
WEIGHT_LIMIT: Final = 10.0


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a change: of each stream its reference and the rows since. None: the stream is not watched."""

    features: tuple[Reference, RecentRows] | None = None
    prediction: tuple[Reference, RecentRows] | None = None
    outcome: tuple[Reference, RecentRows] | None = None


@dataclass(frozen=True, slots=True)
class Moves:
    """How the features moved.

    ``misfit`` holds for each feature the nats by which the reference's law fails, ``free`` what a law of its own takes;
    ``rows`` is how many rows were seen.
    """

    signals: tuple[str, ...]
    misfit: NDArray[np.float64]
    free: NDArray[np.float64]
    degrees: NDArray[np.float64]
    rows: int

    @property
    def moved(self) -> NDArray[np.bool_]:
        """Which have moved beyond chance."""
        return self.misfit > self.free

    @property
    def cost(self) -> float:
        """Nats of all features, each as it was or free."""
        return float(np.minimum(self.misfit, self.free).sum())


@dataclass(frozen=True, slots=True)
class Weighed:
    """Nats for each explanation, higher is better, -inf for what cannot be told; ``figures`` are behind them."""

    covariate: float
    label: float
    concept: float
    labels: int
    moved: tuple[str, ...]
    figures: dict[str, float] = field(default_factory=dict)


def grouped(reference: Reference, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Counts of bins (S signals, B bins) as counts of the groups that the stability index has, padded with zeros."""
    groups = np.array([groups_of(reference, s) for s in range(len(reference.signals))])
    found = np.zeros((len(counts), int(groups.max(initial=0)) + 1))
    np.add.at(found, (np.arange(len(counts))[:, None], groups), counts)
    return found


def counted(codes: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """How many rows of each signal are in each bin: S signals, B bins."""
    return np.stack([np.bincount(codes[:, s], minlength=width) for s in range(codes.shape[1])])


def moves(reference: Reference, since: RecentRows) -> Moves:
    """How all signals of a stream moved."""
    now = grouped(reference, counted(reference.codes(since.points), reference.width))
    return moves_between(reference.signals, now, grouped(reference, reference.counts), reference.temper)


def moves_between(
    signals: tuple[str, ...], now: NDArray[np.float64], before: NDArray[np.float64], temper: NDArray[np.float64]
) -> Moves:
    """The same from counts of groups (S signals, G groups)."""
    rows = np.maximum(now.sum(axis=1), 1.0) * temper
    before_rows = np.maximum(before.sum(axis=1), 1.0) * temper
    used = (now + before) > 0
    degrees = np.maximum(used.sum(axis=1) - 1.0, 0.0)
    misfit = _divergence(now, _law(before, used), used) / (1 / rows + 1 / before_rows)
    return Moves(signals, misfit, degrees / 2 * np.log(np.maximum(rows, 3.0)), degrees, int(now.sum(axis=1).max()))


def weigh(known: Known, moved: Moves | None) -> Weighed:
    """Weigh the three explanations; ``moved`` is how the features moved, where they are known."""
    answers = _answers(known)
    cost = (0.0 if moved is None else moved.cost) + (0.0 if answers is None else answers.cost)
    names = () if moved is None else tuple(np.array(moved.signals, dtype=object)[moved.moved].tolist())
    errors = _errors(known, moved)
    shift = PRIOR_ODDS + _label_shift(known)
    if errors is None:
        seen = names or (answers is not None and answers.moved.any())
        return Weighed(*((-cost, -shift) if seen else (-np.inf, -np.inf)), -np.inf, 0, names)
    return Weighed(
        -cost - errors.given_features,
        -shift - errors.given_labels,
        -cost - errors.anyhow,
        errors.labels,
        names,
        errors.figures,
    )


def _answers(known: Known) -> Moves | None:
    """How the scores moved, or the predictions where there are none: both say the same."""
    if known.prediction is None or len(known.prediction[1]) < FEWEST_LABELS:
        return None
    found = moves(*known.prediction)
    s = _answer(known.prediction[0])
    one = slice(s, s + 1)
    return Moves(found.signals[one], found.misfit[one], found.free[one], found.degrees[one], found.rows)


def _answer(prediction: Reference) -> int:
    return prediction.signals.index("score" if "score" in prediction.signals else "prediction")


def importance(known: Known) -> NDArray[np.float64] | None:
    """How much each feature tells of the prediction, in the reference's sample: mutual information without chance.

    None where the sample does not tell.
    """
    if known.features is None or known.prediction is None:
        return None
    features, prediction = known.features[0], known.prediction[0]
    _, mine, theirs = np.intersect1d(features.sample_rows, prediction.sample_rows, return_indices=True)
    if len(mine) < FEWEST_JOINED:
        return None
    to = Parts(prediction, _answer(prediction), SCORE_GROUPS)(prediction.sample[theirs])
    codes = features.codes(features.sample[mine])
    found = np.zeros(len(features.signals))
    classes = int(to.max(initial=0)) + 1
    for s in range(len(found)):
        group = groups_of(features, s)[codes[:, s]]
        table = np.zeros((int(group.max()) + 1, classes))
        np.add.at(table, (group, to), 1)
        table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
        share = table / table.sum()
        even = share.sum(axis=1, keepdims=True) * share.sum(axis=0, keepdims=True)
        information = float((share * np.log(np.where(share > 0, share, 1.0) / even)).sum())
        found[s] = max(information - (table.shape[0] - 1) * (table.shape[1] - 1) / (2 * len(mine)), 0.0)
    return found if found.sum() > 0 else None


# --- errors


@dataclass(frozen=True, slots=True)
class _Errors:
    """Nats by which the errors do not follow from the features, from the labels, and what a change of its own takes."""

    given_features: float
    given_labels: float
    anyhow: float
    labels: int
    figures: dict[str, float]


def _errors(known: Known, moved: Moves | None) -> _Errors | None:
    if known.outcome is None or known.prediction is None:
        return None
    outcome, outcomes = known.outcome
    prediction, predictions = known.prediction
    _, mine, theirs = np.intersect1d(outcomes.rows, predictions.rows, return_indices=True)
    _, ref_mine, ref_theirs = np.intersect1d(outcome.sample_rows, prediction.sample_rows, return_indices=True)
    if len(mine) < FEWEST_LABELS or len(ref_mine) < FEWEST_LABELS:
        return None
    e = outcome.signals.index("error")
    cut = 0.5 if outcome.bins[e].width == FIRST_BIN + 2 else float(np.nanmedian(outcome.sample[:, e]))
    wrong, was_wrong = (rows[:, e] > cut for rows in (outcomes.points[mine], outcome.sample[ref_mine]))
    scored = "score" in prediction.signals
    part = Parts(prediction, _answer(prediction), SCORE_GROUPS)
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
    return _Errors(given_features, given_labels, max(anyhow, PRIOR_ODDS), labels, figures)


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
        found += float(_divergence(now, _law(before, used), used)[0]) / noise - float(used.sum() - 1) / 2
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


# --- labels


def _label_shift(known: Known) -> float:
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
    for stream, only in ((known.features, None), (known.prediction, _answer)):
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
    law = _law(law, used)
    codes = reference.codes(reference.sample[mine])
    given = np.zeros((*law.shape, len(before)))
    for place, s in enumerate(range(len(reference.signals))[which]):
        np.add.at(given[place], (groups_of(reference, s)[codes[:, s]], classes[theirs]), 1.0)
    # what share of each group has which label, tempered where it has few rows
    given = (given + 2 * before) / (given.sum(axis=2, keepdims=True) + 2)
    temper = reference.temper[which]
    noise = 1 / (np.maximum(now.sum(axis=1), 1.0) * temper) + 1 / (len(found) * temper)
    costs = []
    for one in candidates:
        mixed = law * (given @ (one / before))
        mixed /= np.maximum(mixed.sum(axis=1, keepdims=True), 1e-12)
        costs.append(float((_divergence(now, mixed, used) / noise).sum()))
    return np.array(costs)


def _candidates(before: NDArray[Any], after: NDArray[Any]) -> list[NDArray[Any]]:
    if len(before) == 2:  # noqa: PLR2004 (two classes: every share)
        shares = np.linspace(0.02, 0.98, 49)
        return [np.array([1 - share, share]) for share in shares.tolist()]
    path = [before + step * (after - before) for step in np.linspace(0, 1.3, 27).tolist()]
    return [one / one.sum() for one in (np.maximum(each, 1e-3) for each in path)]


# --- parts


class Parts:
    """The part of each row by one of its signals: a class, or one of a few ranges that the reference has evenly."""

    def __init__(self, reference: Reference, s: int, parts: int) -> None:
        self._s = s
        bins = reference.bins[s]
        column = reference.sample[:, s].astype(np.float64)
        self._edges: NDArray[np.float64] | None = None
        self._codes = np.empty(0)
        if isinstance(bins, NumberBins):
            present = column[np.isfinite(column)]
            cuts = np.quantile(present, np.linspace(0, 1, parts + 1)[1:-1]) if len(present) else np.empty(0)
            self._edges = np.unique(cuts)
        else:
            codes, counts = np.unique(column[column >= FIRST_BIN], return_counts=True)
            self._codes = np.sort(codes[np.argsort(-counts, kind="stable")][:MOST_CLASSES])

    def __call__(self, points: NDArray[np.float32]) -> NDArray[np.int64]:
        """The part of each row, from 0 on."""
        column = points[:, self._s].astype(np.float64)
        if self._edges is not None:
            return np.searchsorted(self._edges, np.nan_to_num(column), side="right").astype(np.int64)
        if not len(self._codes):
            return np.zeros(len(column), dtype=np.int64)
        place = np.clip(np.searchsorted(self._codes, column), 0, len(self._codes) - 1)
        # classes that the reference does not have, and rows without any, are a part of their own
        return np.where(self._codes[place] == column, place, len(self._codes)).astype(np.int64)


def _law(counts: NDArray[np.float64], used: NDArray[np.bool_]) -> NDArray[np.float64]:
    law = np.where(used, counts + SMOOTHING, 0.0)
    return np.asarray(law / np.maximum(law.sum(axis=1, keepdims=True), SMOOTHING))


def _divergence(now: NDArray[np.float64], law: NDArray[np.float64], used: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Divergence (Kullback and Leibler) of what is seen of each signal from a law, in nats a row."""
    q = now / np.maximum(now.sum(axis=1, keepdims=True), 1.0)
    ratio = np.where(used & (q > 0), q / np.maximum(law, 1e-12), 1.0)
    return np.asarray((q * np.log(ratio)).sum(axis=1))


def _kl(q: NDArray[np.float64], p: NDArray[np.float64]) -> float:
    return float((q * np.log(q / np.maximum(p, 1e-9))).sum())
