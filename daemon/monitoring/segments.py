"""One stream of a model by segment: counted, watched, and asked which segments moved."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.monitoring.gaps import Gap, GapWatch
from daemon.monitoring.segment_fields import SegmentFields
from detectors.base import StateMismatch, Verdict
from detectors.columns import Columns, Stream
from detectors.e_detector import EDetector
from detectors.reference import Reference
from detectors.segments import MOST_CELLS, MOST_FIELDS, SLOTS, WINDOW_ROWS, Ranking, Within, count, is_learned

DETECTOR: Final = "segments"
EVIDENCE: Final = "segments"
"""Of an alarm's evidence: pairs of segment and signal with their effect, most moved first."""
MOST_RANKED: Final = 5
PERIOD_ROWS: Final = 5_000
"""The current period is the rows of this one and the one before."""


@dataclass(frozen=True, slots=True)
class SegmentWatch:
    """Makes what watches the segments of a stream: a detector for their reference, and what watches gaps, if any."""

    detector: Callable[[Reference], EDetector]
    gap: Callable[[Stream], GapWatch | None]


@dataclass(slots=True)
class StreamSegments:
    """The segments of one stream.

    ``begin`` is told the stream's reference, with the rows it was learned from where there were any; those, and as many
    as it takes after them, are the segments' own reference. ``take`` is given all that is judged from then on. Rows are
    judged ``WINDOW_ROWS`` at a time, wherever the log was cut.
    """

    stream: Stream
    fields: SegmentFields
    rows_wanted: int
    build: Callable[[Reference], EDetector]
    gap: GapWatch | None = None
    whole: Reference | None = None
    watched: bool = False  # with evidence: a share of the false alarms is set aside for it
    before: NDArray[np.int64] | None = None  # counts of the reference: slots, signals, bins
    within: Within | None = None
    detector: EDetector | None = None
    changed: bool = False  # since the owner has set it to False
    periods: list[NDArray[np.int64]] = field(default_factory=list)  # the last two
    learned_rows: int = 0
    period_rows: int = 0
    _learning: bool = True
    _chosen: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    _pending: NDArray[Any] | None = None
    _pending_rows: int = 0
    _pending_first: int = 0
    _open: dict[str, list[str]] = field(default_factory=dict)  # raised by the model: kinds, by signal
    _raised: dict[str, list[str]] = field(default_factory=dict)  # and by a segment: kind and signal within it
    _ranking: Ranking | None = None

    def begin(self, whole: Reference | None, learned_from: Columns | None, *, watched: bool) -> None:
        """Begin again with another reference of the stream."""
        self.whole, self.watched, self.changed = whole, watched, True
        self.before = self.within = self.detector = self._pending = self._ranking = None
        self.periods, self._open, self._raised = [], {}, {}
        self.learned_rows = self.period_rows = self._pending_rows = 0
        self._learning = True
        if self.gap is not None:
            self.gap.clear()
        if whole is not None:
            self._chosen = np.array(_signals(whole), dtype=np.int64)
            if learned_from is not None and learned_from.segments is not None and self.fields.chosen:
                self._count_reference(whole, whole.encode(learned_from), learned_from.segments)

    def are_watched(self, learned_from: Columns | None) -> bool:
        """Whether a reference that is learned from these rows, or given, is one for segments as well.

        From then on the segments have a share of the false alarms, or have none until the next reference.
        """
        if learned_from is not None:
            return learned_from.segments is not None
        return self.watched or self.fields.are_named

    def take(self, codes: NDArray[np.int16], rows: Columns, verdicts: Sequence[Verdict]) -> list[Verdict]:
        """Take in judged rows, and what was found in them over all segments; answer that and what was found within.

        What is found over all is not said again of a segment, and gets the segments that moved most into its evidence.
        """
        if self.whole is None or not self.fields.fields or not self.fields.chosen:
            return list(verdicts)
        if rows.segments is None:
            rows = replace(rows, segments=np.zeros(len(rows), dtype=np.int64))
        self.changed = True
        kept = np.flatnonzero(rows.rows >= self.fields.first_row)
        found: list[Verdict] = []
        done = 0
        for verdict in sorted(verdicts, key=lambda one: int(_end_of(rows, one.row))):
            end = _end_of(rows, verdict.row)
            part = kept[(kept >= done) & (kept < end)]
            found += self._advance(codes[part], rows.at(part))
            done = max(done, end)
            found.append(self._heard(verdict))
        part = kept[kept >= done]
        return found + self._advance(codes[part], rows.at(part))

    def _heard(self, verdict: Verdict) -> Verdict:
        kinds = self._open.setdefault(verdict.signal, [])
        if verdict.recovered:
            if verdict.kind.value in kinds:
                kinds.remove(verdict.kind.value)
            if not kinds:
                del self._open[verdict.signal]
            return verdict
        kinds.append(verdict.kind.value)
        moved = self.moved_since(verdict.change_row)
        return replace(verdict, evidence=verdict.evidence | {EVIDENCE: moved}) if moved else verdict

    def moved_since(self, row: int) -> list[list[Any]]:
        """Pairs of segment and signal that moved for certain from ``row`` on, with their effects, most moved first."""
        if self.detector is None or self._ranking is None or self.within is None:
            return []
        counts = self.detector.counts_since(row)
        if self._pending is not None and self._pending_rows:
            counts = counts + self._pending[self.within.places].reshape(counts.shape)
        return [list(one) for one in self._ranking.of(counts, MOST_RANKED)]

    def _advance(self, codes: NDArray[np.int16], rows: Columns) -> list[Verdict]:
        """Count rows, and judge the windows that they complete."""
        found: list[Verdict] = []
        done = 0
        # piece by piece while the reference is being learned, because it may be complete after each window
        while done < len(rows):
            left = WINDOW_ROWS - self._pending_rows
            stop = min(done + left, len(rows)) if self._learning else len(rows)
            found += self._count(codes[done:stop], rows.slice(done, stop))
            done = stop
        return found

    def _count(self, codes: NDArray[np.int16], rows: Columns) -> list[Verdict]:
        assert self.whole is not None  # noqa: S101 (take has looked)
        assert rows.segments is not None  # noqa: S101 (likewise)
        slots = self.fields.slots(rows.segments)
        windows_of = (self._pending_rows + np.arange(len(rows))) // WINDOW_ROWS
        last = int(windows_of[-1])
        counts = count(codes[:, self._chosen], slots, windows_of, windows=last + 1, width=self.whole.width)
        if self._pending is not None:
            counts[0] += _grown(self._pending, counts.shape[1])
        if not self._pending_rows:
            self._pending_first = int(rows.rows[0])
        ended = (self._pending_rows + len(rows)) // WINDOW_ROWS
        ends = np.arange(1, ended + 1) * WINDOW_ROWS - self._pending_rows - 1
        firsts = [self._pending_first, *rows.rows[ends[:-1] + 1].tolist()] if ended else []
        self._pending_rows = (self._pending_rows + len(rows)) % WINDOW_ROWS
        if self._pending_rows:
            self._pending = counts[last]
            if ended:
                self._pending_first = int(rows.rows[ends[-1] + 1])
        else:
            self._pending = None
        if not ended:
            return []
        return self._windows(counts[:ended], firsts, rows.rows[ends].tolist(), rows.ts[ends].tolist())

    def _windows(
        self, counts: NDArray[np.int32], firsts: list[int], lasts: list[int], ts: list[float]
    ) -> list[Verdict]:
        gaps: list[Verdict] = []
        for one, first, last, at in zip(counts, firsts, lasts, ts, strict=True):
            self._add_to_period(one)
            if self.gap is not None and self.whole is not None:
                gaps += self.gap.look(self._gaps(), first, last, at)
        if self._learning:
            assert self.whole is not None  # noqa: S101 (take has looked)
            self._learn(self.whole, counts.sum(axis=0, dtype=np.int64), WINDOW_ROWS * len(counts))
            return gaps
        if self.detector is None or self.within is None:
            return gaps
        summary = self.within.summary(counts, firsts, lasts, ts)
        nothing = Columns(self.stream, np.empty(0, dtype=np.int64), np.empty(0), {})
        verdicts = [said for one in self.detector.update(summary, nothing) if (said := self._said(one)) is not None]
        return [*verdicts, *gaps]

    def _add_to_period(self, counts: NDArray[np.int32]) -> None:
        if not self.periods or self.period_rows >= PERIOD_ROWS:
            self.periods = [*self.periods[-1:], np.zeros(counts.shape, dtype=np.int64)]
            self.period_rows = 0
        self.periods[-1] = _grown(self.periods[-1], len(counts)) + counts.astype(np.int64)
        self.period_rows += WINDOW_ROWS

    def _gaps(self) -> list[Gap]:
        assert self.gap is not None  # noqa: S101 (the caller has looked)
        assert self.whole is not None  # noqa: S101 (likewise)
        return self.gap.of(self.whole, self.current(), self.fields)

    def current(self) -> NDArray[np.int64]:
        """Counts (slots, signals, bins) of the current period."""
        shape = (len(self.fields.fields) * SLOTS, len(self._chosen), 0 if self.whole is None else self.whole.width)
        total = np.zeros(shape, dtype=np.int64)
        for one in self.periods if self._pending is None else [*self.periods, self._pending]:
            total[: len(one)] += one
        return total

    @property
    def signals(self) -> tuple[str, ...]:
        """The signals that are counted."""
        return () if self.whole is None else tuple(self.whole.signals[s] for s in self._chosen)

    # --- the reference

    def _count_reference(self, whole: Reference, codes: NDArray[np.int16], segments: NDArray[np.int64]) -> None:
        slots = self.fields.slots(segments)
        window = np.zeros(len(codes), dtype=np.int64)
        counts = count(codes[:, self._chosen], slots, window, windows=1, width=whole.width)
        self._learn(whole, counts[0].astype(np.int64), len(codes))

    def _learn(self, whole: Reference, counts: NDArray[np.int64], rows: int) -> None:
        self.before = counts if self.before is None else _grown(self.before, len(counts)) + counts
        self.learned_rows += rows
        if is_learned(self.before, self.learned_rows, self.rows_wanted):
            self._learning = False
            self._watch(whole, self.before)

    def _watch(self, whole: Reference, before: NDArray[np.int64]) -> None:
        names = {place: name for place, name in self.fields.names().items() if place < len(before)}
        self.within = Within.of(whole, self._chosen, before, names)
        if self.within is not None and self.watched:
            self.detector = self.build(self.within.reference)
            self._ranking = Ranking(self.within)

    # --- what is said

    def _said(self, verdict: Verdict) -> Verdict | None:
        """What was found within a segment as it is told; None where it is said of the model already."""
        assert self.within is not None  # noqa: S101 (the caller has looked)
        segment, signal = self.within.pair(self.within.reference.signals.index(verdict.signal))
        mine = [verdict.kind.value, verdict.signal]
        if verdict.recovered:
            if self._raised.get(signal) != mine:
                return None
            del self._raised[signal]
            return replace(verdict, evidence=verdict.evidence | {"segment": segment})
        if signal in self._open or signal in self._raised:
            return None
        self._raised[signal] = mine
        known = self.within.reference.signals.index
        moved = [[*self.within.pair(known(name)), effect] for name, effect in verdict.ranking[:MOST_RANKED]]
        moved = moved or [[segment, signal, verdict.evidence["effect"]]]
        ranking = ((verdict.signal, 1.0),)
        return replace(verdict, ranking=ranking, evidence=verdict.evidence | {"segment": segment, EVIDENCE: moved})

    # --- what is stored

    def state(self) -> bytes:
        """Everything but the fields."""
        arrays = [self.before, self._pending, *self.periods]
        return msgspec.msgpack.encode(
            {
                "fields": [one.name for one in self.fields.fields],
                "watched": self.watched,
                "learning": self._learning,
                "rows": [self.learned_rows, self.period_rows, self._pending_rows, self._pending_first],
                "arrays": [None if one is None else _packed(one) for one in arrays],
                "open": self._open,
                "raised": self._raised,
                "detector": None if self.detector is None else self.detector.state(),
                "gap": None if self.gap is None else self.gap.state(),
                "places": None if self.within is None else [self.within.places.tolist(), self.within.segments],
            }
        )

    def restore(self, whole: Reference | None, data: bytes) -> list[str]:
        """Go on from ``state``. Names what did not fit and starts afresh."""
        state = msgspec.msgpack.decode(data)
        self.begin(whole, None, watched=state["watched"])
        self.changed = False
        own = [one.name for one in self.fields.fields]
        if whole is None or state["fields"] != own[: len(state["fields"])]:
            return []
        shape = (len(self._chosen), whole.width)
        before, self._pending, *periods = (None if one is None else _unpacked(one, shape) for one in state["arrays"])
        self.periods = [one for one in periods if one is not None]
        self.learned_rows, self.period_rows, self._pending_rows, self._pending_first = state["rows"]
        self.before, self._learning = before, state["learning"]
        self._open, self._raised = state["open"], state["raised"]
        if self.gap is not None and state["gap"] is not None:
            self.gap.restore(state["gap"])
        if before is None or self._learning or state["places"] is None:
            return []
        places, segments = state["places"]
        self.within = Within.of(whole, self._chosen, before, dict(zip(places, segments, strict=True)))
        if self.within is None or state["detector"] is None:
            return []
        self.detector, self._ranking = self.build(self.within.reference), Ranking(self.within)
        try:
            self.detector.restore(state["detector"])
        except StateMismatch:
            return [self.detector.name]
        return []


