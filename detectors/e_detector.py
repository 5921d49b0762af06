"""A Shiryaev-Roberts mixture e-detector on the bin counts of all signals of one stream.

Shin, Ramdas and Rinaldo (2023), "E-detectors: a nonparametric framework for sequential change detection": a statistic
whose mean, while nothing has changed, grows by no more than 1 a row has an average run length of at least A rows when
it is stopped at A, whatever else is true of it. The sum over all start rows of a bet that began there is one, and so is
any weighted mean of such sums. Alternatives, weights and what is done about an estimated reference and about correlated
rows are in ``alternatives.py``; the recursion is in ``shiryaev_roberts.py``.
"""

from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from detectors.alternatives import Monitor, build_alternatives
from detectors.base import Kind, Severity, StateMismatch, Verdict
from detectors.change_point import change_point
from detectors.columns import Columns
from detectors.effect import Effect, Effects
from detectors.history import History
from detectors.reference import Reference
from detectors.shiryaev_roberts import advance, factors
from detectors.summary import Summary

STATE_VERSION: Final = 1
SLAB: Final = 100_000
"""Windows are taken in so many at a time that windows times bets stay below this: what fits in a processor's cache."""
RECHECK: Final = 8
"""A change too small to raise is looked at again after one part in this many of the rows since it began."""
CRITICAL: Final = {Kind.DRIFT: 2.5, Kind.QUALITY: 10.0, Kind.CONCEPT: 5.0}
"""An effect of this many times what is worth raising is critical."""


@dataclass(slots=True)
class _Open:
    """A raised monitor: the row, the bet that explained it, and the evidence that the reference's law is back."""

    row: int
    bet: int
    evidence: float


