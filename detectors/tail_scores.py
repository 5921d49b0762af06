"""Tail scores: how strange a row is, by how far out in the tails of the latest rows its values lie.

Li, Zhao, Hu, Botta, Ionescu and Chen (2022), "ECOD: unsupervised outlier detection using empirical cumulative
distribution functions": the logarithms of the tail probabilities of all features, added up. Here they are of the latest
10,000 rows in constant memory, and go on beyond what was ever seen (see ``tails.py``).
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.base import StateMismatch, Verdict
from detectors.columns import Columns
from detectors.reference import Reference
from detectors.score_alarm import ScoreAlarm
from detectors.summary import Summary
from detectors.tails import Tails, as_remembered

FEWEST_ROWS: Final = 100
"""With fewer rows in the reference's sample every row scores 0, and nothing is raised."""


class TailScores:
    """Scores rows of features, and raises ANOMALY where strange ones become more frequent (see ``score_alarm.py``).

    What it takes for usual follows the stream, slowly: after a change that lasts, rows are strange for some thousands.
    It sees what lies in the tail of some feature, and no combination of values that are each quite usual.
    """

    name: str = "tail_scores"

    def __init__(self, reference: Reference, events_per_false_alarm: float, min_effect: float = 0.1) -> None:
        self.reference = reference
        sample = reference.sample
        self._tails: Tails | None = None
        if len(sample) < FEWEST_ROWS:
            return
        self._tails = Tails(sample, reference.bins)
        learned, held_out = sample[::2], sample[1::2]
        usual = _strangeness(Tails(learned, reference.bins).surprise(as_remembered(held_out)))
        self._alarm = ScoreAlarm(self.name, usual, events_per_false_alarm, min_effect)

    def update(self, summary: Summary, columns: Columns) -> list[Verdict]:
        """Score the rows, and say in which windows strange ones became more frequent, or normal again."""
        return self._alarm.update(summary, columns, self.scores(columns)) if self._tails is not None else []

    def scores(self, columns: Columns) -> NDArray[np.float64]:
        """How strange each row is beside those before it, which is remembered: n numbers from 0, higher is stranger."""
        scores = np.zeros(len(columns))
        if self._tails is not None:
            for part, surprise in self._tails.walk(self.reference.points(columns)):
                scores[part] = _strangeness(surprise)
        return scores

    def state(self) -> dict[str, Any]:
        """Everything needed to go on later."""
        if self._tails is None:
            return {"name": self.name, "tails": None}
        return {"name": self.name, "tails": self._tails.to_dict(), "alarm": self._alarm.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``. Raises StateMismatch where it belongs to another reference."""
        if state.get("name") != self.name or (state["tails"] is None) != (self._tails is None):
            raise StateMismatch("the state of tail scores with another reference")
        if self._tails is not None:
            self._alarm.restore(state["alarm"])
            self._tails.restore(state["tails"])


def _strangeness(surprise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of rows by their surprise (rows, signals, 2), in nats a signal: the mean of two sums over the signals.

    One takes each signal in the direction in which it lies, the other all of them in the same one: what is a little
    high in every signal is stranger than what is high in some and low in others.
    """
    nearer = np.maximum(surprise.max(axis=2) - np.log(2), 0.0).sum(axis=1)
    same = surprise.sum(axis=1).max(axis=1)
    return np.asarray((nearer + same) / (2 * surprise.shape[1]))
