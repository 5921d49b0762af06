"""How much less consecutive rows say than independent ones would.

The evidence of a detector is a sum over rows. Where rows resemble their neighbours, that sum varies ``tau`` times as
much as it would for independent rows: ``tau`` is the integrated autocorrelation time (Sokal 1997, "Monte Carlo methods
in statistical mechanics", section 2; Flegal and Jones 2010, "Batch means and spectral variance estimators"). Evidence
divided by ``tau`` varies as it should.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

CAP: Final = 200.0
"""No correlation is believed to be longer than this many rows."""
SIGNIFICANT: Final = 3.7
"""Standard errors by which a correlation must stand out before it counts: one chance in ten thousand."""
FEWEST_BLOCKS: Final = 8
STILL_RISING: Final = 1.5
"""Where the largest blocks show this many times what blocks of half their size do, the memory is longer than they."""


def correlation_time(scores: NDArray[np.float64]) -> float:
    """Integrated autocorrelation time of ``scores`` (n rows in order), in rows; 1 where none can be shown.

    The larger of two estimates: that of a first-order autoregression from the correlation of neighbours, which is
    sharp but sees only short memory, and the variance of the means of blocks of 4, 8, 16, ... rows against that of
    independent rows, which is blurred but sees long memory and seasons.
    """
    n = len(scores)
    centred = scores - scores.mean() if n else scores
    variance = float(centred @ centred) / n if n else 0.0
    if n < 4 * FEWEST_BLOCKS or variance <= 0.0:
        return 1.0
    tau = 1.0
    neighbours = float(centred[:-1] @ centred[1:]) / (n * variance)
    error = 1 / np.sqrt(n)
    if neighbours > SIGNIFICANT * error:
        # to one standard error above the estimate, because too little tempering costs false alarms
        upper = min(neighbours + error * np.sqrt(1 - neighbours**2), 1 - 2 / (CAP + 1))
        tau = (1 + upper) / (1 - upper)
    size, smaller = 4, 1.0
    while n // size >= FEWEST_BLOCKS:
        blocks = n // size
        means = centred[: blocks * size].reshape(blocks, size).mean(axis=1)
        ratio = float(means.var(ddof=1)) * size / variance
        size *= 2
        if ratio > _chance(blocks - 1):
            longer = n // size < FEWEST_BLOCKS and ratio > STILL_RISING * smaller
            tau = max(tau, 2 * ratio if longer else ratio)
        smaller = ratio
    return min(tau, CAP)


def _chance(degrees: int) -> float:
    """What a chi-square variable over its degrees of freedom exceeds as rarely as ``SIGNIFICANT`` says.

    Wilson and Hilferty (1931): its cube root is close to normal.
    """
    spread = 2 / (9 * degrees)
    return float((1 - spread + SIGNIFICANT * np.sqrt(spread)) ** 3)
