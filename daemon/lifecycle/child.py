"""Runs a retrain as a child process, in a process group of its own, and follows how far it is."""

import asyncio
import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOG_FILE: Final = "retrain.log"
READ_BYTES: Final = 65_536
LONGEST_LINE_BYTES: Final = 65_536
LOOK_SECONDS: Final = 2.0
"""How long to listen before looking whether there is anybody left to speak."""
LAST_WORDS_SECONDS: Final = 8.0
"""From being asked to end until being ended; the child itself takes at most 5 to write its result."""
TAIL_BYTES: Final = 2_000
OURS: Final = "DRIFTD_"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a retrain is: ``done`` is a share of ``stage``, ``rows`` the labelled rows it has, where it says so."""

    stage: str
    done: float
    text: str
    rows: int | None = None


class Child:
    """One running retrain. Whoever starts it has to ``end`` it, whatever happens."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self._process = process
        self._folder = folder

    @classmethod
    async def start(cls, command: Sequence[str], folder: Path, own: Mapping[str, str] | None = None) -> "Child":
        """Start ``command FOLDER``; what it says besides its progress goes to a log in the folder. Raises OSError.

        The daemon's own settings, and so its secrets, are not handed down, but for the variables ``own``.
        """
        environment = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        environment |= own or {}
        with (folder / LOG_FILE).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                str(folder),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        return cls(process, folder)

    async def follow(self, tell: Callable[[Progress], None]) -> int:
        """Wait for the end and return the exit code, negative for a signal; ``tell`` is called for each line."""
        stream = self._process.stdout
        assert stream is not None  # noqa: S101 (it was asked for)
        rest = b""
        while True:
            try:
                block = await asyncio.wait_for(stream.read(READ_BYTES), LOOK_SECONDS)
            except TimeoutError:
                if self._process.returncode is not None:
                    self.kill()  # what it left behind keeps its output open
                continue
            if not block:
                return await self._process.wait()
            *lines, rest = (rest + block).split(b"\n")
            for progress in _read(lines):
                tell(progress)
            if len(rest) > LONGEST_LINE_BYTES:
                rest = b""

    async def end(self) -> None:
        """Ask the group to end, and make it: afterwards no process of it is left. Does nothing where it has ended."""
        if self._process.returncode is None:
            self._signal(signal.SIGTERM)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), LAST_WORDS_SECONDS)
        self.kill()
        await self._process.wait()

    def kill(self) -> None:
        """End the whole group at once."""
        self._signal(signal.SIGKILL)

    def log_tail(self) -> str:
        """Return the last lines of its log."""
        with suppress(OSError), (self._folder / LOG_FILE).open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(log.tell() - TAIL_BYTES, 0))
            return log.read().decode(errors="replace").strip()
        return ""

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def _read(lines: list[bytes]) -> Iterator[Progress]:
    """Progress lines; a trainer may print what it likes between them."""
    for line in lines:
        with suppress(ValueError, TypeError, KeyError):
            found = json.loads(line)
            said = (str(found["stage"]), float(found["done"]), str(found.get("text", "")))
            rows = found.get("rows")
            yield Progress(*said, None if rows is None else int(rows))
