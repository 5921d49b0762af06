"""What single deployers promise beyond what all of them do."""

import hashlib
import hmac
import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from retrain.base import DeployError, DeployReason
from retrain.deployers.command import CommandDeployer
from retrain.deployers.settings import DeployerSettings
from retrain.deployers.symlink import SymlinkDeployer
from retrain.deployers.webhook import ATTEMPTS, LONGEST_WAIT_SECONDS, WebhookDeployer
from retrain.registry import Registry

TOKEN = "s3cret-token"


@pytest.fixture
def version(tmp_path: Path) -> Path:
    files = tmp_path / "candidate"
    files.mkdir()
    (files / "model.bin").write_text("weights")
    registry = Registry(tmp_path / "models")
    registry.publish(files, model="loans", version="2", job="1", created=0.0, details={}, card="")
    return registry.path("loans", "2")


@dataclass
class Receiver:
    """A service that answers as it is told, the last answer for ever."""

    answers: list[tuple[int, dict[str, str]]] = field(default_factory=lambda: [(200, {})])
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0

    def deployer(self, waits: list[float] | None = None, path: str = "/hook") -> WebhookDeployer:
        settings = DeployerSettings(url=f"http://127.0.0.1:{self.port}{path}", token=TOKEN)
        return WebhookDeployer(settings, wait=([] if waits is None else waits).append)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("no_proxy", "*")
    told = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.requests.append((dict(self.headers), body))
            code, headers = told.answers.pop(0) if len(told.answers) > 1 else told.answers[0]
            if code == 0:  # hang up without a word
                return
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(f"you said {self.headers['Authorization']}".encode())

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name in the standard library)
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.port = server.server_port
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield told
        server.shutdown()


def test_webhook_says_what_to_serve_and_proves_who_says_it(receiver: Receiver, version: Path) -> None:
    receiver.deployer().deploy("loans", "2", version)
    ((headers, body),) = receiver.requests
    said = json.loads(body)
    assert (said["model"], said["version"], said["path"]) == ("loans", "2", str(version))
    assert said["files"]["model.bin"]["bytes"] == 7
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["X-Driftd-Signature"] == "sha256=" + hmac.new(TOKEN.encode(), body, hashlib.sha256).hexdigest()
    assert headers["Content-Type"] == "application/json"


def test_webhook_tries_again_with_the_same_key_and_waits_longer_each_time(receiver: Receiver, version: Path) -> None:
    receiver.answers = [(503, {}), (0, {}), (500, {}), (204, {})]
    waits: list[float] = []
    receiver.deployer(waits).deploy("loans", "2", version)
    assert waits == [0.5, 1.0, 2.0]
    assert len({headers["Idempotency-Key"] for headers, _ in receiver.requests}) == 1


def test_webhook_waits_as_long_as_it_is_asked_to_within_reason(receiver: Receiver, version: Path) -> None:
    receiver.answers = [(429, {"Retry-After": "7"}), (503, {"Retry-After": "86400"}), (200, {})]
    waits: list[float] = []
    receiver.deployer(waits).deploy("loans", "2", version)
    assert waits == [7.0, LONGEST_WAIT_SECONDS]


def test_webhook_gives_up(receiver: Receiver, version: Path) -> None:
    receiver.answers = [(502, {})]
    with pytest.raises(DeployError, match="502") as raised:
        receiver.deployer().deploy("loans", "2", version)
    assert raised.value.reason is DeployReason.REFUSED
    assert len(receiver.requests) == ATTEMPTS


@pytest.mark.parametrize("code", [400, 401, 404, 301, 307])
def test_webhook_does_not_insist_on_what_is_refused(receiver: Receiver, version: Path, code: int) -> None:
    receiver.answers = [(code, {"Location": f"http://127.0.0.1:{receiver.port}/elsewhere"})]
    with pytest.raises(DeployError, match=str(code)) as raised:
        receiver.deployer(path=f"/{TOKEN}/hook").deploy("loans", "2", version)
    assert len(receiver.requests) == 1
    assert TOKEN not in raised.value.message  # the service echoes it
    assert "[hidden]" in raised.value.message


def test_webhook_that_nobody_answers(receiver: Receiver, version: Path) -> None:
    receiver.answers = [(0, {})]
    waits: list[float] = []
    with pytest.raises(DeployError) as raised:
        receiver.deployer(waits).deploy("loans", "2", version)
    assert raised.value.reason is DeployReason.UNREACHABLE
    assert len(waits) == ATTEMPTS - 1


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/", "http://", "host/path", ""])
def test_webhook_takes_only_web_addresses(url: str) -> None:
    with pytest.raises(DeployError) as raised:
        WebhookDeployer(DeployerSettings(url=url))
    assert raised.value.reason is DeployReason.BAD_SETTING


