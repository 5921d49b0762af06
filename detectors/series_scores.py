"""Series scores: how strange a value is in a time series, beside its own past.

Four looks at each series (the value, its change, and how far it is from its exponential mean over a few rows and over
some more) are judged by their tails (see ``tails.py``; Siffer and others, 2017), its mean over some rows by what it has
been at that time of day (``day_envelope.py``), and the shape of its latest stretch by those before (``resonance.py``).
What goes on being strange is said once: that is what is asked of detectors of series (Lavin and Ahmad, 2015,
"Evaluating real-time anomaly detection algorithms").
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.base import StateMismatch, Verdict
from detectors.bins import NumberBins
from detectors.columns import Columns
from detectors.day_envelope import DayEnvelope
from detectors.reference import LARGEST_KEPT, Reference
from detectors.resonance import Resonance, clock
from detectors.score_alarm import ScoreAlarm
from detectors.summary import Summary
from detectors.tails import Tails

FEWEST_ROWS: Final = 100
"""With fewer rows in the reference's sample every row scores 0, and nothing is raised."""
HALF_LIVES: Final = (5, 30)
"""Of the exponential means, in rows."""
MOST_ROWS: Final = 4_000
PARTS: Final = 160
"""A series is short: the memory is of its latest rows, all of them, and renewed often."""
OWN_THRESHOLD: Final = 23.0
"""Nats: what is worth telling. Set, as are the others here, on the 33 series of NAB that the bench does not report."""
USUAL: Final = 3.0
"""Nats of surprise that count for nothing: one value in twenty is so far out."""
SMOOTHED: Final = (6, 24)
"""Rows of the means that are held against the time of day."""
FAR: Final = 0.25
"""So many standard deviations outside of what the time of day has seen count in full, ..."""
OF_THE_DAY: Final = 6.0
"""... which is so many nats."""
OF_THE_SHAPE: Final = 55.0
"""Nats that a shape counts which nothing before it resembles."""
SILENCE: Final = 0.2
"""For this share of the rows that shapes are first learned from, only a higher score is said after another one."""
LOOKS: Final = 2 + len(HALF_LIVES)


