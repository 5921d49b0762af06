"""What of the breakage that rows seem to show is believed, and which rows are whole."""

from collections import Counter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.breakage import APART, Breakage, Broken, find_broken, out_of_range_by_shift
from detectors.known import Known
from detectors.moves import moves
from detectors.recent_rows import RecentRows

FEWEST_WHOLE: Final = 30
"""Rows that are not broken, below which broken ones are taken to explain what was raised."""


def believed(known: Known) -> tuple[list[Broken], set[str]]:
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


def whole_rows(known: Known, broken: list[Broken]) -> tuple[Known, bool]:
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