def _signals(whole: Reference) -> list[int]:
    """Which signals are counted by segment: of outcomes the error; of many features the first."""
    if "error" in whole.signals:
        return [whole.signals.index("error")]
    most = max(1, MOST_CELLS // (MOST_FIELDS * SLOTS * whole.width))
    return list(range(len(whole.signals)))[:most]


def _end_of(rows: Columns, row: int) -> int:
    """The place behind the one where ``row`` is; all are behind what is not among them."""
    places = np.flatnonzero(rows.rows == row)
    return int(places[-1]) + 1 if len(places) else len(rows)


def _grown(counts: NDArray[Any], slots: int) -> NDArray[Any]:
    """The same with room for the slots of fields that were met since."""
    if len(counts) == slots:
        return counts
    return np.concatenate([counts, np.zeros((slots - len(counts), *counts.shape[1:]), dtype=counts.dtype)])


def _packed(counts: NDArray[Any]) -> list[Any]:
    dtype = np.min_scalar_type(int(counts.max(initial=0)))
    return [len(counts), dtype.str, counts.astype(dtype).tobytes()]


def _unpacked(data: list[Any], shape: tuple[int, int]) -> NDArray[np.int64]:
    slots, dtype, packed = data
    return np.frombuffer(packed, dtype=np.dtype(dtype)).reshape(slots, *shape).astype(np.int64)
