"""What has been raised and is not over."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.base import Verdict
from detectors.change_point import ChangePoint
from detectors.judge import Judge
from detectors.shiryaev_roberts import advance, factors
from detectors.summary import Summary

SETTLED_ROWS: Final = 500
"""Independent rows that have to follow a change before their law is known."""
REVIEWED: Final = 8
"""Between two looks at an alarm's bet lies at least one part in so many of the rows since its change: where the rows
fit no bet, each of them would seem to be the first after the change."""
STANDARD_ERRORS: Final = 2.0
"""By so many the effect that is left may be above what is worth raising: the reference's own figure is no better."""


@dataclass(slots=True)
class _Open:
    """An alarm raised at row number ``row`` on a change ``since`` rows into the stream, explained by ``bet``.

    ``evidence`` says how sure it is that it was over some time after ``at`` rows; at ``review`` rows the bet is chosen
    again.
    """

    row: int
    since: int
    at: int
    bet: int
    evidence: float
    review: int


class OpenAlarms:
    """The monitors that have raised something, until the rows are back to the reference.

    That is a change like any other, from the law that was raised to the reference's, and it is found in the same way: a
    Shiryaev-Roberts statistic has to reach ``threshold``, and the effect since then must not be too large for certain.
    What is raised early looks larger than it is, so that the law it is held against is chosen again whenever the rows
    since the change have doubled. Once there are enough of them, their law is settled: what comes on top of it is news.
    """

    def __init__(self, judge: Judge, threshold: float) -> None:
        self.threshold = threshold
        self._judge = judge
        self._open: dict[int, _Open] = {}
        self._over: dict[int, int] = {}

    def __contains__(self, m: int) -> bool:
        return m in self._open

    def __iter__(self) -> Iterator[int]:
        return iter(self._open)

    def add(self, m: int, row: int, change: ChangePoint) -> None:
        """Monitor m has raised ``change`` at ``row``."""
        now = self._judge.history.rows
        self._open[m] = _Open(row, change.start, now, change.bet, 0.0, 2 * now - change.start)

    def over_since(self, m: int) -> int:
        """Rows into the stream at which monitor m was last found back at the reference; 0 if it has never left it."""
        return self._over.get(m, 0)

    def evidence(self, summary: Summary) -> NDArray[np.float64]:
        """Evidence after each window that each open alarm is over: W windows, one column each."""
        counts = summary.counts
        if not self._open:
            return np.zeros((len(counts), 0))
        monitors = self._judge.bets.monitors
        logs = [counts[:, monitors[m].s] @ self._judge.tilt_back(m, one.bet) for m, one in self._open.items()]
        before = np.array([one.evidence for one in self._open.values()])
        return advance(factors(np.stack(logs, axis=1)), summary.sizes, np.ones(len(before)), before)

    def first_stop(self, evidence: NDArray[np.float64], ends: NDArray[np.int64]) -> int:
        """First window, of those that end ``ends`` rows into the stream, after which ``close`` has something to do.

        ``evidence`` is what ``evidence()`` gave for them; their number where there is nothing to do.
        """
        due = np.any(evidence >= self.threshold, axis=1)
        if self._open:
            due |= ends >= min(one.review for one in self._open.values())
        found = np.flatnonzero(due)
        return int(found[0]) if len(found) else len(ends)

    def raised_row(self, m: int) -> int:
        """The row at which monitor m was raised."""
        return self._open[m].row

    def close(self, evidence: NDArray[np.float64], row: int, ts: float) -> list[tuple[int, Verdict | None]]:
        """Go on with ``evidence``, a row of what ``evidence()`` gave.

        Answers the monitors that are over and what to say, and with None those whose law was settled.
        """
        over: list[tuple[int, Verdict | None]] = []
        for (m, one), value in zip(list(self._open.items()), evidence.tolist(), strict=True):
            one.evidence = value
            if value < self.threshold:
                if self._review(m, one):
                    over.append((m, None))
                continue
            change, effect = self._judge.change_back(m, one.bet, one.at)
            if effect.value - STANDARD_ERRORS * effect.error >= self._judge.least(m):
                # nearer to the reference than to what was raised, and still too far from it: look again from here
                one.evidence = 0.0
                one.at = self._judge.history.rows
                continue
            del self._open[m]
            self._judge.unsettle(m)
            self._over[m] = change.start
            found = {"threshold": self.threshold, "raised_row": one.row}
            over.append((m, self._judge.verdict(m, change, effect, row=row, ts=ts, evidence=found, recovered=True)))
        return over

    def _review(self, m: int, one: _Open) -> bool:
        """Choose the bet again if it is time to; whether the law has been settled."""
        now = self._judge.history.rows
        if now < one.review:
            return False
        change = self._judge.change_from_reference(m, not_before=one.since)
        if change.bet != one.bet:
            one.bet, one.evidence = change.bet, 0.0
        one.review = now + max(now - change.start, (now - one.since) // REVIEWED, 1)
        s = self._judge.bets.monitors[m].s
        settled = (now - change.start) * float(self._judge.reference.temper[s]) >= SETTLED_ROWS
        if settled:
            self._judge.settle(m, change.counts[s])
        return settled

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for msgpack."""
        return {
            "open": [
                [m, one.row, one.since, one.at, one.bet, one.evidence, one.review] for m, one in self._open.items()
            ],
            "over": [[m, row] for m, row in self._over.items()],
        }

    def restore(self, data: dict[str, Any]) -> None:
        """Go on from what ``to_dict`` gave."""
        self._open = {m: _Open(*one) for m, *one in data["open"]}
        self._over = dict(data["over"])
