"""The bets of an e-detector against the reference's law.

A bet on a law q against the reference's law p multiplies the evidence, for every row, by q(bin) / p(bin). Each signal
is watched by monitors (one for its law, one for broken data) and each monitor spreads its weight over several laws,
because how large a change will be is not known before (a mixture).
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.base import Kind
from detectors.bins import FIRST_BIN
from detectors.laws import FLAG_VALUES, Bet, bets, reference_law
from detectors.reference import Reference

BROKEN_WEIGHT: Final = 0.1
"""Share of a signal's weight that goes to broken data, the rest to its law."""
ERROR_WEIGHT: Final = 0.8
"""Share of the weight of the outcome stream that goes to the error, the rest to the labels."""

ESTIMATION_MARGIN: Final = 0.4
"""z: standard errors by which a bet is lowered because the reference's law is itself an estimate; see ``_tilt``."""
ESTIMATION_MARGIN_CORRELATED: Final = 1.0
"""The same where rows are correlated, because then the correlation is an estimate as well."""

_FIXED_POINT: Final = 30


@dataclass(frozen=True, slots=True)
class Monitor:
    """One thing that may be raised: that signal ``s`` shows ``kind``. Its bets are columns ``start`` to ``stop``."""

    s: int
    kind: Kind
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Alternatives:
    """All bets of a stream, A of them, as columns.

    ``tilts[s]`` (B bins, K_s bets) holds what a row adds to the logarithm of each bet of signal s, whose columns are
    ``offsets[s]`` to ``offsets[s + 1]``. ``weights`` sum to 1 over the stream; ``margins`` is what each tilt was
    lowered by because the reference is an estimate. ``chosen[s]`` says which of ``laws.bets`` the columns of signal s
    are.
    """

    tilts: tuple[NDArray[np.float64], ...]
    offsets: tuple[int, ...]
    weights: NDArray[np.float64]
    margins: NDArray[np.float64]
    monitors: tuple[Monitor, ...]
    chosen: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class _Tilt:
    number: int
    kind: Kind
    logs: NDArray[np.float64]
    margin: float
    weight: float


def build_alternatives(reference: Reference, *, min_effect: float, min_loss: float) -> Alternatives:
    """Lay the bets for every signal of ``reference``; bets on changes too small to be raised are left out."""
    tilts: list[NDArray[np.float64]] = []
    weights: list[float] = []
    margins: list[float] = []
    monitors: list[Monitor] = []
    chosen: list[tuple[int, ...]] = []
    offsets = [0]
    for s, name in enumerate(reference.signals):
        law = reference_law(reference, s)
        least = min_loss if name == "error" else min_effect
        large = [one for one in enumerate(bets(reference, s, law)) if _size(reference, s, one[1], law) >= least / 2]
        kept = [tilt for tilt in (_tilt(number, bet, law, reference, s) for number, bet in large) if tilt is not None]
        groups = dict.fromkeys(tilt.kind for tilt in kept)
        ordered = [tilt for kind in groups for tilt in kept if tilt.kind is kind]
        for kind in groups:
            members = [tilt.weight for tilt in kept if tilt.kind is kind]
            part = 1.0 if len(groups) == 1 else BROKEN_WEIGHT if kind is Kind.QUALITY else 1 - BROKEN_WEIGHT
            monitors.append(Monitor(s, kind, len(weights), len(weights) + len(members)))
            share = _signal_weight(reference, name) * part / sum(members)
            weights += [share * weight for weight in members]
        margins += [tilt.margin for tilt in ordered]
        tilts.append(np.array([tilt.logs for tilt in ordered]).reshape(-1, reference.width).T.copy())
        chosen.append(tuple(tilt.number for tilt in ordered))
        offsets.append(len(weights))
    return Alternatives(
        tuple(tilts), tuple(offsets), np.array(weights), np.array(margins), tuple(monitors), tuple(chosen)
    )


def retilt(
    reference: Reference, s: int, chosen: tuple[int, ...], counts: NDArray[np.int64], prior_rows: int
) -> NDArray[np.float64]:
    """The tilts of the bets ``chosen`` of signal s (B bins, K bets), had its law been that of ``counts`` (B).

    The counts are put together with ``prior_rows`` rows of the reference's law.
    """
    row = counts + prior_rows * reference_law(reference, s)
    moved = replace(reference, counts=np.where(np.arange(len(reference.counts))[:, None] == s, row, reference.counts))
    moved = replace(moved, rows=int(row.sum()))
    law = reference_law(moved, s)
    laid = list(bets(moved, s, law))
    tilts = [_tilt(number, laid[number], law, moved, s) for number in chosen]
    # a bet that could not win against this law rests
    return np.stack([np.full(len(law), -1.0) if tilt is None else tilt.logs for tilt in tilts], axis=1)


def _size(reference: Reference, s: int, bet: Bet, law: NDArray[np.float64]) -> float:
    """How large a change to the bet's law would be, in the figure that decides whether it is worth raising."""
    if reference.signals[s] == "error":
        if reference.bins[s].width - FIRST_BIN == FLAG_VALUES:
            return float(bet.law[FIRST_BIN + 1] - law[FIRST_BIN + 1])
        return np.inf
    used = law > 0
    return float(((bet.law - law)[used] * np.log(bet.law[used] / law[used])).sum())


def _signal_weight(reference: Reference, name: str) -> float:
    others = len(reference.signals) - ("error" in reference.signals)
    if "error" not in reference.signals:
        return 1 / others
    if name == "error":
        return ERROR_WEIGHT if others else 1.0
    return (1 - ERROR_WEIGHT) / others


def _tilt(number: int, bet: Bet, reference_law: NDArray[np.float64], reference: Reference, s: int) -> _Tilt | None:
    """What a row in each bin adds to the logarithm of ``bet``; None for a bet that could never win.

    For a known p the bet is fair: the mean of q/p under p is 1. Here p is estimated from N rows, and the mean of q/p
    under the true law differs from 1 by an error whose variance is Var_p(q/p) / N = chi2(q, p) / N (the mean of q/p is
    linear in the law, and its gradient is q/p). Lowering the bet by z standard errors keeps it fair for the true law
    with the confidence of z. Correlated rows: the evidence is tempered by lambda = 1/tau, and N rows are worth N/tau.
    """
    used = reference_law > 0
    law, before = bet.law[used], reference_law[used]
    temper = float(reference.temper[s] if bet.value is None else reference.bin_temper[s, bet.value])
    ratio = np.log(law / before)
    z = ESTIMATION_MARGIN if temper == 1.0 else ESTIMATION_MARGIN_CORRELATED
    chi2 = float(((law - before) ** 2 / before).sum())
    margin = z * float(np.sqrt(chi2 / (reference.rows * temper)))
    if float(law @ ratio) <= margin:
        return None
    logs = np.zeros(len(reference_law))
    logs[used] = temper * (ratio - margin)
    # in fixed point the sums of counts times tilts are exact, so that they do not depend on how rows were batched;
    # rounding down keeps the bet fair
    return _Tilt(
        number, bet.kind, np.ldexp(np.floor(np.ldexp(logs, _FIXED_POINT)), -_FIXED_POINT), temper * margin, bet.weight
    )
