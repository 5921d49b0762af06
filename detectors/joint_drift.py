"""Drift of all features of a row together, also where none moves enough by itself, or none at all.

A two-sample test by a classifier that goes on learning (Lopez-Paz and Oquab 2017, "Revisiting classifier two-sample
tests"; Pandeva and others 2024, "E-valuating classifier two-sample tests"): what tells the latest rows from the
reference's becomes a number for each row that comes after them. While nothing has changed, its rank among rows of the
reference is as likely to be any, and an e-detector bets on these ranks, within the budget of false alarms.

The classifier is linear in each feature's normal score, their squares and the products of pairs: its weights are how
far the mean of the latest rows is from the reference's, less what chance alone would explain. It learns from half of
the reference's sample and ranks among the other half: rows that it has learned from would look like themselves.
"""

from dataclasses import replace
from typing import Any, Final, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from detectors.base import Kind, StateMismatch, Verdict
from detectors.columns import Columns, Stream
from detectors.e_detector import EDetector
from detectors.reference import Reference
from detectors.summary import Summary, summarise
from detectors.terms import Terms

FEWEST_ROWS: Final = 200
"""With fewer rows in the reference's sample nothing is watched."""
BLOCK_ROWS: Final = 50
"""Independent rows between two looks at what has been learned; more where rows are correlated."""
HORIZONS: Final = (100, 800)
"""Independent rows that the classifiers remember: a large change shows in few rows, a small one only in many."""
MOST_TAU: Final = 20.0
"""Rows that are worth one independent row, at most."""
BY_CHANCE: Final = 2.0
"""Standard errors: by so much a mean has to differ before it counts."""
GOLDEN: Final = (5**0.5 - 1) / 2
"""The multiples of it are spread evenly, modulo 1, however many there are."""
SIGNAL: Final = "features"


