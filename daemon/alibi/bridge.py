"""Keeps one process of alibi-detect at work for all models, and has calibrations made in another.

Nothing here makes the daemon wait for long: processes are started, and detectors calibrated, in a thread of its own,
and until then there are no answers. What goes wrong is said once, and tried again after a while.
"""

import itertools
import math
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import structlog
from numpy.typing import NDArray

from daemon.alibi.environment import Environment
from daemon.alibi.process import ChildFailed, Process, Refused
from detectors.alibi import Calibration, Task

log = structlog.get_logger(__name__)

ROWS_AT_ONCE: Final = 200
"""In one question; what the time for an answer is for."""
FIRST_RETRY_SECONDS: Final = 1.0
MOST_RETRY_SECONDS: Final = 300.0
SHARE: Final = 0.5
"""Of the time, at most, in which models are watched, that is spent waiting for answers."""
SAVED_SECONDS: Final = 10.0
"""So much of it may be used at once."""


@dataclass(slots=True)
class _Trouble:
    """What goes wrong, said once, and when it is tried again."""

    of: str
    clock: Callable[[], float]
    said: str | None = None
    wait: float = FIRST_RETRY_SECONDS
    until: float = 0.0

    def met(self, error: Exception) -> None:
        if self.said != str(error):
            log.error("alibi-detect says nothing for now; the other detectors go on", of=self.of, error=str(error))
        self.said = str(error)
        self.until = self.clock() + self.wait
        self.wait = min(2 * self.wait, MOST_RETRY_SECONDS)

    def over(self) -> None:
        if self.said is not None:
            log.info("alibi-detect answers again", of=self.of)
        self.said, self.wait, self.until = None, FIRST_RETRY_SECONDS, 0.0

    @property
    def waits(self) -> bool:
        return self.clock() < self.until


@dataclass(slots=True)
class _Allowance:
    """Seconds that may be spent waiting: so many are saved as pass, times ``SHARE``."""

    clock: Callable[[], float]
    seconds: float = SAVED_SECONDS
    at: float = float("-inf")

    def left(self) -> bool:
        now = self.clock()
        self.seconds, self.at = min(self.seconds + SHARE * (now - self.at), SAVED_SECONDS), now
        return self.seconds > 0


