"""The two processes of the demo: the daemon, as anybody would start it, and the model in service."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from daemon.client import Client, NoAnswer, Refused

START_SECONDS = 60.0
STOP_SECONDS = 20.0


class DidNotStart(RuntimeError):
    """A process of the demo ended, or said nothing, before it was ready."""


class Daemon:
    """`driftd run` with the demo's settings, its log in a file."""

    def __init__(self, folder: Path, port: int | None) -> None:
        self.port = port or _free_port()
        self.log = folder / "daemon.log"
        self.current = folder / "deployed" / "loans" / "current"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DRIFTD_")}
        # somebody who has set up Slack sees the demo's messages there
        environment |= {name: value for name, value in os.environ.items() if name.startswith("DRIFTD_SLACK_")}
        environment |= {
            "DRIFTD_DATA_DIR": str(folder),
            "DRIFTD_HTTP_PORT": str(self.port),
            "DRIFTD_LOG_FORMAT": "json",
            "DRIFTD_DEPLOY__DEPLOYER": "symlink",
            "DRIFTD_DEPLOY__DIRECTORY": str(folder / "deployed"),
            "DRIFTD_RETRAIN__COOLDOWN_SECONDS": "0",  # two minutes stand for months
            "DRIFTD_ALERTS__GROUP_SECONDS": "0.5",
        }
        self._file = self.log.open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-m", "daemon", "run"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=subprocess.STDOUT,
        )
        self.client = Client(f"http://127.0.0.1:{self.port}")
        self._read = 0

    def wait_until_ready(self) -> None:
        """Raises DidNotStart, with the end of its log, where it does not get ready."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            try:
                self.client.get("readyz")
            except (NoAnswer, Refused, ValueError):
                time.sleep(0.1)
            else:
                return
        raise DidNotStart(f"the daemon did not get ready:\n{self.log.read_text()[-2_000:]}")

    def new_log_lines(self) -> list[dict[str, Any]]:
        """What it has logged since the last call."""
        with self.log.open("rb") as file:
            file.seek(self._read)
            lines = file.read().split(b"\n")
        self._read += sum(len(line) + 1 for line in lines[:-1])
        found = []
        for line in lines[:-1]:
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def stop(self) -> int:
        """Stop it as systemd would. Returns its exit code."""
        self._process.terminate()
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._file.close()
        return code


class ModelService:
    """The model in service; ``report`` is called, in a thread, with what it says of each hundred applications."""

    def __init__(self, daemon: Daemon, report: Callable[[dict[str, Any]], None]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-m", "daemon.demo.service", daemon.client.url, str(daemon.current)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ready = threading.Event()
        self._report = report
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            said = json.loads(line)
            if "ready" in said:
                self._ready.set()
            else:
                self._report(said)

    def wait_until_ready(self) -> None:
        """Raises DidNotStart."""
        if not self._ready.wait(START_SECONDS):
            raise DidNotStart("the model's service did not get ready")

    def order(self, **change: object) -> None:
        """Change the phase of the world, or the rate."""
        if self._process.stdin is not None and self._process.poll() is None:
            self._process.stdin.write(json.dumps(change) + "\n")
            self._process.stdin.flush()

    def stop(self) -> None:
        """End it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
