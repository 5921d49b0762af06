"""river's drift detectors, each value by itself: on the error, and on numeric features where asked for.

They have no guaranteed rate of false alarms (bench/quality.py measures it) and are offered because people know them.
What they fire on is raised only when the change is large enough, like everything else. Their parameters are river's
defaults unless others are given; values other than a wrong or right prediction are scaled to the reference's mean and
standard deviation, which is what those defaults are made for.

ADWIN: Bifet and Gavalda 2007. Page-Hinkley: Page 1954, Mouss et al. 2004. DDM: Gama et al. 2004. HDDM_W: Frias-Blanco
et al. 2015. KSWIN: Raab, Heusinger and Schleif 2020.
"""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.base import Kind, StateMismatch, Verdict
from detectors.bins import FIRST_BIN, NumberBins, as_numbers
from detectors.columns import Columns
from detectors.judge import Judge
from detectors.open_alarms import OpenAlarms
from detectors.reference import Reference
from detectors.river_state import freeze, thaw
from detectors.summary import Summary

STATE_VERSION: Final = 1
WARM_UP_ROWS: Final = 2_000
FARTHEST: Final = 50.0
"""Scaled values are cut off here, because some of these detectors never forget a sum."""
SUPPORT: Final = 6.0
"""The least log likelihood, against the reference, of a change that is raised: river's detectors compare the rows with
each other, and fire on the way back as well."""


class RiverDrift:
    """One of river's drift detectors on each numeric signal of a stream that can be raised.

    ``make`` gives a new one; it is warmed up with values drawn from the reference, so that it knows what was normal.
    ``flags_only`` leaves out what is not 0 or 1. ``events_per_false_alarm`` bounds only how soon something is called
    over (see ``open_alarms.py``).
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Any],
        reference: Reference,
        *,
        events_per_false_alarm: float,
        min_effect: float,
        min_loss: float,
        warm_up_rows: int = WARM_UP_ROWS,
        flags_only: bool = False,
    ) -> None:
        self.name = name
        self.reference = reference
        self._make = make
        self._judge = Judge(reference, name, min_effect, min_loss)
        self._open = OpenAlarms(self._judge, events_per_false_alarm)
        self._scales: dict[int, tuple[float, float]] = {}
        self._detectors: dict[int, Any] = {}
        for m, monitor in enumerate(self._judge.bets.monitors):
            bins = reference.bins[monitor.s]
            watched = reference.signals[monitor.s] == "error" or reference.signals[monitor.s].startswith("feature:")
            if watched and monitor.kind is not Kind.QUALITY and isinstance(bins, NumberBins):
                counts = reference.counts[monitor.s, FIRST_BIN : bins.width]
                if flags_only and not _flags(bins):
                    continue
                self._scales[m] = _scale(bins, counts)
                self._detectors[m] = make()
                for value in self._scaled(m, _draw(bins, counts)[-warm_up_rows:]):
                    self._detectors[m].update(value)

    def update(self, summary: Summary, columns: Columns) -> list[Verdict]:
        """Give every value to its detector; say at the end of a window what fired in it, and what is over."""
        fired: dict[int, list[int]] = {}
        ends = np.cumsum(summary.sizes)
        for m in self._detectors:
            for i in self._fire(m, columns):
                fired.setdefault(int(np.searchsorted(ends, i, side="right")), []).append(m)
        before = self._judge.history.rows
        verdicts: list[Verdict] = []
        done = 0
        while done < len(summary):
            over = self._open.evidence(summary, done)
            stop = done + self._open.first_stop(over, before + ends[done:])
            w = min([len(summary) - 1, stop, *(w for w in fired if w >= done)])
            self._judge.history.extend(summary, done, w + 1)
            row, ts = int(summary.last_rows[w]), float(summary.last_ts[w])
            verdicts += [verdict for _, verdict in self._open.close(over[w - done], row, ts) if verdict is not None]
            for m in dict.fromkeys(fired.get(w, ())):
                verdicts += self._consider(m, row, ts)
            done = w + 1
        return verdicts

    def _fire(self, m: int, columns: Columns) -> list[int]:
        """Positions of the values at which the detector of monitor m fires."""
        column = columns.values.get(self.reference.signals[self._judge.bets.monitors[m].s])
        if column is None:
            return []
        numbers = as_numbers(column)
        present = np.flatnonzero(np.isfinite(numbers))
        detector = self._detectors[m]
        hits = []
        for i, value in zip(present.tolist(), self._scaled(m, numbers[present]), strict=True):
            detector.update(value)
            if detector.drift_detected:
                hits.append(i)
        return hits

    def _scaled(self, m: int, numbers: NDArray[np.float64]) -> list[float]:
        mean, deviation = self._scales[m]
        low, high = (-FARTHEST, FARTHEST) if (mean, deviation) != (0.0, 1.0) else (0.0, 1.0)
        scaled: list[float] = np.clip((numbers - mean) / deviation, low, high).tolist()
        return scaled

    def _consider(self, m: int, row: int, ts: float) -> list[Verdict]:
        if m in self._open:
            return []
        change, effect = self._judge.change(m, not_before=self._open.over_since(m))
        if effect.value < self._judge.least(m) or change.gain < SUPPORT:
            return []
        self._open.add(m, row, change)
        return [self._judge.verdict(m, change, effect, row=row, ts=ts, evidence={})]

    def state(self) -> dict[str, Any]:
        """Everything needed to go on later."""
        return {
            "fingerprint": self._fingerprint(),
            "detectors": [[m, freeze(detector)] for m, detector in self._detectors.items()],
            "open": self._open.to_dict(),
            "judge": self._judge.to_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``. Raises StateMismatch where reference, parameters or river's version are others."""
        if state.get("fingerprint") != self._fingerprint():
            raise StateMismatch(f"the state of another detector than this {self.name}, or of another version of river")
        detectors = {}
        for m, frozen in state["detectors"]:
            detectors[m] = self._make()
            thaw(detectors[m], frozen)
        self._detectors = detectors
        self._open.restore(state["open"])
        self._judge.restore(state["judge"])

    def _fingerprint(self) -> list[Any]:
        detector = self._make()
        parameters = repr((type(detector).__name__, detector._get_params()))  # noqa: SLF001 (there is no other way)
        return [self.name, STATE_VERSION, version("river"), parameters, self._judge.fingerprint]


def _flags(bins: NumberBins) -> bool:
    return bool(bins.values.tolist() == [0.0, 1.0])


def _scale(bins: NumberBins, counts: NDArray[np.int64]) -> tuple[float, float]:
    """Mean and standard deviation of the reference; (0, 1) for flags, which river's defaults are made for as is."""
    if _flags(bins):
        return 0.0, 1.0
    mean = float(counts @ bins.values / counts.sum())
    return mean, float(np.sqrt(counts @ (bins.values - mean) ** 2 / counts.sum())) or 1.0


def _draw(bins: NumberBins, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The reference's values, as far as their bins tell, in an order that depends on nothing but their number."""
    drawn = np.repeat(bins.values, counts)
    return np.random.default_rng(len(drawn)).permutation(drawn)
