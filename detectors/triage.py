"""Why something was raised: broken data, a shift, a changed concept, or an earlier regime that is back.

A function of what is known at the alarm and of nothing else. What it cannot tell it calls UNKNOWN; and without labels
nobody can see that what follows from the same features has changed.
"""

from dataclasses import replace
from functools import cached_property
from typing import Final

import numpy as np

from detectors.base import Kind
from detectors.believed_breakage import believed, whole_rows
from detectors.breakage import Breakage, Broken
from detectors.cause import FEATURE, MOST_CONFIDENT, Cause, Named, Raised, broken_data, spoken
from detectors.error_shift import FEWEST_LABELS
from detectors.known import Known
from detectors.likely_cause import CONFIDENT, Ranking, most_likely, rank, weigh_known
from detectors.moves import Moves, moves
from detectors.regimes import Regime, find_return
from detectors.shifts import Weighed

ANSWERS: Final = frozenset({"label", "prediction"})
"""What errors are made of."""
SLACK: Final = 1.25
"""Rows are wrong once at most: broken rows explain a rise of the error rate by so many times their share."""
MOST_OF_THE_ROWS: Final = 0.5


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
            return broken_data(own)
        if not _follows(raised):
            broken = [one for one in broken if one.signal.startswith(FEATURE)]  # what is asked follows from no answer
        answer = next((one for one in broken if one.signal in ANSWERS), None)
        if answer is not None and raised.signal == "error" and not _exceeds(raised, answer.share):
            return broken_data(answer)
        whole, complete = self._whole
        if not complete:
            return broken_data(broken[0]) if _follows(raised) else _beside(broken[0])
        weighed, moved = self._weighed
        if broken and not _beyond(raised, broken, whole, weighed, moved):
            return broken_data(broken[0])
        if raised.kind is Kind.QUALITY:
            return _of_quality(raised, self._moved_numbers, weighed, self._ranking, doubted)
        named = self._return or most_likely(raised, weighed, self._ranking)
        return replace(named, ranking=self._ranking)

    @cached_property
    def _broken(self) -> tuple[list[Broken], set[str]]:
        return believed(self._known)

    @cached_property
    def _whole(self) -> tuple[Known, bool]:
        """The rows that are not broken in any feature, and whether there are enough of them to go by."""
        broken, _ = self._broken
        return whole_rows(self._known, broken) if broken else (self._known, True)

    @cached_property
    def _weighed(self) -> tuple[Weighed, Moves | None]:
        return weigh_known(self._whole[0])

    @cached_property
    def _moved_numbers(self) -> set[str]:
        """A category has no tail: what was never seen of it does not belong to what has moved."""
        if self._known.features is None:
            return set()
        reference = self._known.features[0]
        kinds = dict(zip(reference.signals, reference.kinds, strict=True))
        return {signal for signal in self._weighed[0].moved if kinds.get(signal, "number") == "number"}

    @cached_property
    def _ranking(self) -> Ranking:
        return rank(self._whole[0], self._weighed[1])

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


def _explains(own: Broken, kind: Kind) -> bool:
    """Whether what is broken in a signal is why that signal was raised: drift is of the values that can be read."""
    if kind is Kind.QUALITY:
        return True
    whole_law = own.kind in (Breakage.UNIT_CHANGE, Breakage.STOPPED_FEED) or own.share >= MOST_OF_THE_ROWS
    return kind is Kind.DRIFT and whole_law


def _follows(raised: Raised) -> bool:
    """Whether what was raised follows from the features: no feature follows from another one."""
    return not raised.signal.startswith(FEATURE)


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


def _of_quality(raised: Raised, moved: set[str], weighed: Weighed, ranking: Ranking, doubted: set[str]) -> Named:
    """Special values that are no breakage by themselves: the tail of a law that moved, or too few rows to tell."""
    if raised.signal in doubted or raised.signal in moved:
        named = replace(most_likely(raised, weighed, ranking), ranking=ranking)
        if named.cause is Cause.UNKNOWN and raised.signal in doubted:
            text = (
                f"{spoken(raised.signal)} has left the range of the reference, as it does where the inputs have moved"
            )
            return replace(named, cause=Cause.COVARIATE_SHIFT, confidence=CONFIDENT, text=text)
        return named
    text = f"{spoken(raised.signal)} has values that it should not have"
    return Named(Cause.DATA_BROKEN, CONFIDENT, text, None, raised.signal)


def _beside(broken: Broken) -> Named:
    text = f"too few whole rows to tell why: {spoken(broken.signal)} {broken.text()}"
    return Named(Cause.UNKNOWN, 0.0, text)
