"""alibi-detect's detectors whose number for a row says how strange it is, or the latest rows are, beside the reference.

Outliers: isolation forest (Liu, Ting and Zhou 2008), and the Mahalanobis distance in the leading principal components;
so that a score depends on its row alone, the latter does not go on learning from live rows. Drift of all numbers of a
row together, also where none moves by itself: MMD, the maximum mean discrepancy (Gretton et al. 2012), and LSDD, the
least-squares density difference (Bu, Alippi and Zhao 2017), each between the reference and the last rows.

They run elsewhere (see ``alibi.py``), fitted to half the reference's sample; the scores of the other half say what is
normal. An e-detector on the score decides what is raised, so that the budget of false alarms holds here as well: MMD's
and LSDD's own thresholds would have to be simulated for an expected run time that is far beyond what can be.
"""

from dataclasses import replace
from typing import Any, Final

import numpy as np

from detectors.alibi import FEWEST_ROWS, Alibi, Asked, Numbers, Task, fingerprint, numbers
from detectors.base import Kind, StateMismatch, Verdict
from detectors.columns import Columns
from detectors.parameters import Value
from detectors.reference import Reference
from detectors.score_alarm import ScoreAlarm
from detectors.summary import Summary

WINDOWED: Final = frozenset({"mmd", "lsdd"})
"""Kinds that compare a window of rows with the reference."""
ROWS_FOR_EACH: Final = 5
"""With fewer rows to learn from than so many times the window nothing is watched."""


class AlibiScores:
    """Scores rows of features: raises ANOMALY where strange ones become more frequent, DRIFT for MMD and LSDD."""

    def __init__(
        self,
        kind: str,
        reference: Reference,
        alibi: Alibi | None,
        parameters: dict[str, Value],
        *,
        events_per_false_alarm: float,
        min_effect: float,
    ) -> None:
        self.name = f"alibi_{kind}"
        self.reference = reference
        self._budget, self._min_effect = events_per_false_alarm, min_effect
        columns = Numbers(reference, numbers(reference))
        learned, held_out = columns.sample[::2], columns.sample[1::2]
        window = int(parameters["window_size"]) if kind in WINDOWED else 0
        self._kind = Kind.DRIFT if kind in WINDOWED else Kind.ANOMALY
        if "n_components" in parameters:
            parameters = parameters | {"n_components": min(int(parameters["n_components"]), max(len(columns), 1))}
        enough = len(columns) > 0 and len(columns.sample) >= FEWEST_ROWS and len(learned) >= ROWS_FOR_EACH * window
        task = Task(kind, parameters, learned, held_out, 0.0) if enough else None
        self._asked = Asked(alibi, task, columns, 2 * window)
        self._fingerprint = fingerprint(self.name, reference, parameters)
        self._alarm: ScoreAlarm | None = None

    def update(self, summary: Summary, columns: Columns) -> list[Verdict]:
        """Have the rows scored, and say in which windows strange ones became more frequent, or normal again."""
        answers = self._asked.answers(columns)
        if answers is None:
            return []
        found = self._begun().found(summary, columns, answers[:, 0])
        return [replace(verdict, kind=self._kind, ranking=()) for verdict in found]

    def _begun(self) -> ScoreAlarm:
        """What decides on the scores, once it is known which are normal."""
        if self._alarm is None:
            assert self._asked.calibration is not None  # noqa: S101 (there has been an answer)
            normal = np.array(self._asked.calibration["scores"], dtype=np.float64)
            self._alarm = ScoreAlarm(self.name, normal, self._budget, self._min_effect)
        return self._alarm

    def state(self) -> dict[str, Any]:
        """Everything needed to go on later."""
        return {
            "fingerprint": self._fingerprint,
            "asked": self._asked.state(),
            "detector": None if self._alarm is None else self._alarm.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``. Raises StateMismatch where reference, parameters or alibi-detect's release differ."""
        if state.get("fingerprint") != self._fingerprint:
            raise StateMismatch(f"the state of another detector than this {self.name}, or of another alibi-detect")
        self._asked.restore(state["asked"])
        self._alarm = None
        if state["detector"] is not None:
            self._begun().restore(state["detector"])
