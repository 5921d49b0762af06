"""How far the signals of a stream have moved, in nats beside what a free law of each would take to say."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.effect import groups_of
from detectors.recent_rows import RecentRows
from detectors.reference import Reference

SMOOTHING: Final = 0.5


@dataclass(frozen=True, slots=True)
class Moves:
    """How the features moved.

    ``misfit`` holds for each feature the nats by which the reference's law fails, ``free`` what a law of its own takes;
    ``rows`` is how many rows were seen.
    """

    signals: tuple[str, ...]
    misfit: NDArray[np.float64]
    free: NDArray[np.float64]
    degrees: NDArray[np.float64]
    rows: int

    @property
    def moved(self) -> NDArray[np.bool_]:
        """Which have moved beyond chance."""
        return self.misfit > self.free

    @property
    def cost(self) -> float:
        """Nats of all features, each as it was or free."""
        return float(np.minimum(self.misfit, self.free).sum())


def grouped(reference: Reference, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Counts of bins (S signals, B bins) as counts of the groups that the stability index has, padded with zeros."""
    groups = np.array([groups_of(reference, s) for s in range(len(reference.signals))])
    found = np.zeros((len(counts), int(groups.max(initial=0)) + 1))
    np.add.at(found, (np.arange(len(counts))[:, None], groups), counts)
    return found


def counted(codes: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """How many rows of each signal are in each bin: S signals, B bins."""
    return np.stack([np.bincount(codes[:, s], minlength=width) for s in range(codes.shape[1])])


def moves(reference: Reference, since: RecentRows) -> Moves:
    """How all signals of a stream moved."""
    now = grouped(reference, counted(reference.codes(since.points), reference.width))
    return moves_between(reference.signals, now, grouped(reference, reference.counts), reference.temper)


def moves_between(
    signals: tuple[str, ...], now: NDArray[np.float64], before: NDArray[np.float64], temper: NDArray[np.float64]
) -> Moves:
    """The same from counts of groups (S signals, G groups)."""
    rows = np.maximum(now.sum(axis=1), 1.0) * temper
    before_rows = np.maximum(before.sum(axis=1), 1.0) * temper
    used = (now + before) > 0
    degrees = np.maximum(used.sum(axis=1) - 1.0, 0.0)
    misfit = divergence(now, law_of(before, used), used) / (1 / rows + 1 / before_rows)
    return Moves(signals, misfit, degrees / 2 * np.log(np.maximum(rows, 3.0)), degrees, int(now.sum(axis=1).max()))


def law_of(counts: NDArray[np.float64], used: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The shares of counts (S signals, G groups), those of groups that are ``used`` a little smoothed."""
    law = np.where(used, counts + SMOOTHING, 0.0)
    return np.asarray(law / np.maximum(law.sum(axis=1, keepdims=True), SMOOTHING))


def divergence(now: NDArray[np.float64], law: NDArray[np.float64], used: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Divergence (Kullback and Leibler) of what is seen of each signal from a law, in nats a row."""
    q = now / np.maximum(now.sum(axis=1, keepdims=True), 1.0)
    ratio = np.where(used & (q > 0), q / np.maximum(law, 1e-12), 1.0)
    return np.asarray((q * np.log(ratio)).sum(axis=1))
