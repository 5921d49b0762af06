"""A Shiryaev-Roberts mixture e-detector on the bin counts of all signals of one stream.

Shin, Ramdas and Rinaldo (2023), "E-detectors: a nonparametric framework for sequential change detection": a statistic
whose mean, while nothing has changed, grows by no more than 1 a row has an average run length of at least A rows when
it is stopped at A, whatever else is true of it. The sum over all start rows of a bet that began there is one, and so is
any weighted mean of such sums. The laws bet on are in ``laws.py``; weights, and what is done about an estimated
reference and about correlated rows, in ``alternatives.py``; the recursion in ``shiryaev_roberts.py``.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.base import StateMismatch, Verdict
from detectors.columns import Columns
from detectors.judge import Judge
from detectors.open_alarms import OpenAlarms
from detectors.reference import Reference
from detectors.shiryaev_roberts import advance, factors
from detectors.summary import Summary

STATE_VERSION: Final = 1
SLAB: Final = 100_000
"""Windows are taken in so many at a time that windows times bets stay below this: what fits in a processor's cache."""
FEWEST_AHEAD: Final = 64
"""Windows that are worked out at one time at the least, however often there is something to decide."""
ONE_THREAD_BETS: Final = 4_096
RECHECK: Final = 8
CERTAIN: Final = 2.0
"""A change is too small for certain when it is so many standard errors below what is worth raising."""
PRIOR_ROWS: Final = 200
"""So many rows of the reference temper the law of a change that is too small: it was picked for being odd."""
MOST_RECHECK_ROWS: Final = 50
"""A change that is perhaps too small to raise is looked at again after one part in ``RECHECK`` of the rows since it
began, and after so many at most."""


