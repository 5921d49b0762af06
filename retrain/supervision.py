"""Keeps a retrain within its limits and ends it when it must end: memory, time, a signal, or the daemon's death."""

import fcntl
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from retrain.base import Reason
from retrain.job import Limits

LAST_RESORT_SECONDS: Final = 5.0
"""After which a retrain that was told to end, and has not, is ended without further ceremony."""
LOOK_SECONDS: Final = 1.0
LOCK_FILE: Final = "lock"
NICENESS: Final = 10
"""The daemon's event loop goes before."""


class Interrupted(BaseException):
    """The retrain has to end now."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def limit_memory(limits: Limits) -> None:
    """Let allocations beyond the limit fail, here and in every command that is run from here.

    Linux counts private writable memory against RLIMIT_DATA, and not, as against RLIMIT_AS, every library that is
    mapped and every address range that is set aside.
    """
    limit = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS
    size = limits.memory_mb * 1024 * 1024
    _, hard = resource.getrlimit(limit)
    try:
        resource.setrlimit(limit, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard))
    except (OSError, ValueError):
        return  # macOS knows the limit and refuses to set it


@contextmanager
def interruptible(limits: Limits, last_words: Callable[[Reason], None]) -> Iterator[None]:
    """Inside, time-out, SIGTERM, SIGINT and the death of the parent raise ``Interrupted`` in this thread.

    If the block does not end soon after, ``last_words`` is called and the process exits. A signal is noticed between
    two steps of the interpreter; scikit-learn's are shorter than a second or two on the rows of a retrain.
    """
    first: list[Reason] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        if first:
            if number == signal.SIGALRM:
                last_words(first[0])
                os._exit(1)
            return
        first.append(Reason.TIMED_OUT if number == signal.SIGALRM else Reason.STOPPED)
        signal.setitimer(signal.ITIMER_REAL, LAST_RESORT_SECONDS)
        raise Interrupted(first[0])

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, interrupt)
    signal.setitimer(signal.ITIMER_REAL, limits.seconds)
    done = threading.Event()
    threading.Thread(target=_watch_parent, args=(os.getppid(), done), daemon=True).start()
    try:
        yield
    finally:
        done.set()
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other retrain works in ``folder``: one that a killed daemon left behind ends within seconds."""
    with (folder / LOCK_FILE).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _watch_parent(parent: int, done: threading.Event) -> None:
    while not done.wait(LOOK_SECONDS):
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)
            return
