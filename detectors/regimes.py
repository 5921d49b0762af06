"""Laws that a model's rows followed before: whether one of them is back."""

from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from detectors.bins import FIRST_BIN, NEW, CategoryBins
from detectors.effect import groups_of
from detectors.recent_rows import RecentRows
from detectors.reference import Reference
from detectors.shifts import (
    FEWEST_JOINED,
    FEWEST_LABELS,
    SYSTEMATIC,
    Known,
    Moves,
    counted,
    grouped,
    moves_between,
)

MOST_REGIMES: Final = 4
"""Earlier regimes that are remembered of a model, the latest ones."""
SAMPLE_ROWS: Final = 400
SAMPLE_VALUES: Final = 10_000
"""Rows of each, and values at most, that tell what followed from the features then."""
FITS: Final = 1.5
FITS_SLACK: Final = 6.0
"""A regime is back when its law leaves no more nats unexplained than this many times what chance leaves, and these."""
BETTER: Final = 6.0
"""And these many less than the reference's."""


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
    if known.features is None or moved is None:
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
    codes = _codes(regime.features, reference, since.points)
    now = grouped(regime.features, counted(codes, regime.features.width))
    return moves_between(
        regime.features.signals, now, grouped(regime.features, regime.features.counts), regime.features.temper
    )


def _codes(of: Reference, reference: Reference, points: NDArray[np.float32]) -> NDArray[np.int64]:
    """The bins of ``of`` for rows that are written in terms of ``reference``."""
    codes = np.full((len(points), len(of.signals)), NEW, dtype=np.int64)
    for s, (name, bins) in enumerate(zip(of.signals, of.bins, strict=True)):
        if name not in reference.signals:
            continue
        here = reference.signals.index(name)
        column = points[:, here].astype(np.float64)
        theirs = reference.bins[here]
        if isinstance(bins, CategoryBins) and isinstance(theirs, CategoryBins):
            texts = np.array([None, None, None, *theirs.frequent, *([None] * 2)], dtype=object)
            known = bins.encode(np.append(texts[FIRST_BIN:-2], [""]))[:-1] if len(theirs.frequent) else np.empty(0)
            other = FIRST_BIN + len(bins.frequent) if bins.width > FIRST_BIN + len(bins.frequent) else NEW
            table = np.concatenate((np.arange(FIRST_BIN), known, [other, other])).astype(np.int64)
            codes[:, s] = table[column.astype(np.int64)]
        elif not isinstance(bins, CategoryBins) and not isinstance(theirs, CategoryBins):
            codes[:, s] = bins.encode(column)
    return codes


def _misfit_of_labels(known: Known, regime: Regime) -> float | None:
    """Nats by which labels do not follow from features as they did in ``regime``, by the feature that shows it most.

    What is looked at is how often the label is the regime's most frequent one, or above its median. None where there
    are not labels enough.
    """
    if known.features is None or known.outcome is None or regime.outcome is None:
        return None
    reference, since = known.features
    outcome, outcomes = known.outcome
    _, mine, theirs = np.intersect1d(since.rows, outcomes.rows, return_indices=True)
    rows, then, labels = np.intersect1d(regime.features.sample_rows, regime.outcome.sample_rows, return_indices=True)
    if len(mine) < FEWEST_LABELS or len(rows) < FEWEST_JOINED:
        return None
    flags = _flags(regime.outcome, regime.outcome.sample[labels], regime.outcome)
    flags_now = _flags(outcome, outcomes.points[theirs], regime.outcome)
    codes = _codes(regime.features, reference, since.points[mine])
    codes_then = regime.features.codes(regime.features.sample[then])
    worst = 0.0
    for s in range(len(regime.features.signals)):
        groups = groups_of(regime.features, s)
        misfit = _table_misfit(groups[codes[:, s]], flags_now, groups[codes_then[:, s]], flags)
        worst = max(worst, misfit)
    return worst


def _flags(of: Reference, points: NDArray[np.float32], regime: Reference) -> NDArray[np.bool_]:
    s, there = of.signals.index("label"), regime.signals.index("label")
    bins, theirs = of.bins[s], regime.bins[there]
    if isinstance(theirs, CategoryBins) and isinstance(bins, CategoryBins):
        first = theirs.frequent[0] if theirs.frequent else None
        code = FIRST_BIN + bins.frequent.index(first) if first in bins.frequent else -1
        return np.asarray(points[:, s] == code)
    return np.asarray(points[:, s] > float(np.nanmedian(regime.sample[:, there])))


def _table_misfit(
    now: NDArray[np.int64], flags: NDArray[np.bool_], then: NDArray[np.int64], flags_then: NDArray[np.bool_]
) -> float:
    parts = int(max(now.max(initial=0), then.max(initial=0))) + 1
    rows, rows_then = np.bincount(now, minlength=parts), np.bincount(then, minlength=parts)
    hits, hits_then = np.bincount(now, flags, parts), np.bincount(then, flags_then, parts)
    seen = (rows >= 5) & (rows_then >= 5)  # noqa: PLR2004 (as the custom is for a table of counts)
    rows, rows_then, hits, hits_then = rows[seen], rows_then[seen], hits[seen], hits_then[seen]
    pooled = (hits + hits_then + 0.5) / (rows + rows_then + 1)
    noise = pooled * (1 - pooled) * (1 / rows + 1 / rows_then) + SYSTEMATIC**2
    squares = (hits / rows - hits_then / rows_then) ** 2 / noise
    return max(float(squares.sum()) / 2 - len(squares) / 2, 0.0)


def _thinned(reference: Reference, places: NDArray[np.int64]) -> Reference:
    return replace(reference, sample=reference.sample[places], sample_rows=reference.sample_rows[places])
