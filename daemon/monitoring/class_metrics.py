"""How good classes are, and the probabilities that came with them, each figure with an interval of 95 %.

The intervals have their sources beside them. scikit-learn knows none of them, and would take half as much memory again
as the daemon does; tests hold the values against it.
"""

from math import sqrt
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtr, chndtrinc

from daemon.monitoring import intervals
from daemon.monitoring.intervals import CONFIDENCE, FEWEST_ROWS
from daemon.monitoring.measured import Measured

FEWEST_A_CLASS: Final = 30
"""Rows for the mean of F1, times the number of classes."""
FEWEST_OF_A_CLASS: Final = 10
"""Rows with, and rows without a class, for its AUC."""
TRUSTED_ROWS: Final = 20
"""So many rows of the rarer class have as much to say of the variance of an AUC as the AUC itself has."""
BINS: Final = 10
LEAST_PROBABILITY: Final = float(np.finfo(np.float32).eps)
"""Where a row's class was given no probability: its log loss would be infinite."""

LARGE: Final = 10_000.0
"""Of a chi-square value: beyond this its law is worked out as a normal one, at once."""
CALIBRATION: Final = "rms_calibration_error"

Codes = NDArray[np.int32]
"""The class of each row, as a number from 0 on."""


def accuracy(errors: NDArray[np.float64]) -> Measured:
    """The share of right rows; Wilson's interval (1927). ``errors`` are 0 or 1."""
    share = 1 - float(errors.mean())
    low, high = map(float, intervals.wilson(share, len(errors)))
    return Measured("accuracy", len(errors), share, low, high)


def f1(labels: NDArray[np.bool_], predictions: NDArray[np.bool_]) -> Measured:
    """F1 of one class: the harmonic mean of precision and recall.

    It is 2 s / (1 + s), where s is the share of the rows with the class in label and prediction among those with it
    in either; so is its interval, with Wilson's of s (Lam, Gopal and Qian 2023, the indirect one).
    """
    either = int((labels | predictions).sum())
    if not either:
        return Measured.missing("f1", len(labels), "no row has the positive class")
    share = float((labels & predictions).sum()) / either
    found = share, *map(float, intervals.wilson(share, either))
    value, low, high = (2 * one / (1 + one) for one in found)
    return Measured("f1", len(labels), value, low, high)


def macro_f1(labels: Codes, predictions: Codes) -> Measured:
    """The mean of the F1 of all classes that labels or predictions have.

    Its variance is that of the delta method (Takahashi, Yamamoto, Kuchiba and Koyama 2022), as a sum over rows: to
    the F1 of a class, 2 both / (labelled + predicted), a row of it adds 2 both less F1 for each of the two.
    """
    present = np.unique(np.concatenate((labels, predictions)))
    size, rows = len(present), len(labels)
    if size < 2:  # noqa: PLR2004 (one class is told apart from nothing)
        return Measured.missing("f1", rows, "the rows have one class only")
    if rows < FEWEST_A_CLASS * size:
        return Measured.missing("f1", rows, _too_few(f"rows with {size} classes", rows, FEWEST_A_CLASS * size))
    labelled, predicted = (np.searchsorted(present, one) for one in (labels, predictions))
    right = labelled == predicted
    both = np.bincount(labelled[right], minlength=size)
    sizes = np.bincount(labelled, minlength=size) + np.bincount(predicted, minlength=size)
    of_class = 2 * both / sizes
    value = float(of_class.mean())
    added = (2 * right / sizes[labelled] - (of_class / sizes)[labelled] - (of_class / sizes)[predicted]) / size
    variance = float((added**2).sum())
    fewest = size**2 / float((1 / (sizes - both)).sum())
    low, high = intervals.of_share(value, variance, fewest)
    return Measured("f1", rows, value, low, high, classes=size)


