"""How far out in the tails of its own past a value lies, for many signals at once and in constant memory.

Inside the range of what is remembered the probability of a tail is counted. Beyond it, it is that of a generalised
Pareto law above a high quantile (Siffer, Fouque, Termier and Largouet, 2017, "Anomaly detection in streams with extreme
value theory"): without it, all that lies beyond what was ever seen would be equally strange.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.bins import Bins
from detectors.reference import LARGEST_KEPT

TAIL: Final = 0.02
"""The outermost share of the values, on either side, beyond which the tail is taken to be Pareto's."""
SHAPE: Final = 0.5
"""Of that law: a heavy tail, so that a value twice as far out is never proof by itself. The scale is learned."""
FEWEST_BEYOND: Final = 10
"""At least so many values are in a tail."""
LEAST_SCALE: Final = 1e-3
"""Of a tail, in shares of the spread of the values: values that never vary have no scale of their own."""
KEEP_EVERY: Final = 10
"""One row of so many is remembered: with 1,000 remembered rows the memory is of the last 10,000."""
PARTS: Final = 10
"""The memory is renewed in so many parts, the oldest first."""


class Tails:
    """Remembers the latest of every ``keep_every`` rows of S signals, and judges rows by them.

    As many rows are remembered as ``values`` has, or ``most``, and a part of ``parts`` is replaced at a time.
    ``values`` (k rows, S signals) are what it begins with, as ``Reference.sample`` holds them; ``bins`` say which
    signals are categories. How the rows are batched makes no difference: the memory changes at fixed rows.
    """

    def __init__(
        self,
        values: NDArray[np.floating[Any]],
        bins: tuple[Bins, ...],
        *,
        keep_every: int = KEEP_EVERY,
        parts: int = PARTS,
        most: int = 0,
    ) -> None:
        self._bins = bins
        self._keep_every = keep_every
        self._values = as_remembered(values)
        self._most = max(most, len(values))
        self._part = max(1, self._most // parts)
        self._waiting = np.zeros((self._part, len(bins)), dtype=np.float32)
        self._taken = 0
        self._learn()

    def walk(self, points: NDArray[np.floating[Any]]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Judge ``points`` (n rows, S signals) in order, and remember them; a part of the rows at a time.

        For the rows of each part, minus the logarithm of how probable it is to be as low, and as high: (rows, S, 2).
        """
        values = as_remembered(points)
        start = 0
        while start < len(values):
            stop = min(len(values), start + self._part * self._keep_every - self._taken)
            part = values[start:stop]
            yield slice(start, stop), self.surprise(part)
            kept = part[-self._taken % self._keep_every :: self._keep_every]
            first = -(-self._taken // self._keep_every)
            self._waiting[first : first + len(kept)] = kept
            self._taken += len(part)
            if self._taken == self._part * self._keep_every:
                self._values = np.concatenate((self._values, self._waiting))[-self._most :]
                self._taken = 0
                self._learn()
            start = stop

    def surprise(self, points: NDArray[np.float32]) -> NDArray[np.float64]:
        """As ``walk`` judges, and nothing is remembered."""
        found = np.empty((*points.shape, 2))
        for s, bins in enumerate(self._bins):
            if bins.kind == "category":
                found[:, s] = self._rarity[s][points[:, s].astype(np.int64)][:, None]
            else:
                self._judge(s, points[:, s], found[:, s])
        return found

    def spread(self, s: int) -> float:
        """Of the finite values remembered of signal s, which is a number: about their standard deviation."""
        return _spread(self._sorted[s].astype(np.float64)) if len(self._sorted[s]) else 1.0

    def _judge(self, s: int, column: NDArray[np.float32], found: NDArray[np.float64]) -> None:
        known, count = self._sorted[s], len(self._values)
        beyond = min(max(FEWEST_BEYOND, round(TAIL * len(known))), len(known) // 4)
        below = np.searchsorted(known, column, "right")
        above = len(known) - np.searchsorted(known, column, "left")
        found[:, 0] = -np.log(np.minimum((below + 0.5) / (len(known) + 1), 1.0))
        found[:, 1] = -np.log(np.minimum((above + 0.5) / (len(known) + 1), 1.0))
        if beyond:
            share = -np.log(beyond / len(known))
            values = column.astype(np.float64)
            for side, excess in ((0, self._low[s] - values), (1, values - self._high[s])):
                out = np.flatnonzero(excess > 0)
                pareto = share + np.log1p(SHAPE * excess[out] / self._scale[s, side]) / SHAPE
                # what is no further out than something that was seen is as probable as was seen
                first = (below if side == 0 else above)[out] == 0
                found[out, side] = np.where(first, np.maximum(found[out, side], pareto), found[out, side])
        odd = ~np.isfinite(column)
        if odd.any():
            missing, invalid = self._odd[s]
            share_of = np.where(np.isnan(column[odd]), missing, invalid)
            found[odd] = -np.log((share_of + 0.5) / (count + 1))[:, None]

    def _learn(self) -> None:
        signals = len(self._bins)
        self._sorted: list[NDArray[np.float32]] = []
        self._rarity: dict[int, NDArray[np.float64]] = {}
        self._odd = np.zeros((signals, 2))
        self._low, self._high = np.zeros(signals), np.zeros(signals)
        self._scale = np.ones((signals, 2))
        for s, bins in enumerate(self._bins):
            column = self._values[:, s]
            if bins.kind == "category":
                counts = np.bincount(column.astype(np.int64), minlength=bins.width)
                # as rare as this one or rarer
                rare = (counts[None, :] * (counts[None, :] <= counts[:, None])).sum(axis=1)
                self._rarity[s] = -np.log(np.minimum((rare + 0.5) / (len(column) + 1), 1.0))
                self._sorted.append(column[:0])
                continue
            missing, invalid = np.isnan(column), np.isinf(column)
            known = np.sort(column[~(missing | invalid)])
            self._sorted.append(known)
            self._odd[s] = missing.sum(), invalid.sum()
            beyond = min(max(FEWEST_BEYOND, round(TAIL * len(known))), len(known) // 4)
            if not beyond:
                continue
            exact = known.astype(np.float64)
            self._low[s], self._high[s] = exact[beyond], exact[-1 - beyond]
            least = LEAST_SCALE * _spread(exact)
            # from the median of the excesses: the mean would be that of the largest
            factor = SHAPE / (2**SHAPE - 1)
            low = factor * np.median(self._low[s] - exact[:beyond])
            high = factor * np.median(exact[-beyond:] - self._high[s])
            self._scale[s] = max(low, least), max(high, least)

    def to_dict(self) -> dict[str, Any]:
        """The memory, for msgpack."""
        return {"values": self._values.tobytes(), "waiting": self._waiting.tobytes(), "taken": self._taken}

    def restore(self, data: dict[str, Any]) -> None:
        """Go on from what ``to_dict`` gave."""
        self._values = np.frombuffer(data["values"], dtype=np.float32).reshape(-1, len(self._bins)).copy()
        self._waiting = np.frombuffer(data["waiting"], dtype=np.float32).reshape(self._waiting.shape).copy()
        self._taken = int(data["taken"])
        self._learn()


def as_remembered(points: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Points in single precision: a finite value stays finite, and an infinity only says that a value is invalid."""
    kept = np.where(np.isinf(points), np.inf, np.clip(points, -LARGEST_KEPT, LARGEST_KEPT))
    return kept.astype(np.float32)


def _spread(known: NDArray[np.float64]) -> float:
    """Of sorted values: half the distance between those one standard deviation below and above, if they were normal."""
    last = len(known) - 1
    half = float(known[round(0.84 * last)] - known[round(0.16 * last)]) / 2
    return half or float(known.std()) or abs(float(known[0])) or 1.0
