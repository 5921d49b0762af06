"""alibi-detect in its own environment, for all tests of a run: what has been calibrated is not calibrated again."""

import os
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from daemon.alibi.bridge import Bridge, Session
from daemon.alibi.environment import MADE, Environment
from detectors.alibi import Calibration, Task

PYTHON = Path(os.environ.get("DRIFTD_TEST_ALIBI_PYTHON", MADE))


class NoAlibi(Exception):
    """This machine has no such environment."""


def environment(*, tensorflow: bool = False) -> Environment:
    """The one of `make alibi`. Raises NoAlibi."""
    if not PYTHON.is_file():
        raise NoAlibi(f"no alibi-detect at {PYTHON}: make alibi (2.2 GB), or DRIFTD_TEST_ALIBI_PYTHON names another")
    return Environment(PYTHON, 3_072, tensorflow)


class AlibiOnce:
    """Two processes, with and without TensorFlow, that are waited for."""

    def __init__(self) -> None:
        limits: dict[str, Any] = {"answer_seconds": 120.0, "calibration_seconds": 1_800.0, "patient": True}
        self._plain = Bridge(environment(), **limits)
        self._tensorflow = Bridge(environment(tensorflow=True), **limits)
        self._known: dict[Any, Calibration] = {}

    def open(self, task: Task) -> "SessionOnce":
        """See ``detectors.alibi.Alibi``."""
        bridge = self._tensorflow if task.kind in {"mmd", "lsdd"} else self._plain
        return SessionOnce(bridge.open(task), self._known)

    def close(self) -> None:
        """End the processes."""
        self._plain.close()
        self._tensorflow.close()


class SessionOnce:
    """See ``detectors.alibi.Session``."""

    def __init__(self, session: Session, known: dict[Any, Calibration]) -> None:
        self._session = session
        self._known = known

    def calibrate(self) -> Calibration | None:
        """Return what is known of the same task, else what is found."""
        task = self._session.task
        key = (task.kind, repr(task.parameters), task.reference.tobytes(), task.held_out.tobytes(), task.ert)
        if key not in self._known:
            found = self._session.calibrate()
            if found is None:
                return None
            self._known[key] = found
        return self._known[key]

    def answer(self, calibration: Calibration, before: NDArray[Any], rows: NDArray[Any]) -> NDArray[Any] | None:
        """Return its answers."""
        return self._session.answer(calibration, before, rows)