def auc(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> Measured:
    """Area under the receiver operating characteristic: how often a row with the class scores higher than one without.

    Its variance is DeLong's, of ``_placements``.
    """
    with_class = int(labels.sum())
    fewer = min(with_class, len(labels) - with_class)
    if fewer < FEWEST_OF_A_CLASS:
        return Measured.missing(
            "auc", len(labels), _too_few("rows of one of the two classes", fewer, FEWEST_OF_A_CLASS)
        )
    value, added = _placements(labels, scores)
    low, high = intervals.of_share(value, float((added**2).sum()), fewer)
    return Measured("auc", len(labels), value, low, high)


def macro_auc(labels: Codes, probabilities: NDArray[np.float64]) -> Measured:
    """The mean of each class's AUC against the rest; ``probabilities`` (n, classes), in the order of the codes.

    Classes with too few rows do not count. The variance is DeLong's, with what a row adds to each class's AUC added up.
    """
    rows, found, added, fewest = len(labels), [], np.zeros(len(labels)), len(labels)
    for code in range(probabilities.shape[1]):
        of_class = labels == code
        fewer = min(int(of_class.sum()), rows - int(of_class.sum()))
        if fewer >= FEWEST_OF_A_CLASS:
            value, more = _placements(of_class, probabilities[:, code])
            found.append(value)
            added += more
            fewest = min(fewest, fewer)
    if not found:
        return Measured.missing("auc", rows, f"no class has {FEWEST_OF_A_CLASS} rows with it and as many without")
    value, variance = float(np.mean(found)), float((added**2).sum()) / len(found) ** 2
    low, high = intervals.of_share(value, variance, fewest)
    return Measured("auc", rows, value, low, high, classes=len(found))


def _placements(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """The AUC, and what each row adds to it beyond its mean, so that the sum of the squares is its variance.

    That is the variance of DeLong, DeLong and Clarke-Pearson (1988). Of few rows it comes out too small just where the
    AUC comes out high: there it is mixed with that of Hanley and McNeil (1982), which rests on the AUC alone.
    """
    order = np.argsort(scores, kind="stable")
    came, in_order = labels[order], scores[order]
    first = np.flatnonzero(np.concatenate(([True], in_order[1:] != in_order[:-1])))  # of rows with the same score
    sizes = np.diff(first, append=len(order))
    upper = int(came.sum())
    lower = len(order) - upper
    with_class = np.add.reduceat(came, first, dtype=np.int64)
    upper_below, lower_below = (np.cumsum(one) - one / 2 for one in (with_class, sizes - with_class))
    above = np.where(came, np.repeat(lower_below / lower, sizes), 1 - np.repeat(upper_below / upper, sizes))
    value = float(above @ came) / upper
    added = np.empty(len(order))
    added[order] = (above - value) / np.sqrt(np.where(came, upper * (upper - 1.0), lower * (lower - 1.0)))
    variance = float(added @ added)
    if variance:
        fewer = min(upper, lower)
        by_area = _variance_by_area(value, upper, lower)
        mixed = (fewer * variance + TRUSTED_ROWS * by_area) / (fewer + TRUSTED_ROWS)
        added *= np.sqrt(mixed / variance)
    return value, added


def _variance_by_area(area: float, upper: int, lower: int) -> float:
    """Hanley and McNeil's (1982), for scores of exponential laws."""
    two_upper = (upper - 1) * area * (1 - area) ** 2 / (2 - area)
    two_lower = (lower - 1) * area**2 * (1 - area) / (1 + area)
    return (area * (1 - area) + two_upper + two_lower) / (upper * lower)


def log_loss(probabilities: NDArray[np.float64]) -> Measured:
    """The mean of -log p, with Hall's interval (1992); p is the probability that was given to the class that came."""
    rows = len(probabilities)
    if rows < FEWEST_ROWS:
        return Measured.missing("log_loss", rows, _too_few("rows", rows, FEWEST_ROWS))
    losses = -np.log(np.clip(probabilities, LEAST_PROBABILITY, 1.0))
    low, high = intervals.of_mean(losses)
    return Measured("log_loss", rows, float(losses.mean()), max(0.0, low), high)


def calibration_error(came: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> Measured:
    """How far probabilities are from how often it came true: root mean square over ten bins of equally many rows.

    The mean distance is better known (expected calibration error, Guo et al. 2017), but chance alone makes it some .02
    of 2,000 rows, and no interval for it holds where calibration is good. What chance makes of the mean square is
    known, and subtracted (Kumar, Liang and Ma 2019). The law of the mean square is about that of a multiple of a
    non-central chi-square (with Satterthwaite's multiple and degrees of freedom, 1946); the interval is that of the
    non-centrality.
    """
    rows = len(came)
    if rows < FEWEST_ROWS:
        return Measured.missing(CALIBRATION, rows, _too_few("rows", rows, FEWEST_ROWS))
    order = np.argsort(probabilities, kind="stable")
    starts = np.arange(BINS) * rows // BINS
    sizes = np.diff(starts, append=rows)
    differences, chances = (came - probabilities)[order], (probabilities * (1 - probabilities))[order]
    means = np.add.reduceat(differences, starts) / sizes
    spread = np.add.reduceat((differences - np.repeat(means, sizes)) ** 2, starts) / (sizes - 1)
    # what is rare may not have come: then nothing varies, though it could have
    variances = np.maximum(spread, np.add.reduceat(chances, starts) / sizes) / sizes
    weights = sizes / rows
    square, by_chance = float(weights @ means**2), float(weights @ variances)
    if not by_chance:  # nothing but certainties, and all alike within each bin
        return Measured(CALIBRATION, rows, sqrt(square), sqrt(square), sqrt(square))
    scale = float(weights**2 @ variances**2) / by_chance
    freedom = by_chance / scale
    # less than chance makes says nothing about how well it is calibrated
    ends = (square, (1 + CONFIDENCE) / 2), (max(square, by_chance), (1 - CONFIDENCE) / 2)
    low, high = (sqrt(scale * _non_centrality(one / scale, freedom, below)) for one, below in ends)
    return Measured(CALIBRATION, rows, sqrt(max(0.0, square - by_chance)), low, high)


def _non_centrality(value: float, freedom: float, below: float) -> float:
    """That of the non-central chi-square law which has ``value`` as its quantile; 0 where there is none."""
    if value > LARGE:  # where it is as good as normal, with the mean f + c and the variance 2 (f + 2 c)
        z = NormalDist().inv_cdf(below)
        return (sqrt(value - freedom / 2 + z**2) - z) ** 2 - freedom / 2
    if chdtr(freedom, value) <= below:
        return 0.0
    return float(chndtrinc(value, freedom, below))


def _too_few(what: str, came: int, needed: int) -> str:
    return f"{came} {what}, it takes {needed}"
