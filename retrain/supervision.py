"""Ends a retrain when it must end: for its memory, its time, a signal, or because the daemon has died."""

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn, TextIO

from retrain.base import Reason
from retrain.command import kill_running
from retrain.job import Limits
from retrain.memory import MIB, private_bytes, refuse_absurd

LAST_RESORT_SECONDS: Final = 5.0
"""After which a retrain that was told to end, and has not, is ended without further ceremony."""
LOOK_SECONDS: Final = 0.2
LOCK_FILE: Final = "lock"
NICENESS: Final = 10
"""The daemon's event loop goes before."""


class Interrupted(BaseException):
    """The retrain has to end now."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


@contextmanager
def interruptible(limits: Limits, last_words: Callable[[Reason], None]) -> Iterator[None]:
    """Inside, time-out, SIGTERM, SIGINT and the death of the parent raise ``Interrupted`` in this thread.

    If the block does not end soon after, or takes more memory than it may, ``last_words`` is called and the process
    exits. A signal is noticed between
    two steps of the interpreter; scikit-learn's are shorter than a second or two on the rows of a retrain.
    """
    first: list[Reason] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        if first:
            if number == signal.SIGALRM:
                _leave(first[0], last_words)
            return
        first.append(Reason.TIMED_OUT if number == signal.SIGALRM else Reason.STOPPED)
        signal.setitimer(signal.ITIMER_REAL, LAST_RESORT_SECONDS)
        raise Interrupted(first[0])

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, interrupt)
    signal.setitimer(signal.ITIMER_REAL, limits.seconds)
    refuse_absurd(limits.memory_mb)
    done = threading.Event()
    threading.Thread(target=_watch, args=(os.getppid(), limits, last_words, done), daemon=True).start()
    try:
        yield
    finally:
        done.set()
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)  # only the result is left to be written, which takes no time


def _watch(parent: int, limits: Limits, last_words: Callable[[Reason], None], done: threading.Event) -> None:
    """End the process for its memory, when the daemon has died, or long past its time in one call into a library."""
    end = time.monotonic() + limits.seconds + LAST_RESORT_SECONDS
    reason = Reason.TIMED_OUT
    while not done.wait(LOOK_SECONDS):
        if reason is Reason.TIMED_OUT and os.getppid() != parent:
            reason = Reason.STOPPED
            end = min(end, time.monotonic() + LAST_RESORT_SECONDS)
            os.kill(os.getpid(), signal.SIGTERM)
        if private_bytes() > limits.memory_mb * MIB:
            reason, end = Reason.OUT_OF_MEMORY, 0.0
        if time.monotonic() > end:
            _leave(reason, last_words)


def _leave(reason: Reason, last_words: Callable[[Reason], None]) -> NoReturn:
    kill_running()
    last_words(reason)
    os._exit(1)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other retrain works in ``folder``.

    One that a killed daemon left behind ends by itself within seconds, and is killed if it does not.
    """
    with (folder / LOCK_FILE).open("a+") as lock:
        end = time.monotonic() + 2 * LAST_RESORT_SECONDS
        while not _taken(lock):
            if time.monotonic() > end:
                _kill_holder(lock)
            time.sleep(0.1)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _taken(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _kill_holder(lock: TextIO) -> None:
    lock.seek(0)
    holder = lock.read()
    if holder.isdecimal():  # it holds the lock, so it lives, and the number is still its own
        with suppress(ProcessLookupError):
            os.kill(int(holder), signal.SIGKILL)
