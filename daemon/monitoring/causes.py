"""Why something was raised, from the rows that a model's streams had by then, however the log was cut."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from daemon.lifecycle.broken import rise
from daemon.monitoring.segments import DETECTOR as SEGMENTS
from daemon.monitoring.window import Window
from detectors.base import Verdict
from detectors.columns import Stream
from detectors.known import Known
from detectors.recent_rows import RecentRows
from detectors.reference import Reference
from detectors.regimes import Regime
from detectors.triage import CAUSE, Raised, triage


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

    def explain(self, found: Found) -> Verdict:
        """The verdict with its cause in the evidence; as it is where it says that something is over.

        What is found in one segment hardly shows in the rows of all, and those say nothing of its cause.
        """
        verdict = found.verdict
        if verdict.recovered or verdict.detector == SEGMENTS:
            return verdict
        known = Known(*(self._known(stream, found) for stream in (Stream.FEATURES, Stream.PREDICTION, Stream.OUTCOME)))
        cause = triage(Raised(verdict.kind, verdict.signal, rise(verdict.evidence)), known, self._regimes)
        return replace(verdict, evidence=verdict.evidence | {CAUSE: cause.to_evidence()})

    def _known(self, stream: Stream, found: Found) -> tuple[Reference, RecentRows] | None:
        """What had come of a stream: of its own the rows up to the alarm's window, of the others those before it.

        Whether what came in the same moment was there as well would depend on where the log is cut.
        """
        window = self._windows[stream]
        if window.reference is None:
            return None
        row, fresh = found.verdict.row, found.fresh
        if stream is not found.stream:
            rows = window.fresh_rows()
            if stream is Stream.OUTCOME:
                # a label may come after features that go with the next prediction
                rows = np.array([self._label_rows.get(one, 0) for one in rows.tolist()], dtype=np.int64) + 1
            fresh = int(np.searchsorted(rows, row))
        elif fresh is None:
            # rows that share a number may be in several windows: the first of these
            place = int(np.searchsorted(window.fresh_rows(), row))
            fresh = -(-(place + 1) // window.window_rows) * window.window_rows
        recent = window.recent(fresh)
        return window.reference, recent.where(recent.rows >= found.verdict.change_row)