def test_symlink_keeps_the_previous_version(tmp_path: Path) -> None:
    deployer = SymlinkDeployer(DeployerSettings(directory=tmp_path))
    versions = [tmp_path / name for name in ("one", "two")]
    for path in versions:
        path.mkdir()
    first = deployer.deploy("loans", "1", versions[0])
    again = deployer.deploy("loans", "1", versions[0])
    assert (first.changed, again.changed) == (True, False)
    assert not (tmp_path / "loans" / "previous").exists()
    deployer.deploy("loans", "2", versions[1])
    assert (tmp_path / "loans" / "current").resolve() == versions[1]
    assert (tmp_path / "loans" / "previous").resolve() == versions[0]
    assert sorted(one.name for one in (tmp_path / "loans").iterdir()) == ["current", "previous"]


def test_symlink_never_leaves_a_gap_for_whoever_reads(tmp_path: Path) -> None:
    deployer = SymlinkDeployer(DeployerSettings(directory=tmp_path))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model").write_text(name)
    deployer.deploy("loans", "one", tmp_path / "one")
    done = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        while not done.is_set():
            try:
                assert (tmp_path / "loans" / "current" / "model").read_text() in {"one", "two"}
            except BaseException as error:  # noqa: BLE001 (told to the test)
                failures.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(60):
        for name in ("two", "one"):
            deployer.deploy("loans", name, tmp_path / name)
    done.set()
    reader.join()
    assert not failures


def test_symlink_does_not_replace_what_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "loans" / "current").mkdir(parents=True)
    with pytest.raises(DeployError, match="not a symbolic link") as raised:
        SymlinkDeployer(DeployerSettings(directory=tmp_path)).deploy("loans", "2", tmp_path)
    assert raised.value.reason is DeployReason.NOT_WRITABLE


def test_symlink_keeps_model_names_inside_its_folder(tmp_path: Path) -> None:
    directory = tmp_path / "deployed"
    SymlinkDeployer(DeployerSettings(directory=directory)).deploy("../../escape", "2", tmp_path)
    assert [one.parent for one in directory.iterdir()] == [directory]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["deployed"]


def test_command_is_killed_when_it_takes_too_long(tmp_path: Path) -> None:
    slow = DeployerSettings(command=(sys.executable, "-c", "import time; time.sleep(600)"), timeout_seconds=0.3)
    begin = time.monotonic()
    with pytest.raises(DeployError, match=r"longer than 0\.3 s") as raised:
        CommandDeployer(slow).deploy("loans", "2", tmp_path)
    assert raised.value.reason is DeployReason.TIMED_OUT
    assert time.monotonic() - begin < 30


def test_command_failures_are_quoted(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="quota exceeded") as raised:
        CommandDeployer(DeployerSettings(command=(sys.executable, "-c", "exit('quota exceeded')"))).deploy(
            "loans", "2", tmp_path
        )
    assert raised.value.reason is DeployReason.COMMAND_FAILED
    with pytest.raises(DeployError, match=r"cannot run /nowhere/deploy\.sh"):
        CommandDeployer(DeployerSettings(command=("/nowhere/deploy.sh",))).deploy("loans", "2", tmp_path)


# --- back to what was not made here


def linked(folder: Path, target: Path) -> Path:
    """A service of the user's own, behind the link that the deployer switches."""
    current = folder / "deployed" / "loans" / "current"
    current.parent.mkdir(parents=True)
    current.symlink_to(target)
    return current


def test_a_link_goes_back_to_where_it_was_before_the_first_switch(tmp_path: Path, version: Path) -> None:
    (tmp_path / "own").mkdir()
    current = linked(tmp_path, Path("../../own"))
    deployer = SymlinkDeployer(DeployerSettings(directory=tmp_path / "deployed"))
    given = deployer.given("loans")
    deployer.deploy("loans", "2", version)
    done = deployer.restore("loans", "1", given)
    assert (done.changed, current.resolve()) == (True, tmp_path / "own")
    assert not deployer.restore("loans", "1", given).changed


def test_where_there_was_no_link_there_is_none_again(tmp_path: Path, version: Path) -> None:
    deployer = SymlinkDeployer(DeployerSettings(directory=tmp_path / "deployed"))
    given = deployer.given("loans")
    assert given is not None
    deployer.deploy("loans", "2", version)
    deployer.restore("loans", "1", given)
    folder = tmp_path / "deployed" / "loans"
    assert not (folder / "current").is_symlink()
    assert (folder / "previous").resolve() == version


def test_what_is_gone_or_was_never_known_is_said_with_what_to_do(tmp_path: Path, version: Path) -> None:
    current = linked(tmp_path, tmp_path / "own")
    deployer = SymlinkDeployer(DeployerSettings(directory=tmp_path / "deployed"))
    given = deployer.given("loans")
    deployer.deploy("loans", "2", version)
    with pytest.raises(DeployError, match="which is gone") as gone:
        deployer.restore("loans", "1", given)
    assert "driftd promote loans 1" in gone.value.hint
    with pytest.raises(DeployError, match="never pointed to it") as unknown:
        deployer.restore("loans", "1", None)
    assert unknown.value.reason is DeployReason.NOT_OURS
    assert str(current) in unknown.value.hint
    assert current.resolve() == version  # what serves goes on
