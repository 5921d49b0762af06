"""Intervals of 95 % for what is measured on rows; all take rows to be independent of each other."""

from math import cbrt, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
FEWEST_ROWS = 100
"""Of fewer rows no interval is given for means of logarithms and squares: what is rare and large may not have come."""
SYMMETRIC = 1e-6
"""Skewness below which values count as symmetric."""


def wilson(
    share: NDArray[np.float64] | float, count: NDArray[np.float64] | float, z: float = Z
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's (1927) interval for proportions of ``count`` rows, of 95 % unless ``z`` says otherwise."""
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return np.maximum(0.0, middle - half), np.minimum(1.0, middle + half)


def of_share(value: float, variance: float, fewest: float) -> tuple[float, float]:
    """For what lies between 0 and 1 as a share does, known with ``variance``: as of so many rows as a share would be.

    That is Wilson's interval with the effective number of rows, as it is used for shares in surveys. Unlike the normal
    one it stays within 0 and 1, and does not claim to be sure where nothing varied: there it is as of ``fewest`` rows.
    """
    known = variance > 0 and 0 < value < 1
    low, high = wilson(value, value * (1 - value) / variance if known else fewest)
    return float(low), float(high)


def of_mean(values: NDArray[np.float64]) -> tuple[float, float]:
    """For the mean of values, skewed ones too: the normal interval after Hall's (1992) transformation.

    Losses and errors are skewed: the plain normal interval is too low for them, the more so the fewer they are. The
    transformation is the cubic one, which can be turned round, and leaves the interval of symmetric values as it is.
    """
    rows, mean = len(values), float(values.mean())
    away = values - mean
    square = float(away @ away)
    if not square:
        return mean, mean
    error = sqrt(square / max(rows - 1, 1) / rows)
    skewness = float(away @ (away * away)) / rows / sqrt(square / rows) ** 3
    if abs(skewness) < SYMMETRIC:
        return mean - Z * error, mean + Z * error

    def turned_round(z: float) -> float:
        inner = 1 + skewness * (z / sqrt(rows) - skewness / (6 * rows))
        return 3 * sqrt(rows) / skewness * (cbrt(inner) - 1)

    return mean - error * turned_round(Z), mean - error * turned_round(-Z)
