"""Runs a command of the user's: as an argument list, without our secrets, for a bounded time, with all it starts."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

GRACE_SECONDS: Final = 2.0
"""Time to end after SIGTERM, before SIGKILL."""
LAST_LINES: Final = 12
LAST_BYTES: Final = 4096
KEPT_FROM_COMMANDS: Final = ("DRIFTD_", "CREDENTIALS_DIRECTORY")
"""Our settings hold tokens and the database's password; no command needs them."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended. ``code`` is None where it ran out of time and was killed; negative: killed by a signal."""

    code: int | None
    log: str
    """The last lines that it wrote."""


def run(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    seconds: float | None,
    log: Path,
    directory: Path | None = None,
) -> Finished:
    """Run ``arguments`` in a process group of its own, output going to the file ``log``.

    Whatever ends the wait, be it the limit of ``seconds`` or an exception, the whole group is ended with it. The limits
    on memory are those of this process. Raises OSError where the command cannot be started.
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
    with _ended(process):
        try:
            code: int | None = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            code = None
    return Finished(code, last_lines(log))


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


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=GRACE_SECONDS)
    # also when the first process has gone: its children may not have
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
