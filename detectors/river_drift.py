"""river's drift detectors, each value by itself: on the error, and on numeric features where asked for.

They have no guaranteed rate of false alarms (bench/quality measures it) and are offered because people know them.
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

from detectors.base import StateMismatch, Verdict
from detectors.bins import FIRST_BIN, NumberBins, as_numbers
from detectors.columns import Columns
from detectors.fired import FiredAlarms
from detectors.reference import Reference
from detectors.river_state import freeze, thaw
from detectors.summary import Summary

STATE_VERSION: Final = 1
WARM_UP_ROWS: Final = 2_000
FARTHEST: Final = 50.0
"""Scaled values are cut off here, because some of these detectors never forget a sum."""


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
        self._alarms = FiredAlarms(
            reference, name, events_per_false_alarm=events_per_false_alarm, min_effect=min_effect, min_loss=min_loss
        )
        self._signals = self._alarms.numbers()
        self._scales: dict[int, tuple[float, float]] = {}
        self._detectors: dict[int, Any] = {}
        for m, signal in self._signals.items():
            bins = reference.bins[signal]
            counts = reference.counts[signal, FIRST_BIN : bins.width]
            if not isinstance(bins, NumberBins) or (flags_only and not _flags(bins)):
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
        return self._alarms.update(summary, fired)

    def _fire(self, m: int, columns: Columns) -> list[int]:
        """Positions of the values at which the detector of monitor m fires."""
        column = columns.values.get(self.reference.signals[self._signals[m]])
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

    def state(self) -> dict[str, Any]:
        """Everything needed to go on later."""
        return {
            "fingerprint": self._fingerprint(),
            "detectors": [[m, freeze(detector)] for m, detector in self._detectors.items()],
            **self._alarms.to_dict(),
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
        self._alarms.restore(state)

    def _fingerprint(self) -> list[Any]:
        detector = self._make()
        parameters = repr((type(detector).__name__, detector._get_params()))  # noqa: SLF001 (there is no other way)
        return [self.name, STATE_VERSION, version("river"), parameters, self._alarms.judge.fingerprint]


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
