"""How far predicted numbers are from what came true, each figure with an interval of 95 %."""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from daemon.monitoring import intervals
from daemon.monitoring.intervals import FEWEST_ROWS
from daemon.monitoring.measured import Measured


def mean_absolute_error(errors: NDArray[np.float64]) -> Measured:
    """The mean of ``errors`` (absolute ones), with Hall's interval (1992)."""
    largest, shares = _scaled(errors)
    low, high = intervals.of_mean(shares)
    return Measured("mae", len(errors), largest * float(shares.mean()), largest * max(0.0, low), largest * high)


def root_mean_squared_error(errors: NDArray[np.float64]) -> Measured:
    """The root of the mean square of ``errors``; its interval is the root of Hall's (1992) for the mean square."""
    rows = len(errors)
    if rows < FEWEST_ROWS:
        return Measured.missing("rmse", rows, f"{rows} rows, it takes {FEWEST_ROWS}")
    largest, shares = _scaled(errors)
    squares = shares**2
    found = float(squares.mean()), *intervals.of_mean(squares)
    value, low, high = (largest * sqrt(max(0.0, one)) for one in found)
    return Measured("rmse", rows, value, low, high)


def _scaled(errors: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """The largest, and all as shares of it: sums and squares of large numbers may be too large for a float."""
    largest = float(errors.max()) or 1.0
    return largest, errors / largest
