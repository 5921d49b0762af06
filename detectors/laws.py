"""The laws that a signal may have come to follow: what its e-detector bets on.

Numbers are bet on in terms of their normal score, so that any continuous law looks the same to the detector.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.base import Kind
from detectors.bins import FIRST_BIN, NEW, NumberBins
from detectors.reference import Reference

SHIFTS: Final = {0.125: 0.04, 0.25: 0.08, 0.5: 0.14, 1.0: 0.1, 2.0: 0.03}
"""Shifts of a number, in standard deviations of its normal score, both ways, with their weights: the smaller the shift,
the more rows each unit of evidence takes, and the more its weight is worth."""
SCALES: Final = {0.25: 0.02, 0.5: 0.03, 0.7: 0.04, 1.4: 0.04, 2.0: 0.02}
"""Factors on the spread of a number's normal score, with their weights."""
LUMPS: Final = 0.1
"""Weight of what is neither, all together: that values pile up somewhere."""
LUMP: Final = 5.0
"""Factor, then, on the odds of a tenth of the number's law."""
CATEGORY_ODDS: Final = (0.1, 0.5, 1.6, 2.5, 5.0)
"""Factors on the odds of a category."""
VALUE_ODDS: Final = (0.1, 5.0)
"""Factors on the odds of a value, of a number that has few."""
VALUES: Final = 0.4
"""Weight of those, all together."""
ERRORS: Final = ((1.15, 0.0), (1.35, 0.0), (1.75, 0.0), (2.5, 0.02), (4.0, 0.06))
"""Factor on the odds of an error, and the share that errors come to at least, after a model that hardly ever erred."""
STRANGE: Final = ((5.0, 0.1), (50.0, 0.7))
"""Factor on the odds of the highest anomaly scores, and the share that they come to at least."""
BROKEN: Final = ((4.0, 0.05), (30.0, 0.7))
"""Factor on the odds of a special bin, and the share that it comes to at least."""
FLAG_VALUES: Final = 2
FEWEST_VALUES: Final = 4
"""A number of fewer values is bet on value by value, like a category."""

ANOMALY_SCORE: Final = "features"
"""The signal of a score that says how strange a row is: that is what is raised, and the row is of all features."""

_normal: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class Bet:
    """That the signal now follows ``law`` (B bins), what it would mean, and its weight among bets of that meaning.

    ``value`` is the bin of the one value that it is about, if it is about one.
    """

    kind: Kind
    law: NDArray[np.float64]
    weight: float = 1.0
    value: int | None = None


def is_error(signal: str) -> bool:
    """Whether a signal is the model's error, over all rows or within a segment: ``error[channel=web]``."""
    return signal == "error" or signal.startswith("error[")


def reference_law(reference: Reference, s: int) -> NDArray[np.float64]:
    """The reference's law of signal s over all ``width`` bins, smoothed; the padding has probability 0."""
    bins = reference.bins[s]
    law = np.zeros(reference.width)
    law[: bins.width] = reference.counts[s, : bins.width] + 0.5
    law[:FIRST_BIN] += 0.5
    if bins.kind == "category":
        # Good and Turing: as many rows will be new as were seen once
        law[NEW] += (reference.counts[s, FIRST_BIN : bins.width] == 1).sum()
    return np.asarray(law / law.sum())


def bets(reference: Reference, s: int, law: NDArray[np.float64]) -> Iterator[Bet]:
    """All that may have become of signal s, whose reference law is ``law``."""
    bins = reference.bins[s]
    if is_error(reference.signals[s]):
        yield from _error(bins.width - FIRST_BIN, law)
        return
    if reference.signals[s] == ANOMALY_SCORE:
        yield from _strange(bins.width, law)
        return
    if bins.kind == "number" and bins.width - FIRST_BIN >= FEWEST_VALUES:
        yield from _number(bins.width, law, exact=isinstance(bins, NumberBins) and bins.exact)
    elif bins.width - FIRST_BIN > 1:
        for b in range(FIRST_BIN, bins.width):
            yield from (Bet(Kind.DRIFT, _odds(law, b, factor), value=b) for factor in CATEGORY_ODDS)
    for b in range(FIRST_BIN):
        # a class that was never seen before is no broken label: the world has it now
        kind = Kind.DRIFT if b == NEW and reference.signals[s] == "label" else Kind.QUALITY
        # numbers that resemble their neighbours leave their range together; what is missing or invalid has a memory of
        # its own
        value = None if b == NEW else b
        yield from (Bet(kind, _odds(law, b, factor, least), value=value) for factor, least in BROKEN)


