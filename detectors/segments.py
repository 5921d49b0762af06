"""Counts of a stream by segment: what share of the rows each has, and what became of its signals."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.columns import Stream
from detectors.effect import Effects
from detectors.reference import Reference
from detectors.summary import Summary

MOST_FIELDS: Final = 5
MOST_VALUES: Final = 20
"""Of a field; what is beyond them is one segment, ``other``."""
SLOTS: Final = MOST_VALUES + 2
"""Places of a field's values: those by name, then ``OTHER``, then ``ABSENT``."""
OTHER: Final = MOST_VALUES
ABSENT: Final = MOST_VALUES + 1
WINDOW_ROWS: Final = 500
"""Rows of the stream that are counted together before segments are judged: a few dozen of each segment of twenty."""
LEAST_ROWS: Final = 100
"""A segment of fewer rows in the reference is not watched: there is not enough data."""
ENOUGH_ROWS: Final = 300
"""The reference of segments goes on until each that has ``COMMON`` of the rows has so many: the stability index of a
sample of fewer rows may be .1 by chance, once in the thousand pairs of fifty signals and twenty segments."""
COMMON: Final = 0.02
LONGEST: Final = 5
"""And no longer than so many times the rows that were asked for."""
MOST_CELLS: Final = 400_000
"""Counts that are kept of a stream; signals beyond that are not counted by segment."""
DOUBT: Final = 3.5
"""An effect within a segment has to be so many times what chance makes it: of many pairs, some look changed."""


def count(
    codes: NDArray[np.int16],
    slots: NDArray[np.int64],
    windows_of: NDArray[np.int64],
    *,
    windows: int,
    width: int,
) -> NDArray[np.int32]:
    """How many rows of each window were in each slot of a field and in each bin of a signal.

    ``codes`` holds the bin of each of n rows and S signals, ``slots`` (n, F) the slot of each field, ``windows_of`` (n)
    the window. Answers (windows, F * SLOTS, S, width).
    """
    signals = codes.shape[1]
    fields = slots.shape[1]
    counts = np.empty((windows, fields * SLOTS, signals, width), dtype=np.int32)
    cells = codes + np.arange(signals, dtype=np.int64) * width
    for field in range(fields):
        place = (windows_of * SLOTS + slots[:, field]) * (signals * width)
        found = np.bincount((cells + place[:, None]).ravel(), minlength=windows * SLOTS * signals * width)
        counts[:, field * SLOTS : (field + 1) * SLOTS] = found.reshape(windows, SLOTS, signals, width)
    return counts


def is_learned(counts: NDArray[np.int64], rows: int, wanted: int) -> bool:
    """Whether the counts (F * SLOTS, S, B) of ``rows`` rows are reference enough, where ``wanted`` rows were asked for.

    A field whose values most of the rows so far lack is given time: a number's groups are known only after some rows.
    """
    if rows < wanted:
        return False
    if rows >= LONGEST * wanted:
        return True
    sizes = counts[:, 0].sum(axis=1).reshape(-1, SLOTS)
    known = sizes[:, :ABSENT]
    common = (known >= COMMON * rows) & (known < ENOUGH_ROWS)
    return not common.any() and bool((2 * known.sum(axis=1) >= min(2 * wanted, rows)).all())


def name_of(signal: str, segment: str) -> str:
    """A signal within a segment: ``error`` and ``channel=web`` is ``error[channel=web]``."""
    return f"{signal}[{segment}]"


@dataclass(frozen=True, slots=True)
class Within:
    """The reference of a stream within its segments: a signal of ``reference`` for each segment and signal.

    ``places`` are the watched slots, ``segments`` their names.
    """

    reference: Reference
    places: NDArray[np.int64]
    segments: tuple[str, ...]
    signals: tuple[str, ...]

    @classmethod
    def of(
        cls, whole: Reference, chosen: NDArray[np.int64], counts: NDArray[np.int64], names: dict[int, str]
    ) -> "Within | None":
        """From the counts (slots, S, B) of the ``chosen`` signals of ``whole``; None where no slot has enough rows.

        ``names`` holds the slots that are segments.
        """
        sizes = counts[:, 0].sum(axis=1) if counts.shape[1] else np.zeros(len(counts))
        places = [place for place in sorted(names) if sizes[place] >= LEAST_ROWS]
        if not places:
            return None
        signals = tuple(whole.signals[s] for s in chosen)
        segments = tuple(names[place] for place in places)
        bins = tuple(whole.bins[s] for s in chosen) * len(places)
        tempers = np.tile(whole.temper[chosen], len(places))
        reference = Reference(
            whole.stream,
            tuple(name_of(signal, segment) for segment in segments for signal in signals),
            bins,
            counts[places].reshape(len(bins), whole.width),
            int(sizes[places].max()),
            tempers,
            np.tile(whole.bin_temper[chosen], (len(places), 1)),
            np.zeros((0, len(bins)), dtype=np.float32),
            np.empty(0, dtype=np.int64),
        )
        return cls(reference, np.array(places, dtype=np.int64), segments, signals)

    def pair(self, s: int) -> tuple[str, str]:
        """Segment and signal of signal s of the reference."""
        segment, signal = divmod(s, len(self.signals))
        return self.segments[segment], self.signals[signal]

    def summary(self, counts: NDArray[np.int32], first_rows: Any, last_rows: Any, last_ts: Any) -> Summary:
        """The counts (W, slots, S, B) of whole windows, for a detector on ``reference``."""
        windows = len(counts)
        return Summary(
            Stream(self.reference.stream),
            self.reference.signals,
            counts[:, self.places].reshape(windows, len(self.reference.signals), self.reference.width),
            np.full(windows, WINDOW_ROWS, dtype=np.int64),
            np.array(first_rows, dtype=np.int64),
            np.array(last_rows, dtype=np.int64),
            np.array(last_ts, dtype=np.float64),
        )


class Ranking:
    """Pairs of segment and signal by how much they moved for certain."""

    def __init__(self, within: Within) -> None:
        self._within = within
        self._effects = Effects(within.reference)

    def of(self, counts: NDArray[np.int64], most: int) -> list[tuple[str, str, float]]:
        """The first ``most`` pairs with their effects, by the least that is certain of each effect.

        ``counts`` (S, B) are those of the reference's signals. What may be chance is left out.
        """
        return [(*self._within.pair(s), effect) for s, effect in self._effects.certain(counts, DOUBT, most)]
