"""alibi-detect's online drift detectors that look at all numbers of a row together: MMD and LSDD.

MMD: maximum mean discrepancy, Gretton et al. 2012. LSDD: least-squares density difference, Bu, Alippi and Zhao 2017.
They run elsewhere (see ``alibi.py``). They see that features move against each other where none moves by itself, and do
not say which. Their expected run time is far below a budget of false alarms (``most_ert``: what has to be simulated
grows with it), so that one flag raises nothing: a whole window of flags does, whose last has no row of the first.
"""

from typing import Any, Final

from detectors.alibi import FEWEST_ROWS, Alibi, Asked, Numbers, Task, fingerprint, numbers
from detectors.base import Kind, Severity, StateMismatch, Verdict
from detectors.columns import Columns
from detectors.parameters import Value
from detectors.reference import Reference
from detectors.summary import Summary

SIGNAL: Final = "features"
MOST_REFERENCE_ROWS: Final = 500
ROWS_FOR_EACH: Final = 5
"""With fewer rows of reference than so many times the window nothing is watched: windows are drawn from them."""


class AlibiJoint:
    """MMD or LSDD on all numbers of a stream.

    A change is raised after ``window_size`` flagged rows in a row, and over after as many that are not flagged.
    """

    def __init__(
        self,
        kind: str,
        reference: Reference,
        alibi: Alibi | None,
        parameters: dict[str, Value],
        *,
        events_per_false_alarm: float,
    ) -> None:
        self.name = f"alibi_{kind}"
        self.reference = reference
        columns = Numbers(reference, numbers(reference))
        self._window = int(parameters["window_size"])
        ert = min(events_per_false_alarm, float(parameters["most_ert"]))
        learned = columns.sample[:: -(-len(columns.sample) // MOST_REFERENCE_ROWS)]
        task = Task(kind, parameters, learned, columns.nothing, ert)
        enough = len(columns) > 0 and len(learned) >= max(FEWEST_ROWS, ROWS_FOR_EACH * self._window)
        self._asked = Asked(alibi, task if enough else None, columns, 2 * self._window)
        self._fingerprint = fingerprint(self.name, reference, parameters, ert)
        self._flagged = False
        self._run = 0  # rows on end that were flagged, or that were not
        self._began: tuple[int, float] = (0, 0.0)  # the first of them
        self._open: tuple[int, int, float] | None = None  # the row of the alarm, and where its change began

    def update(self, summary: Summary, columns: Columns) -> list[Verdict]:
        """Have every row looked at; say at the end of a window whether all together have changed, or are back."""
        answers = self._asked.answers(columns)
        if answers is None:
            return []
        verdicts: list[Verdict] = []
        flags = (answers[:, 0] > 0).tolist()
        start = 0
        for w, size in enumerate(summary.sizes.tolist()):
            for i in range(start, start + size):
                if flags[i] != self._flagged:
                    self._flagged, self._run = flags[i], 0
                    self._began = (int(columns.rows[i]), float(columns.ts[i]))
                self._run += 1
            start += size
            if self._run >= self._window and self._flagged != (self._open is not None):
                verdicts.append(self._verdict(int(summary.last_rows[w]), float(summary.last_ts[w])))
        return verdicts

    def _verdict(self, row: int, ts: float) -> Verdict:
        evidence: dict[str, Any] = {"window_size": self._window, "rows_since_change": self._run}
        recovered = self._open is not None
        if self._open is None:
            self._open = (row, *self._began)
        else:
            evidence["raised_row"], self._open = self._open[0], None
        return Verdict(
            kind=Kind.DRIFT,
            signal=SIGNAL,
            detector=self.name,
            severity=Severity.WARNING,
            row=row,
            ts=ts,
            change_row=self._began[0],
            change_ts=self._began[1],
            evidence=evidence,
            recovered=recovered,
        )

    def state(self) -> dict[str, Any]:
        """Everything needed to go on later."""
        return {
            "fingerprint": self._fingerprint,
            "asked": self._asked.state(),
            "run": [self._flagged, self._run, *self._began],
            "open": None if self._open is None else list(self._open),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``. Raises StateMismatch where reference, parameters or alibi-detect's release differ."""
        if state.get("fingerprint") != self._fingerprint:
            raise StateMismatch(f"the state of another detector than this {self.name}, or of another alibi-detect")
        self._asked.restore(state["asked"])
        self._flagged, self._run, row, ts = state["run"]
        self._began = (row, ts)
        self._open = None if state["open"] is None else (state["open"][0], state["open"][1], state["open"][2])
