"""Runs a command of the user's: as an argument list, without our secrets, for a bounded time, with all it starts."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from retrain.memory import MIB, group_private_bytes

LOOK_SECONDS: Final = 0.5
"""Between two looks at the memory of a command."""
GRACE_SECONDS: Final = 2.0
"""Time to end after SIGTERM, before SIGKILL."""
LAST_LINES: Final = 12
LAST_BYTES: Final = 4096
KEPT_FROM_COMMANDS: Final = ("DRIFTD_", "CREDENTIALS_DIRECTORY")
"""Our settings hold tokens and the database's password; no command needs them."""


_running: Final[set[int]] = set()
"""Groups of the commands that have not ended."""


class Ended(StrEnum):
    """Who ended a command."""

    ITSELF = "itself"
    TIME = "time"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended. ``code`` is negative where a signal killed it."""

    by: Ended
    code: int
    log: str
    """The last lines that it wrote."""


def run(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    seconds: float | None = None,
    memory_mb: int | None = None,
    directory: Path | None = None,
) -> Finished:
    """Run ``arguments`` in a process group of its own, output going to the file ``log``.

    Whatever ends the wait, be it the limit of ``seconds``, that of ``memory_mb`` for the whole group (on Linux), or an
    exception, the whole group is ended with it. Raises OSError where the command cannot be started.
    """
    with log.open("wb") as sink:
        process = subprocess.Popen(
            list(arguments),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=_environment(environment),
            cwd=directory,
            start_new_session=True,
        )
    _running.add(process.pid)
    with _ended(process):
        by = _wait(process, seconds, memory_mb)
    return Finished(by, process.returncode, last_lines(log))


def _wait(process: "subprocess.Popen[bytes]", seconds: float | None, memory_mb: int | None) -> Ended:
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        left = LOOK_SECONDS if end is None else end - time.monotonic()
        if left <= 0:
            return Ended.TIME
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=min(left, LOOK_SECONDS))
            return Ended.ITSELF
        if memory_mb is not None and group_private_bytes(process.pid) > memory_mb * MIB:
            return Ended.MEMORY


def kill_running() -> None:
    """Kill every command that runs, for a process that ends without further ceremony."""
    for group in tuple(_running):
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def last_lines(log: Path) -> str:
    """The end of a log, for an error message."""
    with log.open("rb") as source:
        source.seek(0, os.SEEK_END)
        source.seek(max(source.tell() - LAST_BYTES, 0))
        lines = source.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-LAST_LINES:]).strip()


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(KEPT_FROM_COMMANDS)}
    return inherited | dict(extra)


@contextmanager
def _ended(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Nothing of the command's group is left where it did not end by itself."""
    try:
        yield
    finally:
        if process.returncode is None:
            _end_group(process)
        _running.discard(process.pid)


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=GRACE_SECONDS)
    # also when the first process has gone: its children may not have
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
