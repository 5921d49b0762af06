"""What the detectors of alibi-detect, which run elsewhere, are asked, and what is kept of it here.

alibi-detect and what this project needs cannot be in one environment, and here nothing is read or written: whoever
makes these detectors hands in an ``Alibi``, the way to where they run (in the daemon, ``daemon/alibi/``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from detectors.bins import NumberBins
from detectors.columns import Columns
from detectors.parameters import Value
from detectors.reference import Reference

VERSION: Final = "0.11.4"
"""The release of alibi-detect whose answers these are: the last one under the Apache licence."""
STATE_VERSION: Final = 1
FEWEST_ROWS: Final = 100
"""With fewer rows in the reference's sample nothing is watched."""
FARTHEST: Final = 50.0
"""Values are cut off so many standard deviations from the reference's mean."""

Calibration = dict[str, Any]
"""What was found out once, from the reference: values that msgpack can hold."""


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A detector of alibi-detect by its ``kind``, and the rows it learns from: n rows, F numbers.

    ``ert`` is the expected run time to calibrate to, in rows; ``held_out`` are rows to score for that.
    """

    kind: str
    parameters: Mapping[str, Value]
    reference: NDArray[np.float64]
    held_out: NDArray[np.float64]
    ert: float


class Session(Protocol):
    """One detector where it runs."""

    def calibrate(self) -> Calibration | None:
        """Return what was found; None while that is under way, or cannot be done."""
        ...

    def answer(
        self, calibration: Calibration, before: NDArray[np.float64], rows: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        """Return its numbers for each of ``rows``, n of them; None where there is no answer.

        ``before`` are the rows that came before: what a detector that has to be made anew goes on from.
        """
        ...


class Alibi(Protocol):
    """The way to where alibi-detect runs."""

    def open(self, task: Task) -> Session:
        """Return a session for ``task``. Never waits; it ends when nobody holds it any more."""
        ...


class Asked:
    """The numbers of a stream as rows for alibi-detect, and its answers.

    While it is being calibrated, or is not there, there are none. The state is the calibration, so that a restart takes
    no time, and the last ``keep`` rows: the windows of alibi-detect's detectors are within them, so that after these
    rows it is as if it had seen all.
    """

    def __init__(self, alibi: Alibi | None, task: Task | None, columns: "Numbers", keep: int) -> None:
        self.columns = columns
        self._alibi = alibi
        self._task = task
        self._keep = keep
        self._session = None if alibi is None or task is None else alibi.open(task)
        self.calibration: Calibration | None = None
        self._before = columns.nothing

    def answers(self, columns: Columns) -> NDArray[np.float64] | None:
        """Return what it says of each row, n of them; None where it says nothing."""
        if self._session is None or not len(columns):
            return None
        rows = self.columns.of(columns)
        if self.calibration is None:
            self.calibration = self._session.calibrate()
        found = None if self.calibration is None else self._session.answer(self.calibration, self._before, rows)
        if self._keep:
            self._before = np.concatenate((self._before, rows))[-self._keep :]
        return found

    def state(self) -> dict[str, Any]:
        """Everything needed to go on later."""
        return {"calibration": self.calibration, "before": self._before.tobytes()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``."""
        if self._alibi is not None and self._task is not None:
            self._session = self._alibi.open(self._task)
        self.calibration = state["calibration"]
        self._before = np.frombuffer(state["before"], dtype=np.float64).reshape(-1, len(self.columns)).copy()


class Numbers:
    """Some signals of a stream as rows of numbers in the reference's standard deviations from its mean.

    What is missing or invalid is as the reference's median: that it is more often so is for others to say. ``flags``
    are left as they are.
    """

    def __init__(self, reference: Reference, signals: Sequence[int], *, flags: bool = False) -> None:
        self._names = [reference.signals[s] for s in signals]
        sample = reference.sample[:, list(signals)].astype(np.float64)
        sample[~np.isfinite(sample)] = np.nan
        self._median = np.array([_or_zero(np.nanmedian, column) for column in sample.T])
        self._mean = np.array([0.0 if flags else _or_zero(np.nanmean, column) for column in sample.T])
        self._scale = np.array([1.0 if flags else _or_zero(np.nanstd, column) or 1.0 for column in sample.T])
        self.sample = self._scaled(sample)

    def __len__(self) -> int:
        return len(self._names)

    @property
    def nothing(self) -> NDArray[np.float64]:
        """No rows."""
        return np.zeros((0, len(self)))

    def of(self, columns: Columns) -> NDArray[np.float64]:
        """The rows of ``columns``: n rows, F numbers."""
        rows = np.full((len(columns), len(self)), np.nan)
        for place, name in enumerate(self._names):
            if name in columns.values:
                rows[:, place] = columns.values[name]
        return self._scaled(rows)

    def _scaled(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        filled = np.where(np.isfinite(rows), rows, self._median)
        scaled: NDArray[np.float64] = np.clip((filled - self._mean) / self._scale, -FARTHEST, FARTHEST)
        return scaled


def fingerprint(name: str, reference: Reference, parameters: Mapping[str, Value], *more: float) -> str:
    """What a stored state has to have been made with."""
    learned = crc32(reference.sample.tobytes(), crc32(repr(reference.signals).encode()))
    return repr([name, STATE_VERSION, VERSION, sorted(parameters.items()), learned, *more])


def numbers(reference: Reference) -> list[int]:
    """The signals that are numbers."""
    return [s for s, bins in enumerate(reference.bins) if isinstance(bins, NumberBins)]


def are_flags(reference: Reference, s: int) -> bool:
    """Whether a signal is 0 or 1."""
    bins = reference.bins[s]
    return isinstance(bins, NumberBins) and bins.values.tolist() == [0.0, 1.0]


def _or_zero(statistic: Any, column: NDArray[np.float64]) -> float:
    return float(statistic(column)) if np.isfinite(column).any() else 0.0
