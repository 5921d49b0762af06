"""Where a change began, and what the rows say since then."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.history import History


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """The first row and time after the change, the bet that explains it best, and all signals' counts since."""

    row: int
    ts: float
    bet: int
    counts: NDArray[np.int64]


def change_point(
    history: History, s: int, tilts: NDArray[np.float64], prior: NDArray[np.float64], *, not_before: int = 0
) -> ChangePoint:
    """Most likely change of signal s: over all bucket starts and the bets ``tilts`` (B, K) with log weights ``prior``.

    Only buckets that begin at row ``not_before`` or later are looked at, or the last one where none does.

    The maximum over j of the log likelihood of rows j to now under a bet against the reference: the start of the last
    excursion of a CUSUM (Page 1954; Lorden 1971).
    """
    gains = history.signal(s) @ tilts
    since = np.cumsum(gains[::-1], axis=0)[::-1] + prior
    first_rows = history.first_rows()
    earliest = min(int(np.searchsorted(first_rows, not_before)), len(since) - 1)
    since[:earliest] = -np.inf
    j, bet = np.unravel_index(int(np.argmax(since)), since.shape)
    row = int(first_rows[j])
    return ChangePoint(row, float(history.first_ts()[j]), int(bet), history.since(row))
