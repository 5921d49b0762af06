"""Alarms of detectors that say no more than that they fire, signal by signal."""

from typing import Any, Final

import numpy as np

from detectors.base import Kind, Verdict
from detectors.bins import NumberBins
from detectors.judge import Judge
from detectors.open_alarms import OpenAlarms
from detectors.reference import Reference
from detectors.summary import Summary

SUPPORT: Final = 6.0
"""The least log likelihood, against the reference, of a change that is raised: river's detectors compare rows with each
other, and may fire on the way back as well."""


class FiredAlarms:
    """Raises what such a detector fires on when the change is large enough, and says when it is over.

    ``support`` is the least log likelihood, against the reference, of what is raised. ``events_per_false_alarm`` bounds
    only how soon something is called over (see ``open_alarms.py``).
    """

    def __init__(
        self,
        reference: Reference,
        name: str,
        *,
        events_per_false_alarm: float,
        min_effect: float,
        min_loss: float,
        support: float = SUPPORT,
    ) -> None:
        self._support = support
        self.judge = Judge(reference, name, min_effect, min_loss)
        self._open = OpenAlarms(self.judge, events_per_false_alarm)

    def numbers(self) -> dict[int, int]:
        """The monitors of the numbers whose law is watched, the error or features, each with its signal."""
        reference = self.judge.reference
        return {
            m: monitor.s
            for m, monitor in enumerate(self.judge.bets.monitors)
            if (reference.signals[monitor.s] == "error" or reference.signals[monitor.s].startswith("feature:"))
            and monitor.kind is not Kind.QUALITY
            and isinstance(reference.bins[monitor.s], NumberBins)
        }

    def update(self, summary: Summary, fired: dict[int, list[int]]) -> list[Verdict]:
        """Say at the end of each window what ``fired`` in it, monitors by window, and what is over."""
        ends = np.cumsum(summary.sizes)
        before = self.judge.history.rows
        verdicts: list[Verdict] = []
        done = 0
        while done < len(summary):
            over = self._open.evidence(summary.slice(done, len(summary)))
            stop = done + self._open.first_stop(over, before + ends[done:])
            w = min([len(summary) - 1, stop, *(w for w in fired if w >= done)])
            self.judge.history.extend(summary, done, w + 1)
            row, ts = int(summary.last_rows[w]), float(summary.last_ts[w])
            verdicts += [verdict for _, verdict in self._open.close(over[w - done], row, ts) if verdict is not None]
            for m in dict.fromkeys(fired.get(w, ())):
                verdicts += self._consider(m, row, ts)
            done = w + 1
        return verdicts

    def _consider(self, m: int, row: int, ts: float) -> list[Verdict]:
        if m in self._open:
            return []
        change, effect = self.judge.change(m, not_before=self._open.over_since(m))
        if effect.value < self.judge.least(m) or change.gain < self._support:
            return []
        self._open.add(m, row, change)
        return [self.judge.verdict(m, change, effect, row=row, ts=ts, evidence={})]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for msgpack."""
        return {"open": self._open.to_dict(), "judge": self.judge.to_dict()}

    def restore(self, data: dict[str, Any]) -> None:
        """Go on from what ``to_dict`` gave."""
        self._open.restore(data["open"])
        self.judge.restore(data["judge"])
