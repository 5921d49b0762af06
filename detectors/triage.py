"""Why something was raised: broken data, a shift, a changed concept, or an earlier regime that is back.

A function of what is known at the alarm and of nothing else. What it cannot tell it calls UNKNOWN; and without labels
nobody can see that what follows from the same features has changed.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.base import Kind
from detectors.breakage import APART, Breakage, Broken, find_broken, out_of_range_by_shift
from detectors.error_shift import FEWEST_LABELS
from detectors.known import Known
from detectors.moves import Moves, moves
from detectors.recent_rows import RecentRows
from detectors.regimes import Regime, find_return
from detectors.shifts import Weighed, importance, weigh

__all__ = ["CAUSE", "Cause", "Examination", "Known", "Named", "Raised", "triage"]

CAUSE: Final = "cause"
"""Of an alarm's evidence: its cause, as ``Named.to_evidence`` writes it."""
FEATURE: Final = "feature:"
ANSWERS: Final = frozenset({"label", "prediction"})
"""What errors are made of."""
CONFIDENT: Final = 0.7
"""A cause with less confidence than this is not named."""
MOST_CONFIDENT: Final = 0.99
SLACK: Final = 1.25
"""Rows are wrong once at most: broken rows explain a rise of the error rate by so many times their share."""
MOST_OF_THE_ROWS: Final = 0.5
MOST_RANKED: Final = 5
MOST_NAMED: Final = 3
FEWEST_WHOLE: Final = 30
"""Rows that are not broken, below which broken ones are taken to explain what was raised."""


