"""Why something was raised, from the rows that a model's streams had by then, however the log was cut."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from daemon.lifecycle.broken import rise
from daemon.monitoring.window import Window
from detectors.base import Verdict
from detectors.columns import Stream
from detectors.recent_rows import RecentRows
from detectors.reference import Reference
from detectors.regimes import Regime
from detectors.triage import CAUSE, Known, Raised, triage


@dataclass(frozen=True, slots=True)
class Found:
    """What a stream's detectors found.

    ``fresh`` is how many of the window's fresh rows had come by then, None for all up to ``verdict.row``.
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
        """The verdict with its cause in the evidence; as it is where it says that something is over."""
        verdict = found.verdict
        if verdict.recovered:
            return verdict
        known = Known(*(self._known(stream, found) for stream in (Stream.FEATURES, Stream.PREDICTION, Stream.OUTCOME)))
        cause = triage(Raised(verdict.kind, verdict.signal, rise(verdict.evidence)), known, self._regimes)
        return replace(verdict, evidence=verdict.evidence | {CAUSE: cause.to_evidence()})

    def _known(self, stream: Stream, found: Found) -> tuple[Reference, RecentRows] | None:
        """What had come of a stream: its own rows up to the alarm's, of the others those before it.

        Whether those of the same moment had come as well would depend on where the log is cut.
        """
        window = self._windows[stream]
        if window.reference is None:
            return None
        own = stream is found.stream
        if own and found.fresh is not None:
            fresh = found.fresh
        else:
            rows = window.fresh_rows()
            if stream is Stream.OUTCOME:
                rows = np.array([self._label_rows.get(row, 0) for row in rows.tolist()], dtype=np.int64)
            fresh = int(np.searchsorted(rows, found.verdict.row, side="right" if own else "left"))
        recent = window.recent(fresh)
        return window.reference, recent.where(recent.rows >= found.verdict.change_row)