class SeriesScores:
    """Scores each row by the strangest of its numbers, and raises ANOMALY where strange ones become more frequent.

    For one series, or a few: each costs tens of microseconds a row. The alarm (see ``score_alarm.py``) rests on the
    tails only: a reference of some hours says nothing of days.
    """

    name: str = "series_scores"

    def __init__(self, reference: Reference, events_per_false_alarm: float, min_effect: float = 0.1) -> None:
        self.reference = reference
        numbers = [s for s, bins in enumerate(reference.bins) if bins.kind == "number"]
        self._series: list[_Series] = []
        self._alarm: ScoreAlarm | None = None
        # rows that were picked from many are no stretch of a series
        self._stretch = len(reference.sample) if len(reference.sample) == reference.rows else 0
        block, learned = clock(self._stretch)
        self._said = np.zeros(int(SILENCE * block * learned))
        if len(reference.sample) < FEWEST_ROWS or not numbers:
            return
        # the sample's rows as if nothing had been between them
        half = len(reference.sample) // 2
        tried = [_Series(s, reference.sample[:half, s]) for s in numbers]
        times = np.zeros(len(reference.sample) - half)
        usual = [one.judge(reference.sample[half:, one.signal].astype(np.float64), times)[0] for one in tried]
        self._alarm = ScoreAlarm(self.name, np.max(usual, axis=0), events_per_false_alarm, min_effect)
        self._series = [_Series(s, reference.sample[:, s]) for s in numbers]

    def update(self, summary: Summary, columns: Columns) -> list[Verdict]:
        """Score the rows, and say in which windows strange ones became more frequent, or normal again."""
        return [] if self._alarm is None else self._alarm.update(summary, columns, self._tails(columns))

    def scores(self, columns: Columns) -> NDArray[np.float64]:
        """How strange each row is beside those before it, which is remembered: n numbers from 0, higher is stranger.

        Of rows that are strange for the same reason only the first has a score, unless a later one is stranger.
        """
        if self._alarm is None or not len(columns):
            return np.zeros(len(columns))
        judged = []
        for one in self._series:
            learned = self.reference.sample[: self._stretch, one.signal]
            judged.append(one.scores(self._numbers(columns, one.signal), columns.ts, learned))
        silence = len(self._said)
        found = np.concatenate((self._said, np.max(judged, axis=0)))
        self._said = found[-silence:]
        before = np.lib.stride_tricks.sliding_window_view(found[:-1], silence).max(axis=1)
        return np.asarray(np.where(found[silence:] > before, found[silence:], 0.0))

    def _tails(self, columns: Columns) -> NDArray[np.float64]:
        """Of each row the surprise of its tails."""
        judged = [one.judge(self._numbers(columns, one.signal), columns.ts)[0] for one in self._series]
        return np.asarray(np.max(judged, axis=0))

    def _numbers(self, columns: Columns, s: int) -> NDArray[np.float64]:
        """Signal s in double precision: of a large number that changes little single would keep little."""
        column = columns.values.get(self.reference.signals[s])
        return np.full(len(columns), np.nan) if column is None else self.reference.bins[s].points(column)

    def state(self) -> dict[str, Any]:
        """Everything needed to go on later."""
        return {
            "name": self.name,
            "series": [one.to_dict() for one in self._series],
            "said": self._said.tobytes(),
            "alarm": None if self._alarm is None else self._alarm.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``. Raises StateMismatch where it belongs to another reference."""
        if state.get("name") != self.name or len(state["series"]) != len(self._series):
            raise StateMismatch("the state of series scores with another reference")
        if self._alarm is not None:
            self._alarm.restore(state["alarm"])
        for one, stored in zip(self._series, state["series"], strict=True):
            one.restore(stored)
        self._said = np.frombuffer(state["said"], dtype=np.float64).copy()


class _Series:
    """One signal's past: its looks, and its days."""

    def __init__(self, signal: int, sample: NDArray[np.float32]) -> None:
        self.signal = signal
        known = sample[np.isfinite(sample)]
        middle = float(np.median(known)) if len(known) else 0.0
        self._latest = np.full(max(SMOOTHED), middle)
        self._means = np.full(len(HALF_LIVES), middle)
        looks = self._look(_filled(sample.astype(np.float64), middle))
        bins = (NumberBins(np.empty(0), np.empty(0), exact=False),) * LOOKS
        self._tails = Tails(looks, bins, keep_every=1, parts=PARTS, most=MOST_ROWS)
        self._latest[:] = looks[-1, 0]
        self._days = [DayEnvelope() for _ in SMOOTHED]
        self._shapes: Resonance | None = None  # only who asks for scores pays for it

    def scores(
        self, column: NDArray[np.float64], ts: NDArray[np.float64], reference: NDArray[Any]
    ) -> NDArray[np.float64]:
        """The score of each row; ``reference`` are the rows right before the first that are asked for."""
        if self._shapes is None:
            self._shapes = Resonance(_filled(reference.astype(np.float64), float(self._latest[-1])))
        values = _filled(column, float(self._latest[-1]))
        _, scores = self.judge(values, ts)
        return np.asarray(np.maximum(scores, OF_THE_SHAPE * self._shapes.scores(values)))

    def judge(
        self, column: NDArray[np.float64], ts: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of each row the sum of the surprises of its looks, and the score. What is no number is as before it."""
        values = _filled(column, float(self._latest[-1]))
        past = np.concatenate((self._latest, values))
        tails, scores, spread = np.zeros(len(values)), np.zeros(len(values)), np.ones(len(values))
        for part, surprise in self._tails.walk(self._look(values)):
            nats = np.maximum(surprise.max(axis=2) - np.log(2), 0.0)
            tails[part], scores[part] = nats.sum(axis=1), np.maximum(nats - USUAL, 0.0).sum(axis=1)
            spread[part] = self._tails.spread(0)
        for rows, days in zip(SMOOTHED, self._days, strict=True):
            # added up in this order, however many rows come at once
            mean = np.zeros(len(values))
            for i in range(rows):
                mean += past[len(self._latest) - i : len(past) - i] / rows
            scores += OF_THE_DAY * np.minimum(days.beyond(mean, ts) / (FAR * spread), 1.0)
        self._latest = past[-len(self._latest) :].copy()
        return tails, scores

    def _look(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The looks at ``values`` (n rows, LOOKS), with which the means go on."""
        from scipy.signal import lfilter  # takes a second to import: only who watches a series pays

        looks = [values, np.diff(values, prepend=self._latest[-1])]
        for i, half_life in enumerate(HALF_LIVES):
            kept, before = 0.5 ** (1 / half_life), self._means[i]
            means, _ = lfilter([1 - kept], [1.0, -kept], values, zi=[kept * before])
            looks.append(values - np.concatenate(([before], means[:-1])))
            self._means[i] = means[-1] if len(means) else before
        return np.stack(looks, axis=1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for msgpack."""
        return {
            "latest": self._latest.tobytes(),
            "means": self._means.tobytes(),
            "tails": self._tails.to_dict(),
            "days": [one.to_dict() for one in self._days],
            "shapes": None if self._shapes is None else self._shapes.to_dict(),
        }

    def restore(self, data: dict[str, Any]) -> None:
        """Go on from what ``to_dict`` gave."""
        self._latest = np.frombuffer(data["latest"], dtype=np.float64).copy()
        self._means = np.frombuffer(data["means"], dtype=np.float64).copy()
        self._tails.restore(data["tails"])
        for one, stored in zip(self._days, data["days"], strict=True):
            one.restore(stored)
        if data.get("shapes") is not None:  # older releases knew none
            self._shapes = Resonance(np.empty(0))
            self._shapes.restore(data["shapes"])


def _filled(column: NDArray[np.float64], before: float) -> NDArray[np.float64]:
    """The column with each value that is none as the one before it."""
    known = np.isfinite(column)
    at = np.maximum.accumulate(np.where(known, np.arange(1, len(column) + 1), 0))
    return np.clip(np.concatenate(([before], column))[at], -LARGEST_KEPT, LARGEST_KEPT)
