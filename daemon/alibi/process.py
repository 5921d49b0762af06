"""One process in which alibi-detect runs: started, asked, limited in time and memory, and ended."""

import json
import os
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

HANDED_DOWN: Final = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
"""Of the daemon's environment; settings and secrets are not among it."""
ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
LENGTH: Final = struct.Struct(">I")
MOST_BYTES: Final = 64 << 20
"""Of an answer."""
TAIL_CHARACTERS: Final = 300


class ChildFailed(Exception):
    """The process could not be started, ended, took too long, or answered what makes no sense."""


class Refused(Exception):
    """It answered that it cannot do what it was asked for."""


class Process:
    """A running process. Whoever makes one has to ``kill`` it; it ends with this process in any case."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start ``command``. Raises ChildFailed."""
        self._folder = tempfile.TemporaryDirectory(prefix="driftd-alibi-", ignore_cleanup_errors=True)
        home = Path(self._folder.name)
        environment = {name: os.environ[name] for name in HANDED_DOWN if name in os.environ}
        environment |= dict.fromkeys(ONE_THREAD, "1")
        environment |= {"HOME": str(home), "TMPDIR": str(home), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
        self._said = home / "said.log"
        self._channel, theirs = socket.socketpair()
        try:
            with theirs, self._said.open("wb") as said:
                self._process = subprocess.Popen(
                    command,
                    stdin=theirs.fileno(),
                    stdout=said,
                    stderr=said,
                    env=environment,
                    cwd=home,
                    start_new_session=True,
                )
        except OSError as error:
            self._channel.close()
            self._folder.cleanup()
            raise ChildFailed(f"{command[0]} cannot be started: {error.strerror}") from None

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def ask(self, question: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Ask and wait for the answer. Raises Refused, and ChildFailed, after which it is of no use any more."""
        body = json.dumps(question).encode()
        until = time.monotonic() + seconds
        try:
            self._channel.settimeout(seconds)
            self._channel.sendall(LENGTH.pack(len(body)) + body)
            (size,) = LENGTH.unpack(self._receive(LENGTH.size, until))
            if size > MOST_BYTES:
                raise ChildFailed(f"answered with {size:,} bytes")
            answer = json.loads(self._receive(size, until))
        except TimeoutError:
            raise ChildFailed(f"did not answer within {seconds:g} s") from None
        except (OSError, EOFError):
            raise ChildFailed(self._last_words()) from None
        except ValueError:
            raise ChildFailed("answered what is no JSON") from None
        if not isinstance(answer, dict):
            raise ChildFailed("answered what is no JSON object")
        if "error" in answer:
            raise Refused(str(answer["error"])[:TAIL_CHARACTERS])
        return answer

    def _receive(self, size: int, until: float) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            self._channel.settimeout(max(until - time.monotonic(), 0.001))
            part = self._channel.recv(min(size - len(parts), 1 << 20))
            if not part:
                raise EOFError
            parts += part
        return bytes(parts)

    def _last_words(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        lines: list[str] = []
        with suppress(OSError):  # it is gone with whoever was killed
            lines = self._said.read_text(errors="replace").strip().splitlines()
        why = f": {lines[-1][:TAIL_CHARACTERS]}" if lines else ""
        return f"ended with {self._process.returncode}{why}"

    def kill(self) -> None:
        """End it, and wait until it has."""
        # the socket first: whoever waits for an answer hears of it
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        self._process.kill()
        self._process.wait()
        self._channel.close()
        self._folder.cleanup()
