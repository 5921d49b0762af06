"""A daemon of its own for a benchmark: started, asked, killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

READY_SECONDS = 60.0


class RunningDaemon:
    """`driftd run` on a data folder and a free port."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._settings = settings
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0

    def start(self) -> float:
        """Start it. Returns the seconds until it was ready."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DRIFTD_")}
        environment |= {"DRIFTD_DATA_DIR": str(self.folder), "DRIFTD_HTTP_PORT": str(self.port), **self._settings}
        began = time.perf_counter()
        with (self.folder / "daemon.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-m", "daemon", "run"], env=environment, stdout=log, stderr=log
            )
        while time.perf_counter() - began < READY_SECONDS and self.process.poll() is None:
            try:
                self.get("/readyz")
            except OSError:
                time.sleep(0.01)
            else:
                return time.perf_counter() - began
        raise RuntimeError((self.folder / "daemon.log").read_text()[-3000:])

    def kill(self) -> None:
        """As the kernel does when memory is short."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """As systemd does."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    def resident_mb(self) -> float:
        """Resident memory, in MB."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1e3

    def get(self, path: str) -> Any:
        """GET, decoded where it is JSON."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            body = answer.read()
            return json.loads(body) if "json" in answer.headers.get("Content-Type", "") else body

    def post(self, body: bytes) -> dict[str, Any]:
        """POST NDJSON events, again while the daemon is busy or away."""
        request = urllib.request.Request(
            self.url + "/v1/events", body, {"Content-Type": "application/x-ndjson"}, method="POST"
        )
        while True:
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return dict(json.load(answer))
            except urllib.error.HTTPError as error:
                if error.code not in (429, 503):
                    raise
                time.sleep(float(error.headers.get("Retry-After") or 0.2))

    def model(self, name: str) -> dict[str, Any]:
        """The status of a model."""
        return dict(self.get(f"/v1/models/{name}"))

    def wait_until_processed(self, seconds: float = 120.0) -> None:
        """Wait until nothing that was accepted is unprocessed."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            models = self.get("/v1/status")["models"]
            if models and all(one["lag"] == 0 for one in models):
                time.sleep(0.5)  # the checkpoint after the last batch
                return
            time.sleep(0.05)
        raise TimeoutError("events were left unprocessed")


@contextmanager
def daemon(**settings: str) -> Iterator[RunningDaemon]:
    """A ready daemon in a folder that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="driftd-bench-") as folder:
        running = RunningDaemon(Path(folder), **settings)
        running.start()
        try:
            yield running
        finally:
            if running.process is not None and running.process.poll() is None:
                running.stop()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
