"""One stream of a model: learns its reference, counts its rows in windows and gives them to the detectors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.monitoring.chunks import Chunk, Chunks
from daemon.monitoring.segments import StreamSegments
from detectors.base import Detector, StateMismatch, Verdict
from detectors.columns import Columns, Stream, concatenate
from detectors.e_detector import EDetector
from detectors.recent_rows import RecentRows, last_of, most_rows
from detectors.reference import Reference
from detectors.summary import summarise

Build = Callable[[Reference, bool], Sequence[Detector]]
"""Detectors for a reference; with True, a share of the false alarms is set aside for segments."""
Ranking = tuple[tuple[str, float], ...]
Prepare = Callable[[Columns], Callable[[Columns], Columns]]
"""Given the rows that become the reference: what is done to those and to all that wait behind them."""


@dataclass(slots=True)
class Window:
    """A stream as it is watched.

    Its first ``reference_rows`` rows become the reference unless one is set; no detector sees them. From then on every
    ``window_rows`` rows are counted and judged, wherever the log was cut into batches: what is left over waits for the
    next. ``take`` and ``judge`` are apart because judging many rows at once is cheaper; when it is done does not show
    in what is found.
    """

    stream: Stream
    build: Build
    reference_rows: int
    window_rows: int
    bins: int = 20
    prepare: Prepare | None = None
    segments: StreamSegments | None = None
    reference: Reference | None = None
    changed: bool = True  # since the owner has set it to False
    detectors: Sequence[Detector] = ()
    _pending: list[Columns] = field(default_factory=list)
    _chunks: Chunks = field(default_factory=Chunks)
    _drawn: list[Chunk] = field(default_factory=list)
    _recent: RecentRows = field(default_factory=lambda: RecentRows.none(0))
    _latest: list[Columns] = field(default_factory=list)  # rows behind ``_recent`` that are yet to be put there
    _judged: list[Columns] = field(default_factory=list)  # since ``remember``

    @property
    def learning(self) -> bool:
        """Whether the reference is still to come."""
        return self.reference is None

    @property
    def missing(self) -> int:
        """Rows that the reference still lacks."""
        return max(0, self.reference_rows - sum(map(len, self._pending))) if self.learning else 0

    @property
    def waiting(self) -> int:
        """Rows that wait to be judged."""
        return 0 if self.learning else sum(map(len, self._pending))

    def take(self, columns: Columns) -> None:
        """Take in further rows."""
        if not len(columns):
            return
        self.changed = True
        self._pending.append(columns if self.reference is None else _watched(columns, self.reference))
        if self.reference is None and not self.missing:
            self._learn()

    def _learn(self) -> None:
        rest = self._pending.pop()
        known = sum(map(len, self._pending))
        first = rest.slice(0, self.reference_rows - known)
        learning = concatenate([*self._pending, first])
        behind = rest.slice(len(first), len(rest))
        if not learning.values:  # rows of nothing are nothing to go by
            self._pending = [behind] if len(behind) else []
            return
        if self.prepare is not None:
            prepare = self.prepare(learning)
            learning, behind = prepare(learning), prepare(behind)
        # in the order of their names: that in which they were first seen depends on how the log was cut
        learning = replace(learning, values=dict(sorted(learning.values.items())))
        reference = Reference.learn(learning, bins=self.bins)
        self._adopt(reference, learning)
        self._pending = [_watched(behind, reference)] if len(behind) else []

    def adopt(self, reference: Reference | None) -> None:
        """Go on with another reference and fresh detectors; None learns one from the rows to come."""
        self._adopt(reference, None)

    def _adopt(self, reference: Reference | None, learned_from: Columns | None) -> None:
        segmented = False
        if self.segments is not None:
            segmented = self.segments.are_watched(learned_from)
            self.segments.begin(reference, learned_from, watched=segmented)
        self._go_on(reference, segmented=segmented)

    def _go_on(self, reference: Reference | None, *, segmented: bool) -> None:
        self.changed = True
        self._pending = []
        self.reference = reference
        self.detectors = self.build(reference, segmented) if reference is not None else ()
        self._chunks = Chunks()
        self._recent = RecentRows.none(0 if reference is None else len(reference.signals))
        self._latest = []
        self._judged = []

    def judge(self, until: int | None = None) -> list[Verdict]:
        """Say what was found in the windows that are complete, up to row ``until`` where that is given."""
        reference = self.reference
        if reference is None or self.waiting < self.window_rows:
            return []
        rows = concatenate(self._pending)
        known = len(rows) if until is None else int(np.searchsorted(rows.rows, until, side="right"))
        whole = known - known % self.window_rows
        if not whole:
            self._pending = [rows]
            return []
        self._pending = [rows.slice(whole, len(rows))] if whole < len(rows) else []
        rows = rows.slice(0, whole)
        codes = reference.encode(rows)
        summary = summarise(
            self.stream,
            reference.signals,
            codes,
            reference.width,
            rows.rows,
            rows.ts,
            self.window_rows,
        )
        self._drawn += self._chunks.add(reference, summary, float(rows.ts[0]))
        self._judged.append(rows)
        verdicts = [verdict for detector in self.detectors for verdict in detector.update(summary, rows)]
        return verdicts if self.segments is None else self.segments.take(codes, rows, verdicts)

    def moved_since(self, row: int) -> Ranking | None:
        """Which signals have moved from ``row`` on, as far as was judged; None where no detector can tell."""
        return next((one.signals_since(row) for one in self.detectors if isinstance(one, EDetector)), None)

    def fresh_rows(self) -> NDArray[np.int64]:
        """The numbers of the rows that have come since ``remember``, judged or not, in their order."""
        return np.concatenate([np.empty(0, dtype=np.int64), *(one.rows for one in (*self._judged, *self._pending))])

    def recent(self, fresh: int) -> RecentRows:
        """The last rows as they were once so many of ``fresh_rows`` had come."""
        if self.reference is None:
            return self._recent
        parts = []
        for columns in (*self._judged, *self._pending):
            parts.append(columns.slice(0, fresh))
            fresh -= len(parts[-1])
        return self._remembered().then([one for one in parts if len(one)], self.reference)

    def remember(self) -> None:
        """Keep the last of the rows that were judged, until the next call."""
        if self.reference is not None and self._judged:
            self._latest = last_of([*self._latest, *self._judged], most_rows(len(self.reference.signals)))
        self._judged = []

    def _remembered(self) -> RecentRows:
        """The rows that are kept. They are seldom asked for: only then is it worked out what they are as points."""
        if self.reference is not None and self._latest:
            self._recent, self._latest = self._recent.then(self._latest, self.reference), []
        return self._recent

    def pending(self) -> list[Columns]:
        """Rows that wait for the reference, or for their window, to be complete."""
        return [concatenate(self._pending)] if self._pending else []

    def take_chunks(self) -> list[Chunk]:
        """What has been completed since the last call, for the charts."""
        chunks, self._drawn = self._drawn, []
        return chunks

    def state(self) -> dict[str, Any]:
        """Everything but the reference, as values that msgpack can hold."""
        return {
            "pending": [_pack(columns) for columns in self.pending()],
            "chunks": self._chunks.state(),
            "recent": self._remembered().to_dict(),
            "detectors": {detector.name: detector.state() for detector in self.detectors},
        }

    def restore(self, reference: Reference | None, state: dict[str, Any], segments: bytes | None = None) -> list[str]:
        """Go on from what was stored. Names the detectors whose state did not fit and that start afresh."""
        afresh = []
        segmented = False
        if self.segments is not None:
            self.segments.begin(reference, None, watched=False)
            if segments is not None:
                afresh = self.segments.restore(reference, segments)
            segmented = self.segments.watched
        self._go_on(reference, segmented=segmented)
        self._pending = [_unpack(self.stream, columns) for columns in state["pending"]]
        self._chunks.restore(state["chunks"])
        if "recent" in state:  # a daemon that did not keep them yet has stored none
            self._recent = RecentRows.from_dict(state["recent"])
        for detector in self.detectors:
            try:
                if detector.name in state["detectors"]:
                    detector.restore(state["detectors"][detector.name])
            except StateMismatch:
                afresh.append(detector.name)
        return afresh


def _watched(columns: Columns, reference: Reference) -> Columns:
    """The signals of the reference and no others; one that is not there is missing in every row."""
    if tuple(columns.values) == reference.signals:
        return columns
    values = {}
    for name, kind in zip(reference.signals, reference.kinds, strict=True):
        column = columns.values.get(name)
        if column is None:
            column = np.full(len(columns), np.nan) if kind == "number" else np.full(len(columns), None, dtype=object)
        values[name] = column
    return replace(columns, values=values)


def _pack(columns: Columns) -> dict[str, Any]:
    return {
        "rows": columns.rows.tobytes(),
        "segments": None if columns.segments is None else columns.segments.tobytes(),
        "ts": columns.ts.tobytes(),
        "numbers": {name: one.tobytes() for name, one in columns.values.items() if one.dtype != object},
        "texts": {name: one.tolist() for name, one in columns.values.items() if one.dtype == object},
        "order": list(columns.values),
    }


def _unpack(stream: Stream, data: dict[str, Any]) -> Columns:
    numbers, texts = data["numbers"], data["texts"]
    values = {
        name: np.frombuffer(numbers[name], dtype=np.float64) if name in numbers else np.array(texts[name], dtype=object)
        for name in data["order"]
    }
    packed = data.get("segments")
    segments = None if packed is None else np.frombuffer(packed, np.int64)
    return Columns(
        stream, np.frombuffer(data["rows"], np.int64), np.frombuffer(data["ts"], np.float64), values, segments
    )