class EDetector:
    """Watches all signals of one stream for any change of their laws.

    ``events_per_false_alarm`` is the least mean number of rows until something is raised though nothing changed;
    ``min_effect`` the stability index, and ``min_loss`` the rise of the error rate (or, for an error that is a number,
    of its mean relative to the reference's), below which a change is not raised. An error that falls is not raised.

    What was raised for a signal and kind is not raised again until the rows are back to the reference. That is answered
    as a verdict too, with ``recovered`` set: the evidence for the reference's law, against the law that was raised, has
    reached the same threshold, and the effect since then is below what is worth raising.
    """

    name: str = "e_detector"

    def __init__(
        self,
        reference: Reference,
        events_per_false_alarm: float,
        min_effect: float = 0.1,
        min_loss: float = 0.01,
    ) -> None:
        if events_per_false_alarm < 1:
            raise ValueError(f"events_per_false_alarm must be at least 1, not {events_per_false_alarm}")
        self.reference = reference
        self.events_per_false_alarm = events_per_false_alarm
        self.min_effect = min_effect
        self.min_loss = min_loss
        self._bets = build_alternatives(reference, min_effect=min_effect, min_loss=min_loss)
        self._starts = np.array([monitor.start for monitor in self._bets.monitors], dtype=np.int64)
        self._effects = Effects(reference)
        self._evidence = np.zeros(len(self._bets.weights))
        self._again = np.full(len(self._bets.monitors), -1, dtype=np.int64)
        self._open: dict[int, _Open] = {}
        self._history = History(len(reference.signals), reference.width)

    def update(self, summary: Summary, columns: Columns) -> list[Verdict]:  # noqa: ARG002 (counts are enough)
        """Take in the windows of ``summary``; say what has changed, and what is back to the reference."""
        step = max(1, SLAB // max(1, len(self._bets.weights)))
        parts = (summary.slice(start, start + step) for start in range(0, len(summary), step))
        return [verdict for part in parts for verdict in self._update(part)]

    def _update(self, summary: Summary) -> list[Verdict]:
        logs = self._log_likelihoods(summary)
        factor = factors(logs)
        for m in self._open:
            factor[:, self._columns(m)] = 0.0
        verdicts: list[Verdict] = []
        done = 0
        while done < len(summary):
            sizes = summary.sizes[done:]
            after = advance(factor[done:], sizes, self._bets.weights, self._evidence)
            back = self._back(summary, done)
            w = min(self._crossing(after, summary.last_rows[done:]), _first(back >= self.events_per_false_alarm))
            last = min(w, len(sizes) - 1)
            self._evidence = after[last].copy()
            for state, evidence in zip(self._open.values(), back[last] if self._open else (), strict=True):
                state.evidence = float(evidence)
            self._history.extend(summary, done, done + last + 1)
            done += last + 1
            if w > last:
                break
            row, ts = int(summary.last_rows[done - 1]), float(summary.last_ts[done - 1])
            for m in [m for m, state in self._open.items() if state.evidence >= self.events_per_false_alarm]:
                verdicts += self._recover(m, row, ts)
                if m not in self._open:
                    factor[done:, self._columns(m)] = factors(logs[done:, self._columns(m)])
            for verdict, m in self._raise(row, ts):
                verdicts.append(verdict)
                factor[done:, self._columns(m)] = 0.0
        return verdicts

    def signals_since(self, row: int) -> tuple[tuple[str, float], ...]:
        """Signals by how much they moved from ``row`` on, as shares of 1, most moved first."""
        return self._effects.ranking(self._history.since(row))

    def _log_likelihoods(self, summary: Summary) -> NDArray[np.float64]:
        logs = np.empty((len(summary), len(self._bets.weights)))
        counts = summary.counts.astype(np.float64)
        for s, tilt in enumerate(self._bets.tilts):
            np.matmul(counts[:, s], tilt, out=logs[:, self._bets.offsets[s] : self._bets.offsets[s + 1]])
        return logs

    def _columns(self, m: int) -> slice:
        monitor = self._bets.monitors[m]
        return slice(monitor.start, monitor.stop)

    def _tilts(self, monitor: Monitor) -> NDArray[np.float64]:
        offset = self._bets.offsets[monitor.s]
        return self._bets.tilts[monitor.s][:, monitor.start - offset : monitor.stop - offset]

    def _crossing(self, after: NDArray[np.float64], last_rows: NDArray[np.int64]) -> int:
        """First window after which the evidence of those who may be raised reaches the threshold."""
        if not len(self._starts) or float((after @ np.ones(after.shape[1])).max()) < self.events_per_false_alarm:
            return len(after)
        evidence = np.add.reduceat(after, self._starts, axis=1)
        evidence[last_rows[:, None] < self._again] = 0.0
        return _first(evidence.sum(axis=1) >= self.events_per_false_alarm)

    def _raise(self, row: int, ts: float) -> list[tuple[Verdict, int]]:
        """Raise what has reached the threshold and is large enough, strongest evidence first.

        Every alarm takes evidence of at least the threshold away, which bounds the number of false alarms and not only
        the time until the first: where no signal has that much by itself, all of them start again.
        """
        if not len(self._starts):
            return []
        evidence = np.add.reduceat(self._evidence, self._starts)
        evidence[row < self._again] = 0.0
        raised: list[tuple[Verdict, int]] = []
        while float(evidence.sum()) >= self.events_per_false_alarm:
            m = int(np.argmax(evidence))
            alone = evidence[m] >= self.events_per_false_alarm
            verdict = self._judge(m, float(evidence[m]), row, ts)
            evidence[m] = 0.0
            if verdict is None:
                continue
            raised.append((verdict, m))
            self._evidence[self._columns(m)] = 0.0
            if not alone:
                for other in np.flatnonzero(evidence):
                    self._evidence[self._columns(int(other))] = 0.0
                break
        return raised

    def _judge(self, m: int, evidence: float, row: int, ts: float) -> Verdict | None:
        monitor = self._bets.monitors[m]
        prior = np.log(self._bets.weights[self._columns(m)])
        change = change_point(self._history, monitor.s, self._tilts(monitor), prior)
        effect = self._effects.of(monitor.s, monitor.kind, change.counts[monitor.s])
        least = self._least(monitor.kind)
        rows = int(change.counts[monitor.s].sum())
        if effect.value < least:
            self._again[m] = row + 1 + rows // RECHECK
            if effect.value + 2 * effect.error < least:
                self._evidence[self._columns(m)] = 0.0
            return None
        self._open[m] = _Open(row, change.bet, 0.0)
        return Verdict(
            kind=monitor.kind,
            signal=self.reference.signals[monitor.s],
            detector=self.name,
            severity=Severity.CRITICAL if effect.value >= CRITICAL[monitor.kind] * least else Severity.WARNING,
            row=row,
            ts=ts,
            change_row=change.row,
            change_ts=change.ts,
            evidence={
                "log10_evidence": round(float(np.log10(evidence)), 3),
                "threshold": self.events_per_false_alarm,
                **self._figures(monitor, effect, change.counts[monitor.s]),
            },
            ranking=self._effects.ranking(change.counts),
        )

    def _recover(self, m: int, row: int, ts: float) -> list[Verdict]:
        monitor = self._bets.monitors[m]
        state = self._open[m]
        change = change_point(self._history, monitor.s, self._tilt_back(m)[:, None], np.zeros(1), not_before=state.row)
        counts = change.counts[monitor.s]
        effect = self._effects.of(monitor.s, monitor.kind, counts)
        if effect.value >= self._least(monitor.kind):
            state.evidence = 0.0
            return []
        del self._open[m]
        self._again[m] = -1
        figures = {"threshold": self.events_per_false_alarm, **self._figures(monitor, effect, counts)}
        return [
            Verdict(
                kind=monitor.kind,
                signal=self.reference.signals[monitor.s],
                detector=self.name,
                severity=Severity.WARNING,
                row=row,
                ts=ts,
                change_row=change.row,
                change_ts=change.ts,
                evidence=figures,
                recovered=True,
            )
        ]

    def _back(self, summary: Summary, start: int) -> NDArray[np.float64]:
        """Evidence, after each window, that the law of each open monitor is the reference's again."""
        counts = summary.counts[start:]
        if not self._open:
            return np.zeros((len(counts), 0))
        signals = [self._bets.monitors[m].s for m in self._open]
        logs = np.stack([counts[:, s] @ self._tilt_back(m) for s, m in zip(signals, self._open, strict=True)], axis=1)
        before = np.array([state.evidence for state in self._open.values()])
        return advance(factors(logs), summary.sizes[start:], np.ones(len(before)), before)

    def _tilt_back(self, m: int) -> NDArray[np.float64]:
        """What a row in each bin adds to the logarithm of the bet on the reference against the raised law."""
        monitor = self._bets.monitors[m]
        bet = self._open[m].bet
        # the margin was taken off the bet on the change, and is to be taken off the bet on its end as well
        return np.asarray(-self._tilts(monitor)[:, bet] - 2 * self._bets.margins[monitor.start + bet])

    def _least(self, kind: Kind) -> float:
        return self.min_loss if kind is Kind.CONCEPT else self.min_effect

    def _figures(self, monitor: Monitor, effect: Effect, counts: NDArray[np.int64]) -> dict[str, Any]:
        figures: dict[str, Any] = {
            "effect": round(effect.value, 4),
            "effect_name": effect.name,
            "bin": effect.what,
            "reference": round(effect.reference, 6),
            "current": round(effect.current, 6),
            "rows_since_change": int(counts.sum()),
        }
        means = self._effects.means(monitor.s, counts)
        if means is not None and monitor.kind is Kind.DRIFT:
            figures["reference_mean"], figures["current_mean"] = (float(f"{mean:.6g}") for mean in means)
        return figures

    def state(self) -> dict[str, Any]:
        """Everything needed to go on later."""
        return {
            "name": self.name,
            "version": STATE_VERSION,
            "fingerprint": self._fingerprint(),
            "evidence": self._evidence.tobytes(),
            "again": self._again.tobytes(),
            "open": [[m, state.row, state.bet, state.evidence] for m, state in self._open.items()],
            "history": self._history.to_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``. Raises StateMismatch where it belongs to another reference or other bets."""
        if (state.get("name"), state.get("version"), state.get("fingerprint")) != (
            self.name,
            STATE_VERSION,
            self._fingerprint(),
        ):
            raise StateMismatch("the state of an e-detector with another reference, other bets or of another version")
        self._evidence = np.frombuffer(state["evidence"], dtype=np.float64).copy()
        self._again = np.frombuffer(state["again"], dtype=np.int64).copy()
        self._open = {int(m): _Open(row, bet, evidence) for m, row, bet, evidence in state["open"]}
        self._history.restore(state["history"])

    def _fingerprint(self) -> int:
        """Of what the evidence rests on. The threshold is left out: it may change, the evidence stays what it is."""
        text = repr((self.reference.signals, self.min_effect, self.min_loss, len(self._bets.weights)))
        return crc32(self.reference.counts.tobytes(), crc32(text.encode()))


def _first(hits: NDArray[np.bool_]) -> int:
    """Index of the first window with a hit, or the number of windows."""
    found = np.flatnonzero(hits if hits.ndim == 1 else hits.any(axis=1))
    return int(found[0]) if len(found) else len(hits)
