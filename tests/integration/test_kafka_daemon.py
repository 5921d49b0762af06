"""The daemon on Kafka, as it is run: its senders do not notice."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from kafka_broker import PASSWORD, USER, Broker
from seeded_events import traffic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 60.0


class Running:
    """`driftd run` on a data folder."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "daemon.log"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("DRIFTD_")}
        self.environment |= {"DRIFTD_DATA_DIR": str(folder), "DRIFTD_HTTP_PORT": str(port), **settings}
        self.process: subprocess.Popen[bytes] | None = None

    def driftd(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-I", "-m", "daemon", *arguments]
        return subprocess.run(
            command, env=self.environment, capture_output=True, timeout=PATIENCE, check=False, **options
        )

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-I", "-m", "daemon", "run"]
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        self.until(lambda: self.get("/readyz") is not None)

    def get(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.read()
        except OSError:
            return None

    def counts(self) -> dict[str, int]:
        models = json.loads(self.get("/v1/status"))["models"]
        return {**models[0]["events"], "joined": models[0]["joined"]} if models else {}

    def until(self, true: Any) -> None:
        give_up = time.monotonic() + PATIENCE
        while not true():
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > give_up:
                pytest.fail(self.log.read_text()[-4000:])
            time.sleep(0.05)

    def end(self, how: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(30)


@pytest.fixture
def running(kafka: Broker, tmp_path: Path) -> Iterator[Running]:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    settings = {
        "DRIFTD_BROKER": f"kafka+ssl://{kafka.address('SASL_SSL')}",
        "DRIFTD_TOPICS": f"events.{secrets.token_hex(4)}",
        "DRIFTD_KAFKA__GROUP": f"group.{secrets.token_hex(4)}",
        "DRIFTD_KAFKA__USERNAME": USER,
        "DRIFTD_KAFKA__PASSWORD_FILE": str(tmp_path / "password"),
        "DRIFTD_KAFKA__CA": str(kafka.ca),
        "DRIFTD_KAFKA__PARTITIONS": "2",
    }
    one = Running(tmp_path, settings)
    yield one
    if one.process is not None and one.process.poll() is None:
        one.end(signal.SIGKILL)


def test_what_is_sent_is_counted_once_through_a_kill_and_a_restart(running: Running) -> None:
    log = traffic(200)
    running.start()
    sent = running.driftd("send", "-", input=b"\n".join(log[:100]))
    assert sent.returncode == 0, sent.stderr
    request = urllib.request.Request(f"{running.url}/v1/events", b"\n".join(log[100:200]))
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert (answer.status, json.loads(answer.read())["accepted"]) == (202, 100)
    assert running.end(signal.SIGKILL) == -signal.SIGKILL
    running.start()
    sent = running.driftd("send", "-", input=b"\n".join(log[200:]))
    assert sent.returncode == 0, sent.stderr
    labels = sum(b'"label"' in line and b'"prediction"' not in line for line in log)
    expected = {"prediction": 200, "label": labels, "features": 0, "joined": labels}
    running.until(lambda: running.counts() == expected)
    assert running.end(signal.SIGTERM) == 0
    text = running.log.read_text()
    assert PASSWORD not in text
    assert "Traceback" not in text
    assert "Unclosed" not in text


def test_a_daemon_that_finds_no_broker_waits_and_ends_to_be_started_again(tmp_path: Path) -> None:
    one = Running(tmp_path, {"DRIFTD_BROKER": "kafka://127.0.0.1:1", "DRIFTD_KAFKA__WAIT_SECONDS": "0.1"})
    ended = one.driftd("run")
    assert ended.returncode == os.EX_TEMPFAIL
    said = (ended.stdout + ended.stderr).decode()
    assert "waits for the broker" in said
    assert said.count("no Kafka broker can be reached") == 2


def test_a_missing_topic_ends_the_daemon_for_good(running: Running) -> None:
    running.environment["DRIFTD_KAFKA__CREATE_TOPICS"] = "false"
    ended = running.driftd("run")
    assert ended.returncode == os.EX_CONFIG
    assert b"kafka-topics.sh --bootstrap-server" in ended.stdout + ended.stderr


def test_the_doctor_looks_at_the_broker(running: Running) -> None:
    def broker() -> dict[str, Any]:
        findings = json.loads(running.driftd("doctor", "--json").stdout)["findings"]
        return next(one for one in findings if one["what"] == "broker")

    assert (broker()["well"], "has no events." in broker()["detail"]) == (True, True)
    running.environment["DRIFTD_KAFKA__CREATE_TOPICS"] = "false"
    assert not broker()["well"]
    running.environment["DRIFTD_KAFKA__USERNAME"] = "somebody"
    assert "DRIFTD_KAFKA__USERNAME" in broker()["detail"]
