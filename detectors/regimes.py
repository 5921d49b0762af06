"""Laws that a model's rows followed before: whether one of them is back."""

from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from detectors.bins import FIRST_BIN, NEW, CategoryBins
from detectors.error_shift import FEWEST_LABELS, SYSTEMATIC
from detectors.known import Known
from detectors.label_shift import FEWEST_JOINED
from detectors.moves import Moves, counted, grouped, moves_between
from detectors.parts import Parts
from detectors.recent_rows import RecentRows
from detectors.reference import Reference

MOST_REGIMES: Final = 4
"""Earlier regimes that are remembered of a model, the latest ones."""
SAMPLE_ROWS: Final = 800
SAMPLE_VALUES: Final = 16_000
"""Rows of each, and values at most, that tell what followed from the features then."""
FITS: Final = 1.5
FITS_SLACK: Final = 8.0
"""A regime is back when its law leaves no more nats unexplained than this many times what chance leaves, and these."""
BETTER: Final = 6.0
"""And these many less than the reference's."""
FEATURE_PARTS: Final = 4


@dataclass(frozen=True, slots=True)
class Regime:
    """The references that held until row ``until``, while ``version`` served."""

    version: str | None
    until: int
    features: Reference
    outcome: Reference | None

    @classmethod
    def of(cls, version: str | None, until: int, features: Reference, outcome: Reference | None) -> Self:
        """Remember references, with no more rows of theirs than are needed."""
        if outcome is None:
            return cls(version, until, _thinned(features, np.arange(0)), None)
        _, mine, theirs = np.intersect1d(features.sample_rows, outcome.sample_rows, return_indices=True)
        most = min(SAMPLE_ROWS, SAMPLE_VALUES // len(features.signals) + 1)
        kept = np.unique(np.linspace(0, len(mine) - 1, min(len(mine), most)).astype(np.int64))
        return cls(version, until, _thinned(features, mine[kept]), _thinned(outcome, theirs[kept]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for msgpack."""
        outcome = None if self.outcome is None else self.outcome.to_dict()
        return {"version": self.version, "until": self.until, "features": self.features.to_dict(), "outcome": outcome}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The reverse of ``to_dict``."""
        outcome = None if data["outcome"] is None else Reference.from_dict(data["outcome"])
        return cls(data["version"], data["until"], Reference.from_dict(data["features"]), outcome)


@dataclass(frozen=True, slots=True)
class Return:
    """A regime that is back, and by how many nats it fits better than the reference."""

    regime: Regime
    better: float


def find_return(known: Known, moved: Moves | None, regimes: tuple[Regime, ...]) -> Return | None:
    """The regime that the rows since the change fit, where they do not fit the reference."""
    if known.features is None or moved is None or not regimes:
        return None
    reference, since = known.features
    found = []
    outcome = None if known.outcome is None else known.outcome[0]
    here = _misfit_of_labels(known, Regime(None, 0, reference, outcome))
    for regime in regimes:
        if set(regime.features.signals) != set(reference.signals):
            continue
        then = _moves_from(regime, reference, since)
        there = _misfit_of_labels(known, regime)
        misfit = float(then.misfit.sum())
        if misfit > FITS * float(then.degrees.sum()) / 2 + FITS_SLACK or (there or 0.0) > FITS_SLACK:
            continue
        better = float(moved.misfit.sum()) - misfit
        if here is not None and there is not None:
            better += here - there
        if better >= BETTER:
            found.append(Return(regime, better))
    return max(found, key=lambda one: (one.better, one.regime.until), default=None)


def _moves_from(regime: Regime, reference: Reference, since: RecentRows) -> Moves:
    codes = regime.features.codes(_translated(regime.features, reference, since.points))
    now = grouped(regime.features, counted(codes, regime.features.width))
    return moves_between(
        regime.features.signals, now, grouped(regime.features, regime.features.counts), regime.features.temper
    )


def _translated(of: Reference, reference: Reference, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows that are written in terms of ``reference`` in terms of ``of``: a category's bin is another one there."""
    found = np.full((len(points), len(of.signals)), np.inf, dtype=np.float32)
    for s, (name, bins) in enumerate(zip(of.signals, of.bins, strict=True)):
        here = reference.signals.index(name)
        theirs = reference.bins[here]
        if isinstance(bins, CategoryBins) and isinstance(theirs, CategoryBins):
            known = [int(bins.encode(np.array([value], dtype=object))[0]) for value in theirs.frequent]
            # which of the rarer ones it was is not known
            other = bins.width - 1 if bins.rare or bins.open else NEW
            table = np.array([*range(FIRST_BIN), *known, other], dtype=np.float32)
            found[:, s] = table[points[:, here].astype(np.int64)]
        elif isinstance(bins, CategoryBins):
            found[:, s] = NEW
        elif not isinstance(theirs, CategoryBins):
            found[:, s] = points[:, here]
    return found


def _misfit_of_labels(known: Known, regime: Regime) -> float | None:
    """Nats by which labels do not follow from the features as they did in ``regime``; None without labels enough.

    Half of the regime's rows say how each feature speaks for its most frequent label (or one above the median), all
    features taken as independent; the other half, how often that label came where they speak for it a little or much.
    """
    if known.features is None or known.outcome is None or regime.outcome is None:
        return None
    reference, since = known.features
    outcome, outcomes = known.outcome
    _, mine, theirs = np.intersect1d(since.rows, outcomes.rows, return_indices=True)
    rows, then, labels = np.intersect1d(regime.features.sample_rows, regime.outcome.sample_rows, return_indices=True)
    if len(mine) < FEWEST_LABELS or len(rows) < FEWEST_JOINED:
        return None
    flags_then = _flags(regime.outcome, regime.outcome.sample[labels], regime.outcome)
    flags = _flags(outcome, outcomes.points[theirs], regime.outcome)
    points = _translated(regime.features, reference, since.points[mine])
    speak, speak_then = np.zeros(len(points)), np.zeros(len(then))
    learn = np.arange(len(then)) % 2 == 0
    usual = float(flags_then.mean())
    for s in range(len(regime.features.signals)):
        part = Parts(regime.features, s, FEATURE_PARTS)
        now, before = part(points), part(regime.features.sample[then])
        parts = int(max(now.max(initial=0), before.max(initial=0))) + 1
        hits = np.bincount(before[learn], flags_then[learn], parts) + FEATURE_PARTS * usual
        misses = np.bincount(before[learn], ~flags_then[learn], parts) + FEATURE_PARTS * (1 - usual)
        odds = np.log(np.maximum(hits, 1e-3) / np.maximum(misses, 1e-3))
        speak += odds[now]
        speak_then += odds[before]
    edges = np.unique(np.quantile(speak_then[~learn], np.linspace(0, 1, FEATURE_PARTS + 1)[1:-1]))
    return _misfit(np.searchsorted(edges, speak), flags, np.searchsorted(edges, speak_then[~learn]), flags_then[~learn])


def _flags(of: Reference, points: NDArray[np.float32], regime: Reference) -> NDArray[np.bool_]:
    s, there = of.signals.index("label"), regime.signals.index("label")
    bins, theirs = of.bins[s], regime.bins[there]
    if isinstance(theirs, CategoryBins) and isinstance(bins, CategoryBins):
        first = theirs.frequent[0] if theirs.frequent else None
        code = FIRST_BIN + bins.frequent.index(first) if first in bins.frequent else -1
        return np.asarray(points[:, s] == code)
    return np.asarray(points[:, s] > float(np.nanmedian(regime.sample[:, there])))


def _misfit(
    now: NDArray[np.int64], flags: NDArray[np.bool_], then: NDArray[np.int64], flags_then: NDArray[np.bool_]
) -> float:
    parts = int(max(now.max(initial=0), then.max(initial=0))) + 1
    rows, rows_then = np.bincount(now, minlength=parts), np.bincount(then, minlength=parts)
    seen = (rows >= 3) & (rows_then >= 3)  # noqa: PLR2004 (with fewer the normal law is too far off)
    rows, rows_then = rows[seen], rows_then[seen]
    hits, hits_then = np.bincount(now, flags, parts)[seen], np.bincount(then, flags_then, parts)[seen]
    pooled = (hits + hits_then + 0.5) / (rows + rows_then + 1)
    noise = pooled * (1 - pooled) * (1 / rows + 1 / rows_then) + SYSTEMATIC**2
    squares = (hits / rows - hits_then / rows_then) ** 2 / noise
    return max(float(squares.sum()) / 2 - len(squares) / 2, 0.0)


def _thinned(reference: Reference, places: NDArray[np.int64]) -> Reference:
    return replace(reference, sample=reference.sample[places], sample_rows=reference.sample_rows[places])
