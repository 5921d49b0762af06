"""The daemon as `driftd run` starts it: a process, an address, a data folder."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 60.0


class DaemonProcess:
    """One that can be killed and started again on the same folder."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.log = folder / "daemon.log"
        self._port = _free_port()
        self._environment = os.environ | settings
        self._environment |= {"DRIFTD_DATA_DIR": str(folder / "data"), "DRIFTD_HTTP_PORT": str(self._port)}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self.begin()
        self.until(lambda: self.get("/readyz")[0] == 200)

    def begin(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            command = [sys.executable, "-I", "-m", "daemon", "run"]
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it. Returns its exit code."""
        self.signal(how)
        return self.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def wait(self) -> int:
        """Wait until it has ended. Returns its exit code."""
        assert self._process is not None
        return self._process.wait(PATIENCE_SECONDS)

    def kill_if_running(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def driftd(self, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
        """Run a command beside it, with its settings."""
        command = [sys.executable, "-I", "-m", "daemon", *arguments]
        return subprocess.run(
            command, env=self._environment, capture_output=True, timeout=PATIENCE_SECONDS, check=False
        )

    def get(self, path: str) -> tuple[int, Any]:
        """Status (0 where nobody answers) and answer."""
        return self._ask(urllib.request.Request(self._url(path)))

    def post(self, lines: bytes) -> tuple[int, Any]:
        """Send events."""
        return self._send("/v1/events", lines, "application/x-ndjson")

    def ask_for_a_retrain(self, model: str) -> tuple[int, Any]:
        """By HTTP, where DRIFTD_API_TOKEN is set."""
        asked = json.dumps({"by": "a test", "reason": "it is time"}).encode()
        return self._send(f"/v1/models/{model}/retrain", asked, "application/json")

    def _send(self, path: str, body: bytes, kind: str) -> tuple[int, Any]:
        headers = {"Content-Type": kind}
        if "DRIFTD_API_TOKEN" in self._environment:
            headers["Authorization"] = f"Bearer {self._environment['DRIFTD_API_TOKEN']}"
        return self._ask(urllib.request.Request(self._url(path), body, headers, method="POST"))

    def insist(self, lines: bytes) -> None:
        """Send events until they are accepted."""
        self.until(lambda: self.post(lines)[0] == 202)

    def until(self, holds: Any) -> None:
        """Wait until something holds."""
        ends = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            assert time.monotonic() < ends, self.log.read_text()[-3_000:]
            assert self._process is None or self._process.poll() is None, self.log.read_text()[-3_000:]
            time.sleep(0.02)

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._port}{path}"

    def _ask(self, request: urllib.request.Request) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, _decoded(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, _decoded(error.read())
        except OSError:
            return 0, None


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
