"""alibi-detect's online drift detectors that look at each signal by itself: CVM on numbers, FET on flags.

CVM: Cramer-von Mises, Ross and Adams 2012. FET: Fisher's exact test, Ross, Tasoulis and Adams 2012. They run elsewhere
(see ``alibi.py``). Their expected run time is the detector's share of the budget of false alarms, and ``most_ert`` at
most, since what is simulated to find their thresholds grows with it; what they flag is raised only when the change is
large enough, and so much likelier under another law than the reference's as the whole budget asks for.
"""

import math
from typing import Any, Final

import numpy as np

from detectors.alibi import FEWEST_ROWS, Alibi, Asked, Numbers, Task, are_flags, fingerprint
from detectors.base import StateMismatch, Verdict
from detectors.columns import Columns
from detectors.fired import SUPPORT, FiredAlarms
from detectors.parameters import Value
from detectors.reference import Reference
from detectors.summary import Summary

MOST_REFERENCE_ROWS: Final = 500
"""More of them make the thresholds take longer, and little better."""


class AlibiDrift:
    """CVM on every number of a stream that is no flag, or FET on every flag, looking for one that is 1 more often."""

    def __init__(
        self,
        kind: str,
        reference: Reference,
        alibi: Alibi | None,
        parameters: dict[str, Value],
        *,
        events_per_false_alarm: float,
        min_effect: float,
        min_loss: float,
    ) -> None:
        self.name = f"alibi_{kind}"
        self.reference = reference
        self._alarms = FiredAlarms(
            reference,
            self.name,
            events_per_false_alarm=events_per_false_alarm,
            min_effect=min_effect,
            min_loss=min_loss,
            # what the thresholds, which are for a much shorter run time, leave to be desired
            support=max(SUPPORT, math.log(events_per_false_alarm)),
        )
        flags = kind == "fet"
        signals = {m: s for m, s in self._alarms.numbers().items() if are_flags(reference, s) == flags}
        self._monitors = np.array(list(signals), dtype=np.int64)
        columns = Numbers(reference, list(signals.values()), flags=flags)
        # the thresholds are for one signal: that all of them together are flagged no more often, each is given its part
        ert = min(events_per_false_alarm * max(len(signals), 1), float(parameters["most_ert"]))
        window = int(parameters["window_size"])
        learned = columns.sample[:: -(-len(columns.sample) // MOST_REFERENCE_ROWS)]
        task = Task(kind, parameters, learned, columns.nothing, ert)
        # a sample that never varies says nothing of how it would
        enough = len(signals) > 0 and len(columns.sample) >= FEWEST_ROWS and bool(np.ptp(learned, axis=0).any())
        self._asked = Asked(alibi, task if enough else None, columns, 2 * window)
        judged = self._alarms.judge.fingerprint
        self._fingerprint = fingerprint(self.name, reference, parameters, ert, judged)

    def update(self, summary: Summary, columns: Columns) -> list[Verdict]:
        """Have every row looked at; say at the end of a window what was flagged in it, and what is over."""
        flags = self._asked.answers(columns)
        fired: dict[int, list[int]] = {}
        if flags is not None:
            ends = np.cumsum(summary.sizes)
            rows, places = np.nonzero(flags)
            for w, m in zip(np.searchsorted(ends, rows, side="right"), self._monitors[places], strict=True):
                fired.setdefault(int(w), []).append(int(m))
        return self._alarms.update(summary, fired)

    def state(self) -> dict[str, Any]:
        """Everything needed to go on later."""
        return {"fingerprint": self._fingerprint, "asked": self._asked.state(), **self._alarms.to_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``. Raises StateMismatch where reference, parameters or alibi-detect's release differ."""
        if state.get("fingerprint") != self._fingerprint:
            raise StateMismatch(f"the state of another detector than this {self.name}, or of another alibi-detect")
        self._asked.restore(state["asked"])
        self._alarms.restore(state)