def _error(values: int, law: NDArray[np.float64]) -> Iterator[Bet]:
    """Upwards only: a model that errs less is no cause for alarm."""
    if values == FLAG_VALUES:
        yield from (Bet(Kind.CONCEPT, _odds(law, FIRST_BIN + 1, factor, least)) for factor, least in ERRORS)
    elif values:
        scores = _scores(law, FIRST_BIN + values)
        for shift, weight in SHIFTS.items():
            yield Bet(Kind.CONCEPT, _moved(law, FIRST_BIN + values, scores, shift, 1.0), weight)
        # larger than any error of the reference
        yield from (Bet(Kind.CONCEPT, _odds(law, NEW, factor, least), 0.03) for factor, least in BROKEN)


def _strange(width: int, law: NDArray[np.float64]) -> Iterator[Bet]:
    """More rows in the highest bins, or above any score of the reference."""
    if width == FIRST_BIN:
        return
    for which in (slice(width - 1, width), slice(max(FIRST_BIN, width - 3), width), slice(NEW, FIRST_BIN)):
        yield from (Bet(Kind.ANOMALY, _odds(law, which, factor, least)) for factor, least in STRANGE)


def _number(width: int, law: NDArray[np.float64], *, exact: bool) -> Iterator[Bet]:
    scores = _scores(law, width)
    for shift, weight in SHIFTS.items():
        yield Bet(Kind.DRIFT, _moved(law, width, scores, shift, 1.0), weight)
        yield Bet(Kind.DRIFT, _moved(law, width, scores, -shift, 1.0), weight)
    for scale, weight in SCALES.items():
        yield Bet(Kind.DRIFT, _moved(law, width, scores, 0.0, scale), weight)
    if exact:
        single = [(b, factor) for b in range(FIRST_BIN, width) for factor in VALUE_ODDS]
        yield from (Bet(Kind.DRIFT, _odds(law, b, factor), VALUES / len(single), b) for b, factor in single)
        return
    lumps = [slice(first, min(first + 2, width)) for first in range(FIRST_BIN, width, 2)]
    yield from (Bet(Kind.DRIFT, _odds(law, lump, LUMP), LUMPS / len(lumps)) for lump in lumps)


def _scores(law: NDArray[np.float64], width: int) -> list[float]:
    """Normal scores of the edges between a number's own bins."""
    part = law[FIRST_BIN:width]
    below = np.cumsum(part)[:-1] / part.sum()
    return [_normal.inv_cdf(share) for share in below.tolist()]


def _moved(
    law: NDArray[np.float64], width: int, scores: list[float], shift: float, scale: float
) -> NDArray[np.float64]:
    """The law after its normal score was stretched by ``scale`` and moved by ``shift``; special bins stay."""
    after = [0.0, *(_normal.cdf((score - shift) / scale) for score in scores), 1.0]
    moved = law.copy()
    moved[FIRST_BIN:width] = np.maximum(np.diff(after), 1e-12) * law[FIRST_BIN:width].sum()
    return np.asarray(moved / moved.sum())


def _odds(law: NDArray[np.float64], which: int | slice, factor: float, least: float = 0.0) -> NDArray[np.float64]:
    """The law after the odds of the bins ``which`` were multiplied by ``factor``, and their share is ``least``."""
    share = float(np.sum(law[which]))
    odds = factor * share / (1 - share)
    target = max(odds / (1 + odds), least)
    changed = law * (1 - target) / (1 - share)
    changed[which] = law[which] * (target / share)
    return np.asarray(changed)
