"""What paired losses prove about their mean: tests that hold for any bounded law and any number of rows.

A gambler who may stake on "the mean of x is above 0" at fair odds multiplies his capital by ``1 + stake * x`` a row.
Were the mean 0 or less, the capital would be a non-negative supermartingale, so by Ville's inequality it would ever
reach ``1 / alpha`` with probability at most ``alpha``, whatever the law of x: no normal approximation, no assumption
about skew, no minimum of rows. That matters here because differences of losses are mostly zeros with a few rows that
decide, and because a studentised interval is far from its level just then (a candidate that is a little better on 98 %
of rows and ruinous on 2 % passes a t-test on 300 rows three times too often).

The guarantee holds for any stake chosen from earlier rows. This one is aimed at the rows that are left: it is what a
gambler stakes who wants to arrive at ``1 / alpha`` exactly at the last row, and so loses almost no power against the
best test for the law at hand (on 0/1 losses it is within a few points of the exact sign test).

Sources: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (2024), the capital
process; Voracek and Orabona, "STaR-Bets: Sequential Target-Recalculating Bets for Tighter Confidence Intervals"
(2025), the stake.
"""

from typing import Final

import numpy as np
from numpy import float64
from numpy.typing import NDArray

LARGEST_STAKE: Final = 0.9
"""Of what would ruin the gambler on the worst possible row; all of it would leave nothing to go on with."""
PRIOR_MOMENT: Final = 0.25
"""Second moment of x before any row is seen, in squares of the worst row. It counts as one row."""


def proven_positive(x: NDArray[float64], lowest: NDArray[float64], alpha: float) -> NDArray[np.bool_]:
    """Whether each column of ``x`` has a mean above 0, wrongly so with probability at most ``alpha``.

    ``x`` is of shape (rows, columns), rows in time order and independent, no value below ``-lowest[column]``.
    """
    rows, columns = x.shape
    target = np.log(1 / alpha)
    capital = np.zeros(columns)  # its logarithm
    squares = PRIOR_MOMENT * lowest**2
    limit = LARGEST_STAKE / lowest
    proven = np.zeros(columns, dtype=np.bool_)
    for row in range(rows):
        values = x[row]
        moment = np.maximum(squares / (row + 1), np.finfo(np.float64).tiny)
        stake = np.sqrt(2 * np.maximum(target - capital, 0) / (moment * (rows - row)))
        stake = np.where(proven, 0.0, np.minimum(stake, limit))
        capital = np.where(proven, capital, capital + np.log1p(stake * values))
        squares = squares + values**2
        proven |= capital >= target
        if proven.all():
            break
    return proven