class EDetector:
    """Watches all signals of one stream for any change of their laws.

    ``events_per_false_alarm`` is the least mean number of rows until something is raised though nothing changed;
    ``min_effect`` the stability index, and ``min_loss`` the rise of the error rate (or, for an error that is a number,
    of its mean relative to the reference's), below which a change is not raised. An error that falls is not raised.

    A change with evidence and without effect is settled: from then on the bets are against the law that it left.
    What was raised for a signal and kind is not raised again until the rows are back to the reference, or change once
    more (``again`` in the evidence is then the row of the alarm before). That they are back is answered as a verdict
    too, with ``recovered`` set (see ``open_alarms.py``).

    ``doubt``: an effect has to be so many times what chance makes it, too: for references of few rows, whose own errors
    look like changes. A verdict's ranking is then of those that moved so surely, with their effects.
    """

    def __init__(
        self,
        reference: Reference,
        events_per_false_alarm: float,
        min_effect: float = 0.1,
        min_loss: float = 0.01,
        name: str = "e_detector",
        doubt: float = 0.0,
    ) -> None:
        if events_per_false_alarm < 1:
            raise ValueError(f"events_per_false_alarm must be at least 1, not {events_per_false_alarm}")
        self.name = name
        self.reference = reference
        self.events_per_false_alarm = events_per_false_alarm
        self.min_effect = min_effect
        self.min_loss = min_loss
        self.doubt = doubt
        self._judge = Judge(reference, name, min_effect, min_loss, doubt)
        self._bets = self._judge.bets
        self._open = OpenAlarms(self._judge, events_per_false_alarm)
        self._starts = np.array([monitor.start for monitor in self._bets.monitors], dtype=np.int64)
        self._evidence = np.zeros(len(self._bets.weights))
        # rows into the stream before which a monitor is not looked at, and from which its evidence counts
        self._again = np.zeros(len(self._bets.monitors), dtype=np.int64)
        self._since = np.zeros(len(self._bets.monitors), dtype=np.int64)

    def update(self, summary: Summary, columns: Columns) -> list[Verdict]:  # noqa: ARG002 (counts are enough)
        """Take in the windows of ``summary``; say what has changed, and what is back to the reference."""
        most = max(1, SLAB // max(1, len(self._bets.weights)))
        verdicts: list[Verdict] = []
        start, ahead = 0, most
        while start < len(summary):
            taken, found = self._up_to_a_decision(summary.slice(start, start + ahead))
            start += taken
            # what was worked out beyond a decision is void: where they are frequent, not far ahead
            ahead = min(most, 2 * ahead if found is None else max(FEWEST_AHEAD, 4 * taken))
            verdicts += found or []
        return verdicts

    def signals_since(self, row: int) -> tuple[tuple[str, float], ...]:
        """Signals that moved by ``min_effect`` or more from ``row`` on, most moved first, as shares of 1."""
        return self._judge.ranking_since(row)

    def counts_since(self, row: int) -> NDArray[np.int64]:
        """Counts (S signals, B bins) of the windows that begin at ``row`` or later, as far as they are kept apart."""
        history = self._judge.history
        return history.since(history.start_of(row))

    def _up_to_a_decision(self, summary: Summary) -> tuple[int, list[Verdict] | None]:
        """Take in the windows up to the first after which there is something to decide, and decide it.

        Answers how many windows that were, and what was found; None where there was nothing to decide.
        """
        factor = factors(self._log_likelihoods(summary))
        for m in self._open:
            if not self._judge.is_settled(m):
                factor[:, self._judge.columns(m)] = 0.0  # nothing is bet where what was raised is not settled
        ends = self._judge.history.rows + np.cumsum(summary.sizes)
        after = advance(factor, summary.sizes, self._bets.weights, self._evidence)
        over = self._open.evidence(summary)
        hit = min(self._crossing(after, ends), self._open.first_stop(over, ends))
        w = min(hit, len(after) - 1)
        self._evidence = after[w].copy()
        self._judge.history.extend(summary, 0, w + 1)
        row, ts = int(summary.last_rows[w]), float(summary.last_ts[w])
        found = self._open.close(over[w], row, ts)
        for m, _ in found:
            self._restart(m)
        if hit > w:
            return w + 1, None
        return w + 1, [verdict for _, verdict in found + self._raise(row, ts) if verdict is not None]

    def _log_likelihoods(self, summary: Summary) -> NDArray[np.float64]:
        """What each window adds to the logarithm of each bet: W windows, A bets."""
        logs = np.empty((len(summary), len(self._bets.weights)))
        counts = summary.counts.astype(np.float64)
        for s in range(len(self.reference.signals)):
            bets = slice(self._bets.offsets[s], self._bets.offsets[s + 1])
            np.matmul(counts[:, s], self._judge.signal_tilts(s), out=logs[:, bets])
        return logs

    def _crossing(self, after: NDArray[np.float64], ends: NDArray[np.int64]) -> int:
        """First window after which the evidence of those who may be raised reaches the threshold."""
        if not len(self._starts) or float(_totals(after).max()) < self.events_per_false_alarm:
            return len(after)
        evidence = np.add.reduceat(after, self._starts, axis=1)
        evidence[ends[:, None] < self._again] = 0.0
        return _first(evidence.sum(axis=1) >= self.events_per_false_alarm)

    def _raise(self, row: int, ts: float) -> list[tuple[int, Verdict | None]]:
        """Raise what has reached the threshold and is large enough, strongest evidence first; None for what is not.

        Every alarm takes evidence of at least the threshold away, which bounds the number of false alarms and not only
        the time until the first: where no signal has that much by itself, all of them start again.
        """
        if not len(self._starts):
            return []
        evidence = np.add.reduceat(self._evidence, self._starts)
        evidence[self._judge.history.rows < self._again] = 0.0
        raised: list[tuple[int, Verdict | None]] = []
        while float(evidence.sum()) >= self.events_per_false_alarm:
            m = int(np.argmax(evidence))
            found = float(evidence[m])
            evidence[m] = 0.0
            verdict = self._consider(m, found, row, ts)
            raised.append((m, verdict))
            if verdict is None:
                continue
            self._evidence[self._judge.columns(m)] = 0.0
            if found < self.events_per_false_alarm:
                for other in np.flatnonzero(evidence):
                    self._evidence[self._judge.columns(int(other))] = 0.0
                break
        return raised

    def _consider(self, m: int, evidence: float, row: int, ts: float) -> Verdict | None:
        """Raise what monitor m has evidence for, unless the change is too small."""
        change, effect = self._judge.change(m, not_before=max(self._open.over_since(m), int(self._since[m])))
        least, now = self._judge.least(m), self._judge.history.rows
        figures = {"log10_evidence": round(float(np.log10(evidence)), 3), "threshold": self.events_per_false_alarm}
        sizes = [effect]
        if m in self._open:
            sizes.append(self._judge.news(m, change))
            figures["again"] = self._open.raised_row(m)
        # an alarm on top of one has to be beyond doubt
        doubt = len(sizes) - 1
        if effect.value < self.doubt * effect.chance or any(size.value - doubt * size.error < least for size in sizes):
            if any(size.value + CERTAIN * size.error < least for size in sizes):
                self._restart(m)
                if m not in self._open:
                    self._judge.settle(m, change.counts[self._bets.monitors[m].s], PRIOR_ROWS)
            else:
                wait = (now - change.start) // RECHECK
                # where doubt is great, more rows than a few are needed to end it
                self._again[m] = now + 1 + (wait if self.doubt else min(wait, MOST_RECHECK_ROWS))
            return None
        self._judge.unsettle(m)
        self._open.add(m, row, self._judge.change_from_reference(m, not_before=change.start))
        return self._judge.verdict(m, change, effect, row=row, ts=ts, evidence=figures)

    def _restart(self, m: int) -> None:
        """Monitor m's evidence begins here."""
        self._evidence[self._judge.columns(m)] = 0.0
        self._since[m] = self._judge.history.rows
        self._again[m] = 0

    def state(self) -> dict[str, Any]:
        """Everything needed to go on later."""
        return {
            "name": self.name,
            "version": STATE_VERSION,
            "fingerprint": self._judge.fingerprint,
            "evidence": self._evidence.tobytes(),
            "again": self._again.tobytes(),
            "since": self._since.tobytes(),
            "open": self._open.to_dict(),
            "judge": self._judge.to_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``. Raises StateMismatch where it belongs to another reference or other bets."""
        expected = {"name": self.name, "version": STATE_VERSION, "fingerprint": self._judge.fingerprint}
        if any(state.get(key) != value for key, value in expected.items()):
            raise StateMismatch("the state of an e-detector with another reference, other bets or of another version")
        self._evidence = np.frombuffer(state["evidence"], dtype=np.float64).copy()
        self._again = np.frombuffer(state["again"], dtype=np.int64).copy()
        self._since = np.frombuffer(state["since"], dtype=np.int64).copy()
        self._open.restore(state["open"])
        self._judge.restore(state["judge"])


def _totals(after: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of each row; a product with ones is faster, until it is spread over threads that wait for each other."""
    bets = after.shape[1]
    return np.asarray(after @ np.ones(bets) if bets < ONE_THREAD_BETS else after.sum(axis=1))


def _first(hits: NDArray[np.bool_]) -> int:
    """Index of the first hit, or the number of windows."""
    found = np.flatnonzero(hits)
    return int(found[0]) if len(found) else len(hits)