class Cause(StrEnum):
    """Why something was raised."""

    DATA_BROKEN = "data_broken"
    COVARIATE_SHIFT = "covariate_shift"
    """What goes into the model has moved; what follows from it has not."""
    LABEL_SHIFT = "label_shift"
    """Some answers have become more frequent; what goes with each answer is as it was."""
    CONCEPT_DRIFT = "concept_drift"
    """Something else follows from the same features."""
    RETURN = "return"
    """The rows are as they were in an earlier regime of this model."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Raised:
    """What was raised: its kind, its signal, and by how much the error rate rose where it is one."""

    kind: Kind
    signal: str
    rise: float | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """A cause with its confidence, the figures behind it (JSON values) and a sentence for people.

    ``ranking`` has the features by how much they moved, weighed by how much they matter to the model, as shares of 1.
    Of broken data: which ``breakage`` of which ``signal``, in what ``share`` of the rows.
    """

    cause: Cause
    confidence: float
    text: str
    breakage: Breakage | None = None
    signal: str | None = None
    share: float | None = None
    figures: dict[str, Any] = field(default_factory=dict)
    ranking: tuple[tuple[str, float], ...] = ()

    def to_evidence(self) -> dict[str, Any]:
        """What an alarm keeps of it, in JSON values."""
        broken: dict[str, Any] = {}
        if self.breakage is not None:
            broken = {"breakage": self.breakage.value, "signal": self.signal}
            broken |= {} if self.share is None else {"share": round(self.share, 4)}
        return {
            "name": self.cause.value,
            "confidence": round(self.confidence, 3),
            "text": self.text,
            **broken,
            "figures": self.figures,
            "ranking": [list(one) for one in self.ranking],
        }


def triage(raised: Raised, known: Known, regimes: tuple[Regime, ...] = ()) -> Named:
    """Name the cause of what was raised."""
    return Examination(known, regimes).cause(raised)


class Examination:
    """What rows tell of causes: worked out once, as far as it is asked for, for all that was raised of them."""

    def __init__(self, known: Known, regimes: tuple[Regime, ...] = ()) -> None:
        self._known = known
        self._regimes = regimes

    def cause(self, raised: Raised) -> Named:
        """Name the cause of what was raised."""
        broken, doubted = self._broken
        own = next((one for one in broken if one.signal == raised.signal), None)
        if own is not None and _explains(own, raised.kind):
            return _of_broken(own)
        if not _follows(raised):
            broken = [one for one in broken if one.signal.startswith(FEATURE)]  # what is asked follows from no answer
        answer = next((one for one in broken if one.signal in ANSWERS), None)
        if answer is not None and raised.signal == "error" and not _exceeds(raised, answer.share):
            return _of_broken(answer)
        whole, complete = self._whole
        if not complete:
            return _of_broken(broken[0]) if _follows(raised) else _beside(broken[0])
        weighed, moved = self._weighed
        if broken and not _beyond(raised, broken, whole, weighed, moved):
            return _of_broken(broken[0])
        if raised.kind is Kind.QUALITY:
            return _of_quality(raised, self._moved_numbers, weighed, self._ranking, doubted)
        named = self._return or _most_likely(raised, weighed, self._ranking)
        return replace(named, ranking=self._ranking)

    @cached_property
    def _broken(self) -> tuple[list[Broken], set[str]]:
        return _broken(self._known)

    @cached_property
    def _whole(self) -> tuple[Known, bool]:
        """The rows that are not broken in any feature, and whether there are enough of them to go by."""
        broken, _ = self._broken
        return _without(self._known, broken) if broken else (self._known, True)

    @cached_property
    def _weighed(self) -> tuple[Weighed, Moves | None]:
        return _weigh(self._whole[0])

    @cached_property
    def _moved_numbers(self) -> set[str]:
        """A category has no tail: what was never seen of it does not belong to what has moved."""
        if self._known.features is None:
            return set()
        reference = self._known.features[0]
        kinds = dict(zip(reference.signals, reference.kinds, strict=True))
        return {signal for signal in self._weighed[0].moved if kinds.get(signal, "number") == "number"}

    @cached_property
    def _ranking(self) -> tuple[tuple[str, float], ...]:
        return _ranking(self._whole[0], self._weighed[1])

    @cached_property
    def _return(self) -> Named | None:
        back = find_return(self._whole[0], self._weighed[1], self._regimes)
        if back is None:
            return None
        confidence = min(MOST_CONFIDENT, 1 / (1 + float(np.exp(-back.better))))
        text = f"back to how it was before row {back.regime.until:,}"
        text += f", when version {back.regime.version} served" if back.regime.version is not None else ""
        figures = {"nats": round(back.better, 2), "until": back.regime.until, "version": back.regime.version}
        return Named(Cause.RETURN, confidence, text, figures=figures)


def stopped_feed(what: str) -> Named:
    """The cause where nothing comes any more: ``what`` is the signal."""
    return Named(Cause.DATA_BROKEN, MOST_CONFIDENT, f"{what} no longer arrive", Breakage.STOPPED_FEED, what, 1.0)


def new_feature(signal: str) -> Named:
    """The cause where a feature came that was not there before."""
    text = f"{_name(signal)} was not there before"
    return Named(Cause.DATA_BROKEN, MOST_CONFIDENT, text, Breakage.NEW_FEATURE, signal, 1.0)


# --- broken data


def _broken(known: Known) -> tuple[list[Broken], set[str]]:
    """What is broken, the largest share first, and the signals that look so and probably are not."""
    found: list[Broken] = []
    for stream in (known.features, known.prediction):
        if stream is not None:
            found += find_broken(*stream)
    if known.outcome is not None:
        found += find_broken(*known.outcome, skip=("error",))
    doubted = _doubted(found, known)
    sure = [one for one in found if one.signal not in doubted]
    return sorted(sure, key=lambda one: (-one.share, one.signal)), doubted


def _doubted(found: list[Broken], known: Known) -> set[str]:
    """Signals that only look broken because the world has moved, and other features with it.

    Where many features move, one of them soon has values as never before, and some unit makes them fit: there are many
    units and many features. What breaks one feature takes no other along, but for those that break alike. So it is
    named only where no more features have moved for other reasons; or where the two laws hardly have a value in common,
    in all rows. And what the model answers is no further away than what it is asked: a score is not broken by being out
    of range, nor by being always the same where features have moved.
    """
    doubted = {one.signal for one in found if one.signal == "score" and one.kind is Breakage.OUT_OF_RANGE}
    if known.features is None:
        return doubted
    doubted |= out_of_range_by_shift(*known.features) - {one.signal for one in found}
    doubtful = [one for one in found if _is_doubtful(one)]
    stuck = {one.signal for one in found if one.signal == "score" and one.kind is Breakage.STOPPED_FEED}
    if not doubtful and not stuck:
        return doubted
    moved = moves(*known.features)
    doubted |= stuck if moved.moved.any() else set()
    broken = {one.signal for one in found}
    others = sum(signal not in broken for signal, so in zip(moved.signals, moved.moved, strict=True) if so)
    alike = Counter(map(_reason, doubtful))
    return doubted | {one.signal for one in doubtful if others + len(doubtful) > 2 * alike[_reason(one)]}


def _reason(one: Broken) -> tuple[Breakage, Any]:
    """Features that break for one reason break alike: in the same unit."""
    return one.kind, one.figures.get("undo")


def _is_doubtful(one: Broken) -> bool:
    if one.kind is Breakage.UNIT_CHANGE:
        return min(one.share, float(one.figures["distance"])) < APART
    return one.kind is Breakage.OUT_OF_RANGE


def _explains(own: Broken, kind: Kind) -> bool:
    """Whether what is broken in a signal is why that signal was raised: drift is of the values that can be read."""
    if kind is Kind.QUALITY:
        return True
    whole_law = own.kind in (Breakage.UNIT_CHANGE, Breakage.STOPPED_FEED) or own.share >= MOST_OF_THE_ROWS
    return kind is Kind.DRIFT and whole_law


def _follows(raised: Raised) -> bool:
    """Whether what was raised follows from the features: no feature follows from another one."""
    return not raised.signal.startswith(FEATURE)


def _beside(broken: Broken) -> Named:
    text = f"too few whole rows to tell why: {_name(broken.signal)} {broken.text()}"
    return Named(Cause.UNKNOWN, 0.0, text)


def _of_broken(broken: Broken) -> Named:
    figures = {"share": round(broken.share, 4), "reference": round(broken.reference, 4), **broken.figures}
    return Named(
        Cause.DATA_BROKEN,
        broken.confidence,
        f"{_name(broken.signal)} {broken.text()}",
        broken.kind,
        broken.signal,
        broken.share,
        figures,
    )


def _without(known: Known, broken: list[Broken]) -> tuple[Known, bool]:
    """The rows that are not broken in any feature, and whether there are enough of them to go by."""
    if known.features is None:
        return known, True
    reference, since = known.features
    names = set(reference.signals)
    bad = np.zeros(len(since), dtype=bool)
    for one in broken:
        if one.signal in names:
            bad |= one.rows
    if not bad.any():
        return known, True
    rows = since.rows[bad]
    prediction, outcome = known.prediction, known.outcome
    whole = Known(
        (reference, since.where(~bad)),
        None if prediction is None else (prediction[0], _other(prediction[1], rows, since)),
        None if outcome is None else (outcome[0], _other(outcome[1], rows, since)),
    )
    return whole, int((~bad).sum()) >= FEWEST_WHOLE


def _other(since: RecentRows, rows: NDArray[np.int64], looked_at: RecentRows) -> RecentRows:
    """Rows whose features were looked at and are not broken."""
    return since.where(np.isin(since.rows, looked_at.rows) & ~np.isin(since.rows, rows))


def _exceeds(raised: Raised, share: float) -> bool:
    """Whether an error rate rose by more than broken rows of this share can make it."""
    return raised.rise is not None and raised.rise > SLACK * share


def _beyond(raised: Raised, broken: list[Broken], whole: Known, weighed: Weighed, moved: Moves | None) -> bool:
    """Whether what was raised holds in the rows that are not broken as well."""
    if raised.signal.startswith(FEATURE) and moved is not None:
        return raised.signal in weighed.moved
    if raised.signal == "error":
        if weighed.labels >= FEWEST_LABELS:
            return weighed.concept > weighed.covariate
        return _exceeds(raised, sum(one.share for one in broken))
    if raised.signal == "label":
        return True
    stream = whole.prediction if raised.signal in ("prediction", "score") else None
    return stream is not None and bool(moves(*stream).moved.any())


def _of_quality(
    raised: Raised, moved: set[str], weighed: Weighed, ranking: tuple[tuple[str, float], ...], doubted: set[str]
) -> Named:
    """Special values that are no breakage by themselves: the tail of a law that moved, or too few rows to tell."""
    if raised.signal in doubted or raised.signal in moved:
        named = replace(_most_likely(raised, weighed, ranking), ranking=ranking)
        if named.cause is Cause.UNKNOWN and raised.signal in doubted:
            text = f"{_name(raised.signal)} has left the range of the reference, as it does where the inputs have moved"
            return replace(named, cause=Cause.COVARIATE_SHIFT, confidence=CONFIDENT, text=text)
        return named
    text = f"{_name(raised.signal)} has values that it should not have"
    return Named(Cause.DATA_BROKEN, CONFIDENT, text, None, raised.signal)


# --- shifts and drift


def _weigh(known: Known) -> tuple[Weighed, Moves | None]:
    moved = None
    if known.features is not None and len(known.features[1]) >= FEWEST_WHOLE:
        moved = moves(*known.features)
    return weigh(known, moved), moved


def _most_likely(raised: Raised, weighed: Weighed, ranking: tuple[tuple[str, float], ...]) -> Named:
    names = (Cause.COVARIATE_SHIFT, Cause.LABEL_SHIFT, Cause.CONCEPT_DRIFT)
    nats = np.array([weighed.covariate, weighed.label, weighed.concept])
    figures: dict[str, Any] = dict(weighed.figures) | {"moved": len(weighed.moved)}
    if not np.isfinite(nats).any():
        return Named(Cause.UNKNOWN, 0.0, "too few rows to tell why", figures=figures)
    share = np.exp(nats - nats.max())
    share /= share.sum()
    figures["shares"] = {name.value: round(float(one), 4) for name, one in zip(names, share, strict=True)}
    best = int(np.argmax(share))
    confidence = min(MOST_CONFIDENT, float(share[best]))
    if confidence < CONFIDENT:
        return Named(Cause.UNKNOWN, confidence, "too few rows to tell why", figures=figures)
    if names[best] is Cause.COVARIATE_SHIFT and not weighed.moved:
        # no feature by itself: only where what the model answers has moved it has to be the features together
        if raised.signal not in ("prediction", "score"):
            return Named(Cause.UNKNOWN, 1 - confidence, "too few rows to tell why", figures=figures)
        confidence = CONFIDENT
    return Named(names[best], confidence, _said(names[best], weighed, ranking), figures=figures)


def _said(cause: Cause, weighed: Weighed, ranking: tuple[tuple[str, float], ...]) -> str:
    figures = weighed.figures
    if cause is Cause.COVARIATE_SHIFT:
        listed = [_name(signal) for signal, _ in ranking if signal in weighed.moved] or [*map(_name, weighed.moved)]
        first = f" ({', '.join(listed[:MOST_NAMED])})" if listed else ", none of them by itself"
        if weighed.labels < FEWEST_LABELS:
            return f"the inputs have moved{first}; whether the answers to them have, only labels can tell"
        return f"the inputs have moved{first} and the errors are those to be expected of them"
    if cause is Cause.LABEL_SHIFT:
        return "some answers have become more frequent, and what goes with each is as it was"
    text = "the same inputs have other answers now"
    if "error" in figures:
        error, expected = (100 * figures[name] for name in ("error", "expected_error"))
        text += f": errors in {error:.1f} % of the rows, {expected:.1f} % expected"
    return text


def _ranking(known: Known, moved: Moves | None) -> tuple[tuple[str, float], ...]:
    """Features by how far they moved beyond chance, times how much they tell of the prediction."""
    if moved is None:
        return ()
    size = np.where(moved.moved, np.maximum(moved.misfit - moved.degrees / 2, 0.0), 0.0)
    weight = importance(known)
    if weight is not None:
        # what moved far and seems to tell nothing may still matter: a sample tells little of rare values
        size = size * (weight / weight.sum() + 1 / len(weight))
    total = float(size.sum())
    order = sorted(range(len(size)), key=lambda s: (-size[s], moved.signals[s]))[:MOST_RANKED]
    return tuple((moved.signals[s], round(float(size[s]) / total, 4)) for s in order if size[s] > 0)


def _name(signal: str) -> str:
    return signal.removeprefix(FEATURE)
