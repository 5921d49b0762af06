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
from detectors.laws import FLAG_VALUES, Bet, bets, is_error, reference_law
from detectors.reference import Reference

BROKEN_WEIGHT: Final = 0.1
"""Share of a signal's weight that goes to broken data, the rest to its law."""
ERROR_WEIGHT: Final = 0.8
"""Share of the weight of the outcome stream that goes to the error, the rest to the labels."""

ESTIMATION_MARGIN: Final = 0.4
"""z: standard errors by which a bet is lowered because the reference's law is itself an estimate; see ``_tilts``.

Set on simulated Bernoulli, normal and AR(1) streams, so that budgets hold with references of 2,000 rows.
"""
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


def build_alternatives(reference: Reference, *, min_effect: float, min_loss: float) -> Alternatives:
    """Lay the bets for every signal of ``reference``; bets on changes too small to be raised are left out."""
    tilts: list[NDArray[np.float64]] = []
    weights: list[float] = []
    margins: list[float] = []
    monitors: list[Monitor] = []
    chosen: list[tuple[int, ...]] = []
    offsets = [0]
    shares = _signal_weights(reference)
    for s, name in enumerate(reference.signals):
        law = reference_law(reference, s)
        laid = list(bets(reference, s, law))
        logs, lowered, can_win = _tilts(laid, law, reference, s)
        least = min_loss if is_error(name) else min_effect
        kept = [int(k) for k in np.flatnonzero(can_win & (_sizes(reference, s, laid, law) >= least / 2))]
        groups = dict.fromkeys(laid[k].kind for k in kept)
        ordered = [k for kind in groups for k in kept if laid[k].kind is kind]
        for kind in groups:
            members = [laid[k].weight for k in kept if laid[k].kind is kind]
            part = 1.0 if len(groups) == 1 else BROKEN_WEIGHT if kind is Kind.QUALITY else 1 - BROKEN_WEIGHT
            monitors.append(Monitor(s, kind, len(weights), len(weights) + len(members)))
            weights += [shares[s] * part / sum(members) * weight for weight in members]
        margins += lowered[ordered].tolist()
        tilts.append(logs[ordered].T.copy())
        chosen.append(tuple(ordered))
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
    law = reference_law(moved, s)
    laid = list(bets(moved, s, law))
    logs, _, can_win = _tilts([laid[k] for k in chosen], law, moved, s)
    # a bet that could not win against this law rests
    return np.asarray(np.where(can_win[:, None], logs, -1.0).T.copy())


def _sizes(reference: Reference, s: int, laid: list[Bet], law: NDArray[np.float64]) -> NDArray[np.float64]:
    """How large a change to each bet's law would be, in the figure that decides whether it is worth raising."""
    after = np.stack([bet.law for bet in laid]) if laid else np.zeros((0, len(law)))
    if is_error(reference.signals[s]):
        if reference.bins[s].width - FIRST_BIN == FLAG_VALUES:
            return np.asarray(after[:, FIRST_BIN + 1] - law[FIRST_BIN + 1])
        return np.full(len(laid), np.inf)
    used = law > 0
    return np.asarray(((after - law)[:, used] * np.log(after[:, used] / law[used])).sum(axis=1))


def _signal_weights(reference: Reference) -> list[float]:
    """Each signal's share of the stream's weight: equal ones, but for the error, which matters most."""
    errors = sum(map(is_error, reference.signals))
    others = len(reference.signals) - errors
    left = 1.0 if not errors else 1 - ERROR_WEIGHT
    error = ERROR_WEIGHT if others else 1.0
    return [error / errors if is_error(name) else left / others for name in reference.signals]


def _tilts(
    laid: list[Bet], reference_law: NDArray[np.float64], reference: Reference, s: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """What a row in each bin adds to the logarithm of each bet (K bets, B bins), by how much each was lowered (K).

    The third says which bets could win at all.

    For a known p the bet is fair: the mean of q/p under p is 1. Here p is estimated from N rows, and the mean of q/p
    under the true law differs from 1 by an error whose variance is Var_p(q/p) / N = chi2(q, p) / N (the mean of q/p is
    linear in the law, and its gradient is q/p). Lowering the bet by z standard errors keeps it fair for the true law
    with the confidence of z. Correlated rows: the evidence is tempered by lambda = 1/tau, and N rows are worth N/tau.
    """
    logs = np.zeros((len(laid), len(reference_law)))
    if not laid:
        return logs, np.zeros(0), np.zeros(0, dtype=bool)
    used = reference_law > 0
    after, before = np.stack([bet.law for bet in laid])[:, used], reference_law[used]
    temper = np.array(
        [reference.temper[s] if bet.value is None else reference.bin_temper[s, bet.value] for bet in laid]
    )
    ratio = np.log(after / before)
    chi2 = ((after - before) ** 2 / before).sum(axis=1)
    # of what hardly ever was there the chance that it is estimated wrongly is small beside what the bet wins
    independent = (temper == 1.0) | np.array([bet.kind is Kind.QUALITY for bet in laid])
    z = np.where(independent, ESTIMATION_MARGIN, ESTIMATION_MARGIN_CORRELATED)
    margin = z * np.sqrt(chi2 / (reference.counts[s].sum() * temper))
    logs[:, used] = temper[:, None] * (ratio - margin[:, None])
    # in fixed point the sums of counts times tilts are exact, so that they do not depend on how rows were batched;
    # rounding down keeps the bet fair
    logs = np.ldexp(np.floor(np.ldexp(logs, _FIXED_POINT)), -_FIXED_POINT)
    return logs, temper * margin, (after * ratio).sum(axis=1) > margin