class Bridge:
    """The way to alibi-detect: see ``detectors.alibi.Alibi``. To be closed.

    With ``patient`` it waits for processes and calibrations, as long as they take: what comes of rows is then the same
    each time. Without, a detector says nothing of rows that come while it is not ready, or that are too many for it.
    """

    def __init__(
        self,
        environment: Environment,
        *,
        answer_seconds: float,
        calibration_seconds: float,
        patient: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._environment = environment
        self._answer_seconds = answer_seconds
        self._calibration_seconds = calibration_seconds
        self._patient = patient
        self.clock = clock
        self._lock = threading.Lock()
        self._closed = False
        self._process: Process | None = None
        self._live: set[Process] = set()
        self._starting: Future[Process] | None = None
        self._workers = ThreadPoolExecutor(1, "alibi"), ThreadPoolExecutor(1, "alibi-calibration")
        self._trouble = _Trouble("all models", clock)
        self._allowance = _Allowance(clock)
        self._behind = False
        self._keys = itertools.count()
        self._forgotten: list[int] = []

    def open(self, task: Task) -> "Session":
        """See ``Alibi``."""
        key = next(self._keys)
        session = Session(self, key, task)
        weakref.finalize(session, self._forgotten.append, key)
        return session

    def close(self) -> None:
        """End its processes."""
        self._closed = True
        for process in list(self._live):
            process.kill()
        for worker in self._workers:
            worker.shutdown(cancel_futures=True)

    @property
    def pid(self) -> int | None:
        """The number of the process that answers, if there is one."""
        return None if self._process is None else self._process.pid

    def _start(self) -> Process:
        """A process that has said hello. Raises ChildFailed."""
        return self._environment.start(self._started)

    def _started(self, process: Process) -> None:
        self._live.add(process)
        if self._closed:
            process.kill()

    def _kill(self, process: Process) -> None:
        process.kill()
        self._live.discard(process)

    # --- calibration

    def calibrate(self, task: Task) -> "Future[Calibration]":
        """Have a task calibrated, once those that came before are."""
        calibration = self._workers[1].submit(self._calibrate, task)
        calibration.add_done_callback(lambda _: self._begin())  # so that it can be asked by the time of the next row
        return calibration

    def wait_for(self, future: "Future[Any]") -> bool:
        """Whether it is done by now."""
        if self._patient:
            future.exception()
        return future.done()

    def _calibrate(self, task: Task) -> Calibration:
        process = self._start()
        try:
            asked = _told(task) | {"op": "calibrate", "ert": task.ert, "held_out": task.held_out.tolist()}
            found = process.ask(asked, self._calibration_seconds).get("calibration")
        finally:
            self._kill(process)
        if not isinstance(found, dict):
            raise ChildFailed("answered without a calibration")
        return found

    # --- answers

    def answer(
        self, session: "Session", calibration: Calibration, before: NDArray[np.float64], rows: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        """See ``Session``."""
        with self._lock:
            process = self._running()
            if process is None or not self._may_wait():
                session.known_to = None
                return None
            try:
                found = self._ask(process, session, calibration, before, rows)
            except Refused as refused:
                session.known_to = None
                session.trouble.met(refused)
                return None
            except ChildFailed as failed:
                session.known_to = None
                self._end(failed)
                return None
            self._trouble.over()
            return found

    def _ask(
        self,
        process: Process,
        session: "Session",
        calibration: Calibration,
        before: NDArray[np.float64],
        rows: NDArray[np.float64],
    ) -> NDArray[np.float64] | None:
        forget, self._forgotten[:] = list(self._forgotten), []
        if session.known_to is not process:
            opening = {"op": "open", "key": session.key, "calibration": calibration, "rows": before.tolist()}
            self._wait(process, _told(session.task) | opening)
            session.known_to = process
        found = []
        for start in range(0, len(rows), ROWS_AT_ONCE):
            if not self._may_wait():
                session.known_to = None
                return None
            part = rows[start : start + ROWS_AT_ONCE].tolist()
            asked = {"op": "answer", "key": session.key, "rows": part, "forget": forget}
            found += _checked(self._wait(process, asked).get("answers"), len(part))
            forget = []
        return np.array(found, dtype=np.float64)

    def _wait(self, process: Process, asked: dict[str, Any]) -> dict[str, Any]:
        began = self.clock()
        try:
            return process.ask(asked, self._answer_seconds)
        finally:
            self._allowance.seconds -= self.clock() - began

    def _running(self) -> Process | None:
        """The process, if there is one by now; where there is none, one is being started."""
        self._start_if_none()
        if self._starting is None or not self.wait_for(self._starting):
            return self._process
        starting, self._starting = self._starting, None
        try:
            self._process = starting.result()
        except ChildFailed as failed:
            self._trouble.met(failed)
        return self._process

    def _begin(self) -> None:
        with self._lock:
            self._start_if_none()

    def _start_if_none(self) -> None:
        if self._process is None and self._starting is None and not self._closed and not self._trouble.waits:
            self._starting = self._workers[0].submit(self._start)

    def _may_wait(self) -> bool:
        if self._patient:
            return True
        may = self._allowance.left()
        if not may and not self._behind:
            log.warning("alibi-detect is too slow for so many events: it is not asked about all of them")
        self._behind = not may
        return may

    def _end(self, failed: Exception) -> None:
        process, self._process = self._process, None
        if process is not None:
            self._kill(process)
        if not self._closed:
            self._trouble.met(failed)


class Session:
    """One detector: see ``detectors.alibi.Session``."""

    def __init__(self, bridge: Bridge, key: int, task: Task) -> None:
        self.key = key
        self.task = task
        self.known_to: Process | None = None
        """The process that has this detector, with all rows so far."""
        self._bridge = bridge
        self._calibration: Future[Calibration] | None = None
        self.trouble = _Trouble(f"alibi_{task.kind}", bridge.clock)

    def calibrate(self) -> Calibration | None:
        """See ``detectors.alibi.Session``."""
        if self._calibration is None:
            if self.trouble.waits:
                return None
            self._calibration = self._bridge.calibrate(self.task)
        if not self._bridge.wait_for(self._calibration):
            return None
        done, self._calibration = self._calibration, None
        try:
            found = done.result()
        except (ChildFailed, Refused) as failed:
            self.trouble.met(failed)
            return None
        self.trouble.over()
        return found

    def answer(
        self, calibration: Calibration, before: NDArray[np.float64], rows: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        """See ``detectors.alibi.Session``."""
        if self.trouble.waits:
            return None
        return self._bridge.answer(self, calibration, before, rows)


def _told(task: Task) -> dict[str, Any]:
    return {"kind": task.kind, "parameters": dict(task.parameters), "reference": task.reference.tolist()}


def _checked(answers: Any, rows: int) -> list[list[float]]:
    """The answers, if they are as many finite numbers for each row. Raises ChildFailed."""
    sizes = {len(one) if isinstance(one, list) else 0 for one in answers} if isinstance(answers, list) else set()
    if len(sizes) != 1 or sizes == {0} or len(answers) != rows:
        raise ChildFailed("answered with what are no numbers for each row")
    if not all(isinstance(value, int | float) and math.isfinite(value) for one in answers for value in one):
        raise ChildFailed("answered with what are no numbers for each row")
    return list(answers)
