"""The daemon itself on a PostgreSQL server: killed, and left without its server, it loses and doubles nothing."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from daemon_process import DaemonProcess
from databases import Postgresql
from postgresql_server import NoServer, server

PASSWORD = "not to be seen: s3cr@t/word"
BODY = 100


@pytest.fixture(scope="module")
def own() -> Iterator[Postgresql]:
    """Stores on a server that a test may stop, whose user needs a password."""
    try:
        with server() as running:
            databases = Postgresql(running)
            databases.sql(f"alter user driftd password '{PASSWORD}'")
            rights = "host postgres,driftd_template all 127.0.0.1/32 trust", "host all all 127.0.0.1/32 scram-sha-256"
            running.admit(*rights)
            running.stop()
            running.start()
            yield databases
    except NoServer as absent:
        pytest.skip(str(absent))


@pytest.fixture
def daemon(own: Postgresql, tmp_path: Path) -> Iterator[DaemonProcess]:
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n")
    settings = {"DRIFTD_DATABASE_URL": own.nothing(tmp_path), "DRIFTD_DATABASE_PASSWORD_FILE": str(secret)}
    settings |= {"DRIFTD_MODE": "observe", "DRIFTD_REFERENCE_ROWS": "500", "DRIFTD_SHUTDOWN_SECONDS": "2"}
    daemon = DaemonProcess(tmp_path, **settings)
    yield daemon
    daemon.kill_if_running()
    assert PASSWORD not in daemon.log.read_text()
    assert "s3cr%40t" not in daemon.log.read_text()


def bodies(model: str, rows: int) -> list[bytes]:
    """Events of a model whose feature moves by a standard deviation half of the way, with labels for all."""
    values = Random(5)
    lines = []
    for row in range(rows):
        x = values.gauss(1.0 if row >= rows // 2 else 0.0, 1)
        about = {"id": str(row), "model": model, "ts": row}
        lines.append(json.dumps(about | {"features": {"x": x}, "prediction": row % 2}))
        lines.append(json.dumps(about | {"type": "label", "label": row % 2}))
    return ["\n".join(lines[start : start + BODY]).encode() for start in range(0, len(lines), BODY)]


def outcome(daemon: DaemonProcess, model: str, rows: int) -> dict[str, Any]:
    """What must be the same however often it was interrupted, once every event is in it."""

    def counts() -> dict[str, Any]:
        status, found = daemon.get(f"/v1/models/{model}")
        return found if status == 200 else {}

    daemon.until(lambda: counts().get("joined") == rows)
    names = ("events", "joined", "waiting", "duplicates", "dead_letters", "alarms")
    found = {name: counts()[name] for name in names}
    items = daemon.get(f"/v1/models/{model}/alarms?order=asc")[1]["items"]
    found["raised"] = [(one["kind"], one["signal"], one["row"], one["change_row"]) for one in items]
    return found


@pytest.fixture
def unbroken(daemon: DaemonProcess) -> dict[str, Any]:
    """What comes of a run that nothing interrupts."""
    daemon.start()
    for body in bodies("unbroken", 3_000):
        daemon.insist(body)
    found = outcome(daemon, "unbroken", 3_000)
    assert found["alarms"]["total"] >= 1
    assert found["events"] == {"prediction": 3_000, "features": 0, "label": 3_000}
    return found


def test_killed_under_load_it_comes_to_the_same(daemon: DaemonProcess, unbroken: dict[str, Any]) -> None:
    for number, body in enumerate(bodies("killed", 3_000)):
        daemon.insist(body)
        if number in {7, 20, 41}:
            daemon.end(signal.SIGKILL)
            daemon.start()
    assert outcome(daemon, "killed", 3_000) == unbroken
    assert daemon.end() == 0


def test_without_its_server_it_says_so_takes_events_and_goes_on_by_itself(
    daemon: DaemonProcess, unbroken: dict[str, Any], own: Postgresql
) -> None:
    sent = bodies("alone", 3_000)
    for body in sent[:20]:
        daemon.insist(body)
    own.server.stop(signal.SIGQUIT)
    for body in sent[20:40]:
        assert daemon.post(body)[0] == 202
    daemon.until(lambda: "the store does not answer" in str(daemon.get("/readyz")))
    assert daemon.get("/readyz")[0] == 503
    assert daemon.get("/livez")[0] == 200
    assert "driftd_events_total" in daemon.get("/metrics")[1]
    status, page = daemon.get("/")
    assert status == 503
    assert "the store does not answer" in str(page)
    own.server.start()
    for body in sent[40:]:
        assert daemon.post(body)[0] == 202
    daemon.until(lambda: daemon.get("/readyz")[0] == 200)
    assert outcome(daemon, "alone", 3_000) == unbroken


def test_it_can_be_told_to_stop_while_it_waits_for_its_server(daemon: DaemonProcess, own: Postgresql) -> None:
    own.server.stop()
    daemon.begin()
    daemon.until(lambda: "waits for the store" in daemon.log.read_text())
    code = daemon.end()
    own.server.start()
    assert code == 0
    assert "Traceback" not in daemon.log.read_text()


def test_it_waits_for_a_server_that_starts_later(daemon: DaemonProcess, own: Postgresql) -> None:
    own.server.stop()
    daemon.begin()
    daemon.until(lambda: "waits for the store" in daemon.log.read_text())
    own.server.start()
    daemon.until(lambda: daemon.get("/readyz")[0] == 200)
    own.server.stop(signal.SIGQUIT)
    daemon.insist(bodies("unsaved", 50)[0])
    assert daemon.end() == 0  # it has nowhere to write to, and ends all the same
    own.server.start()
    daemon.start()
    daemon.until(lambda: daemon.get("/v1/models/unsaved")[0] == 200)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"DRIFTD_DATABASE_PASSWORD": "wrong"}, "password authentication failed"),
        ({}, "DRIFTD_DATABASE_PASSWORD_FILE"),
        ({"DRIFTD_DATABASE_URL": "{url}?sslmode=sometimes"}, "sslmode"),
        ({"DRIFTD_DATABASE_URL": "{url}?connect_timeout=soon"}, "connect_timeout=soon"),
        ({"DRIFTD_DATABASE_URL": "{url}_of_others", "DRIFTD_DATABASE_PASSWORD": PASSWORD}, "does not exist"),
    ],
)
def test_what_no_waiting_mends_ends_it_with_what_to_change(
    own: Postgresql, tmp_path: Path, settings: dict[str, str], says: str
) -> None:
    url = own.nothing(tmp_path)
    given = {"DRIFTD_DATABASE_URL": url} | {name: value.format(url=url) for name, value in settings.items()}
    daemon = DaemonProcess(tmp_path, **given)
    daemon.begin()
    assert daemon.wait() == 78
    last = daemon.log.read_text().splitlines()[-1]
    assert says in last
    assert "Traceback" not in daemon.log.read_text()
