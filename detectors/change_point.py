"""Where a change began, and what the rows say since then."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.history import History

PLAUSIBLE: Final = 2.0
"""A bet or a start whose log likelihood is within this of the best one's may as well be the true one."""


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """The first row and time after the change, the smallest bet that explains it, and all signals' counts since.

    ``start`` is how many rows of the stream came before, ``gain`` the log likelihood ratio of the best bet since then,
    ``steepness`` the most that a row gained on average since any start that is as plausible, in the half of the rows
    nearer to the one found.
    """

    row: int
    start: int
    ts: float
    bet: int
    gain: float
    steepness: float
    counts: NDArray[np.int64]


def change_point(
    history: History,
    s: int,
    tilts: NDArray[np.float64],
    prior: NDArray[np.float64],
    sizes: NDArray[np.float64],
    *,
    not_before: int = 0,
) -> ChangePoint:
    """Most likely change of signal s: over all bucket starts, and over the bets ``tilts`` (B bins, K bets).

    ``prior`` holds the logarithms of the bets' weights. Only buckets that begin ``not_before`` rows into the stream or
    later are looked at, or the last where none does. Of the bets that are plausible from the start found, the one of
    the least ``sizes`` is named.

    The maximum over j of the log likelihood of rows j to now under a bet against the reference: the start of the last
    excursion of a CUSUM (Page 1954; Lorden 1971).
    """
    gains = history.signal(s) @ tilts
    since = np.cumsum(gains[::-1], axis=0)[::-1] + prior
    starts = history.starts()
    earliest = min(int(np.searchsorted(starts, not_before)), len(since) - 1)
    since[:earliest] = -np.inf
    best = since[earliest:].max(axis=1)
    j = earliest + int(np.argmax(best))
    plausible = since[j] >= since[j].max() - PLAUSIBLE
    bet = int(np.argmin(np.where(plausible, sizes, np.inf)))
    start = int(starts[j])
    gains = (since - prior).max(axis=1)
    lengths = history.rows - starts
    as_well = np.flatnonzero((since.max(axis=1) >= best.max() - PLAUSIBLE) & (2 * lengths >= lengths[j]))
    steepness = float((gains[as_well] / lengths[as_well]).max())
    row, ts = int(history.first_rows()[j]), float(history.first_ts()[j])
    return ChangePoint(row, start, ts, bet, float(gains[j]), steepness, history.since(start))