class JointDrift:
    """Raises DRIFT of the signal ``features`` where rows can be told from the reference's by several features at once.

    Its evidence has ``told_apart``, the share of pairs of a row from after the change and one of the reference that the
    classifier ranks rightly (the area under its curve: .5 is chance), and ``together``, the pairs of features whose
    going together tells most, with the covariance of their normal scores (about their correlation) in the reference and
    in the latest rows.
    """

    name: str = "joint_drift"

    def __init__(self, reference: Reference, events_per_false_alarm: float, min_effect: float = 0.1) -> None:
        self.reference = reference
        sample = reference.sample.astype(np.float64)
        self._terms = Terms(reference, sample[::2])
        self._watches = len(sample) >= FEWEST_ROWS and self._terms.count > 1
        learned, self._ranked = self._terms(sample[::2]), self._terms(sample[1::2])
        self._usual, self._spread = learned.mean(axis=0), np.maximum(learned.std(axis=0), 1e-3)
        self._tau = min(MOST_TAU, 1 / float(reference.temper.min()))
        self._block = round(BLOCK_ROWS * self._tau)
        self._horizons = np.array(HORIZONS) * self._tau
        none = np.zeros((len(HORIZONS), self._terms.count))
        self._learned = _Learned(none, np.zeros(len(HORIZONS)), none)
        self._sums, self._rows = np.zeros(self._terms.count), 0  # of the block that is not complete
        self._fingerprint = crc32(reference.sample.tobytes(), crc32(reference.counts.tobytes()))
        self._law = _uniform(len(self._ranked), reference)
        self._detector = EDetector(self._law, events_per_false_alarm, min_effect, name=self.name)
        self._raised: set[str] = set()  # by which of the classifiers something was raised and is not over

    def update(self, summary: Summary, columns: Columns) -> list[Verdict]:
        """Rank the rows, learn from them, and say in which windows they can be told from the reference's."""
        if not self._watches:
            return []
        points = self.reference.points(columns).astype(np.float64)
        window = int(summary.sizes[0])
        ranks: list[NDArray[np.float64]] = []
        by: list[tuple[int, _Learned]] = []  # the rows up to which ranks are by what was learned so far
        start = 0
        while start < len(points):
            # a block ends with the first window that completes it, wherever a batch ends
            missing = -(-(self._block - self._rows) // window) * window
            stop = min(start + missing, len(points))
            terms = self._terms(points[start:stop])
            ranks.append(self._ranks(terms, columns.rows[start:stop]))
            by.append((int(columns.rows[stop - 1]), self._learned))
            self._learn(terms)
            start = stop
        ranked = _as_columns(np.hstack(ranks), columns.rows, columns.ts)
        law = self._law
        counted = summarise(law.stream, law.signals, law.encode(ranked), law.width, columns.rows, columns.ts, window)
        found = filter(self._is_news, self._detector.update(counted, ranked))
        return [self._in_words(one, next(how for row, how in by if one.row <= row)) for one in found]

    def _is_news(self, verdict: Verdict) -> bool:
        """Whether a verdict on one classifier's ranks is one on the features: what both see is said once."""
        if verdict.recovered:
            self._raised.discard(verdict.signal)
            return not self._raised
        first = not self._raised
        self._raised.add(verdict.signal)
        return first or "again" in verdict.evidence

    def _ranks(self, terms: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Each row's rank among those of the reference, between 0 and 1, by each classifier.

        Among equals, as all are while nothing is learned, the row's number decides, so that ranks are evenly spread.
        """
        among_equals = rows * GOLDEN % 1.0
        ranks = np.empty((len(HORIZONS), len(rows)))
        for place, weights in enumerate(self._learned.weights):
            usual, found = np.sort(_along(weights, self._ranked)), _along(weights, terms)
            low, high = np.searchsorted(usual, found, side="left"), np.searchsorted(usual, found, side="right")
            ranks[place] = (low + among_equals * (high - low + 1)) / (len(usual) + 1)
        return ranks

    def _learn(self, terms: NDArray[np.float64]) -> None:
        self._sums = np.vstack((self._sums, terms)).sum(axis=0)  # row by row, wherever a batch ends
        self._rows += len(terms)
        if self._rows < self._block:
            return
        before = np.exp(-self._rows / self._horizons) * self._learned.rows
        rows = before + self._rows
        share = (self._rows / rows)[:, None]
        means = (1 - share) * self._learned.means + share * (self._sums / self._rows)
        differs = (means - self._usual) / self._spread
        chance = BY_CHANCE * np.sqrt(self._tau / rows + self._tau / len(self._ranked))[:, None]
        weights = np.sign(differs) * np.maximum(np.abs(differs) - chance, 0.0) / self._spread
        self._learned = _Learned(means, rows, weights)
        self._sums, self._rows = np.zeros(self._terms.count), 0

    def _in_words(self, verdict: Verdict, learned: "_Learned") -> Verdict:
        """A verdict about ranks as one about the features by which ``learned`` tells rows apart."""
        place = self._law.signals.index(verdict.signal)
        weights, now = learned.weights[place], learned.means[place]
        evidence = dict(verdict.evidence)
        for figure in ("bin", "reference_mean", "current_mean", "reference", "current"):
            evidence.pop(figure, None)
        if verdict.recovered:
            return replace(verdict, kind=Kind.DRIFT, signal=SIGNAL, evidence=evidence)
        told = verdict.evidence.get("current_mean")
        if told is not None:
            evidence["told_apart"] = round(float(told), 4)
        evidence["together"] = self._terms.pairs_of(weights, self._usual, now)
        ranking = self._terms.ranking(np.abs(weights * (now - self._usual)))
        return replace(verdict, kind=Kind.DRIFT, signal=SIGNAL, evidence=evidence, ranking=ranking)

    def state(self) -> dict[str, Any]:
        """Everything needed to go on later."""
        return {
            "name": self.name,
            "fingerprint": self._fingerprint,
            "learned": [one.tobytes() for one in self._learned],
            "sums": self._sums.tobytes(),
            "rows": self._rows,
            "raised": sorted(self._raised),
            "detector": self._detector.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``. Raises StateMismatch where it belongs to another reference."""
        if state.get("name") != self.name or state["fingerprint"] != self._fingerprint:
            raise StateMismatch("the state of a joint drift detector with another reference")
        self._detector.restore(state["detector"])
        learned = zip(state["learned"], self._learned, strict=True)
        self._learned = _Learned(*(np.frombuffer(stored).reshape(now.shape) for stored, now in learned))
        self._sums, self._rows = np.frombuffer(state["sums"]).copy(), int(state["rows"])
        self._raised = set(state["raised"])


class _Learned(NamedTuple):
    """Of each classifier the mean terms of the latest rows, how many rows these are worth, and each term's weight."""

    means: NDArray[np.float64]
    rows: NDArray[np.float64]
    weights: NDArray[np.float64]


def _along(weights: NDArray[np.float64], terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weighted sum of each row: the same for rows that are the same.

    A product of matrices rounds a row differently, depending on how many there are, and so breaks ties.
    """
    return np.asarray((terms * weights).sum(axis=1))


def _uniform(rows: int, reference: Reference) -> Reference:
    """The law of ranks among so many rows, as certain as these make it, and correlated as the reference's rows are."""
    grid = (np.arange(rows) + 1) / (rows + 1)
    law = Reference.learn(_as_columns(np.tile(grid, (len(HORIZONS), 1)), np.arange(rows)))
    temper = float(reference.temper.min())
    return replace(law, temper=np.full(len(law.signals), temper), bin_temper=np.full(law.bin_temper.shape, temper))


def _as_columns(ranks: NDArray[np.float64], rows: NDArray[np.int64], ts: NDArray[np.float64] | None = None) -> Columns:
    values = {f"{SIGNAL}:{horizon}": one for horizon, one in zip(HORIZONS, ranks, strict=True)}
    return Columns(Stream.FEATURES, rows, rows.astype(np.float64) if ts is None else ts, values)
