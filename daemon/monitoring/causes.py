"""Why something was raised, from the rows that a model's streams had by then, however the log was cut."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from daemon.lifecycle.broken import rise
from daemon.monitoring.segments import DETECTOR as SEGMENTS
from daemon.monitoring.window import Window
from detectors.base import Verdict
from detectors.cause import CAUSE, Named, Raised
from detectors.columns import Stream
from detectors.known import Known
from detectors.recent_rows import RecentRows
from detectors.reference import Reference
from detectors.regimes import Regime
from detectors.triage import Examination

STREAMS: Final = (Stream.FEATURES, Stream.PREDICTION, Stream.OUTCOME)
"""In the order in which ``Known`` has them."""
MOST_EXAMINED: Final = 8
"""Where hundreds of features move at once, many of them seem to do so at the same row: that is looked at once."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a stream's detectors found.

    ``fresh`` is how many of the window's fresh rows had come by then; None where ``verdict.row`` tells.
    """

    stream: Stream
    verdict: Verdict
    fresh: int | None = None


class Causes:
    """Names the cause of what was found in the fresh rows of a model's windows.

    ``label_rows`` says at which row of the day the label of each fresh outcome came.
    """

    def __init__(
        self, windows: Mapping[Stream, Window], label_rows: Mapping[int, int], regimes: tuple[Regime, ...]
    ) -> None:
        self._windows = windows
        self._label_rows = label_rows
        self._regimes = regimes
        self._examined: dict[tuple[int, ...], Examination] = {}

    def explain(self, found: Found) -> Verdict:
        """The verdict with its cause in the evidence; as it is where it says that something is over.

        What is found in one segment hardly shows in the rows of all, and those say nothing of its cause.
        """
        verdict = found.verdict
        if verdict.recovered or verdict.detector == SEGMENTS:
            return verdict
        fresh = {stream: self._fresh_before(stream, verdict.row) for stream in STREAMS}
        fresh[found.stream] = self._fresh_by(found)
        raised = Raised(verdict.kind, verdict.signal, rise(verdict.evidence))
        cause = self._examination(fresh, verdict.change_row).cause(raised)
        return replace(verdict, evidence=verdict.evidence | {CAUSE: cause.to_evidence()})

    def look(self, raised: Raised, change_row: int, row: int) -> Named:
        """The cause of what was raised, of a change at ``change_row``, by what had come before ``row``."""
        fresh = {stream: self._fresh_before(stream, row) for stream in STREAMS}
        return self._examination(fresh, change_row).cause(raised)

    def _fresh_before(self, stream: Stream, row: int) -> int:
        """How many of a stream's fresh rows had come before a row of the day.

        Whether what came in the same moment was there as well would depend on where the log is cut.
        """
        rows = self._windows[stream].fresh_rows()
        if stream is Stream.OUTCOME:
            # a label may come after features that go with the next prediction
            rows = np.array([self._label_rows.get(one, 0) for one in rows.tolist()], dtype=np.int64) + 1
        return int(np.searchsorted(rows, row))

    def _fresh_by(self, found: Found) -> int:
        """How many of its own stream's fresh rows had come by the end of the window in which something was found."""
        if found.fresh is not None:
            return found.fresh
        window = self._windows[found.stream]
        # rows that share a number may be in several windows: the first of these
        place = int(np.searchsorted(window.fresh_rows(), found.verdict.row))
        return -(-(place + 1) // window.window_rows) * window.window_rows

    def _examination(self, fresh: Mapping[Stream, int], change_row: int) -> Examination:
        """Of the rows since a change, once so many fresh rows of each stream had come."""
        key = (change_row, *fresh.values())
        if key not in self._examined:
            known = Known(*(self._since(stream, fresh[stream], change_row) for stream in STREAMS))
            self._examined = dict([*self._examined.items()][-MOST_EXAMINED:])
            self._examined[key] = Examination(known, self._regimes)
        return self._examined[key]

    def _since(self, stream: Stream, fresh: int, change_row: int) -> tuple[Reference, RecentRows] | None:
        window = self._windows[stream]
        if window.reference is None:
            return None
        recent = window.recent(fresh)
        return window.reference, recent.where(recent.rows >= change_row)
