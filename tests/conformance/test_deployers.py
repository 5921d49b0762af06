"""What every deployer promises, whichever it is. One without a case here fails."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import pytest

from retrain.base import Deployed, Deployer, DeployError, DeployReason
from retrain.deployers import DEPLOYERS, deploy, make_deployer
from retrain.deployers.settings import DeployerSettings
from retrain.registry import Manifest, Registry

TOKEN: Final = "token-of-the-service"


@dataclass(frozen=True)
class Service:
    """A service that a deployer works on."""

    deployer: Deployer
    serves: Callable[[], str | None]
    """The version that it serves now, read the way that it would."""
    broken: Deployer | None
    """The same deployer when the service cannot take the version; None where nothing can go wrong."""


@contextmanager
def with_symlink(folder: Path) -> Iterator[Service]:
    directory = folder / "deployed"
    current = directory / "loans" / "current"

    def serves() -> str | None:
        return current.resolve().name if current.exists() else None

    (folder / "a file").touch()
    settings = DeployerSettings(directory=directory)
    broken = DeployerSettings(directory=folder / "a file" / "below")
    yield Service(make_deployer("symlink", settings), serves, make_deployer("symlink", broken))


@contextmanager
def with_command(folder: Path) -> Iterator[Service]:
    served = folder / "served"
    script = (
        "import os, pathlib, sys; ours = os.environ['DRIFTD_ORIGIN'] == 'trained';"
        "assert os.path.isdir(os.environ['DRIFTD_PATH']) == ours;"
        "assert os.environ['DRIFTD_MODEL'] == 'loans';"
        "pathlib.Path(sys.argv[1]).write_text(os.environ['DRIFTD_VERSION'])"
    )
    works = DeployerSettings(command=(sys.executable, "-c", script, str(served)))
    broken = DeployerSettings(command=(sys.executable, "-c", "raise SystemExit('no room on the cluster')"))

    def serves() -> str | None:
        return served.read_text() if served.exists() else None

    yield Service(make_deployer("command", works), serves, make_deployer("command", broken))


@contextmanager
def with_webhook(folder: Path) -> Iterator[Service]:
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            whole = body["version"] == "mine" if body["path"] is None else Path(body["path"]).is_dir()
            taken = self.path == "/deploy" and whole and body["model"] == "loans"
            if taken:
                seen.append(body["version"])
            self.send_response(200 if taken else 409)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name in the standard library)
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        root = f"http://127.0.0.1:{server.server_port}"
        works = DeployerSettings(url=f"{root}/deploy", token=TOKEN)
        broken = DeployerSettings(url=f"{root}/{TOKEN}/nowhere", token=TOKEN)
        try:
            yield Service(
                make_deployer("webhook", works), lambda: seen[-1] if seen else None, make_deployer("webhook", broken)
            )
        finally:
            server.shutdown()


@contextmanager
def with_nothing(folder: Path) -> Iterator[Service]:
    yield Service(make_deployer("none", DeployerSettings()), lambda: None, None)


CASES: Final = {"symlink": with_symlink, "command": with_command, "webhook": with_webhook, "none": with_nothing}


@pytest.fixture(params=sorted(DEPLOYERS))
def service(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("no_proxy", "*")
    with CASES[request.param](tmp_path) as one:
        yield one


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "models")
    for version in ("1", "2"):
        files = tmp_path / f"candidate-{version}"
        files.mkdir()
        (files / "model.bin").write_text(f"weights {version}")
        registry.publish(files, model="loans", version=version, job=version, created=0.0, details={}, card="")
    return registry


def bring(deployer: Deployer, registry: Registry, version: str) -> Deployed:
    manifest: Manifest = registry.manifest("loans", version)
    path = registry.path("loans", version)
    return deploy(deployer, model="loans", version=version, path=path, model_hash=manifest.model_hash)


def test_every_deployer_has_a_case() -> None:
    assert set(CASES) == set(DEPLOYERS)


def test_it_has_its_registry_name(service: Service) -> None:
    assert DEPLOYERS[service.deployer.name] is type(service.deployer)


def test_it_brings_a_version_into_service(service: Service, registry: Registry) -> None:
    deployed = bring(service.deployer, registry, "1")
    assert (deployed.model, deployed.version) == ("loans", "1")
    assert service.serves() in {"1", None if service.broken is None else "1"}


def test_doing_it_again_changes_nothing(service: Service, registry: Registry) -> None:
    bring(service.deployer, registry, "1")
    before = service.serves()
    bring(service.deployer, registry, "1")
    assert service.serves() == before


def test_a_rollback_is_the_former_version_again(service: Service, registry: Registry) -> None:
    expected = [None, None, None] if service.broken is None else ["1", "2", "1"]
    seen = []
    for version in ("1", "2", "1"):
        bring(service.deployer, registry, version)
        seen.append(service.serves())
    assert seen == expected


def test_what_was_not_made_here_can_be_served_again(service: Service, registry: Registry) -> None:
    given = service.deployer.given("loans")
    bring(service.deployer, registry, "1")
    assert service.deployer.given("loans") is None  # what was made here has files of its own
    for _ in range(2):
        done = service.deployer.restore("loans", "mine", given)
        assert (done.model, done.version) == ("loans", "mine")
        # behind a link it serves what it served when there was none
        assert service.serves() == (None if service.deployer.name in {"symlink", "none"} else "mine")


def test_a_failure_is_told_and_leaves_the_former_version(service: Service, registry: Registry) -> None:
    if service.broken is None:
        return  # a deployer that does nothing cannot fail
    bring(service.deployer, registry, "1")
    with pytest.raises(DeployError) as raised:
        bring(service.broken, registry, "2")
    assert raised.value.reason in DeployReason
    assert raised.value.hint
    assert TOKEN not in f"{raised.value} {raised.value.message} {raised.value.hint}"
    assert service.serves() == "1"


def test_files_that_were_not_evaluated_are_not_deployed(service: Service, registry: Registry) -> None:
    bring(service.deployer, registry, "1")
    before = service.serves()
    manifest, path = registry.manifest("loans", "2"), registry.path("loans", "2")
    (path / "model.bin").write_text("something else")
    with pytest.raises(DeployError) as raised:
        deploy(service.deployer, model="loans", version="2", path=path, model_hash=manifest.model_hash)
    assert raised.value.reason is DeployReason.TAMPERED
    assert service.serves() == before


def test_a_folder_of_another_version_is_not_deployed(service: Service, registry: Registry) -> None:
    with pytest.raises(DeployError) as raised:
        deploy(service.deployer, model="loans", version="3", path=registry.path("loans", "2"))
    assert raised.value.reason is DeployReason.TAMPERED
    assert service.serves() is None


@pytest.mark.parametrize("name", sorted(DEPLOYERS))
def test_missing_settings_are_named(name: str) -> None:
    if name == "none":
        make_deployer(name, DeployerSettings())
        return
    with pytest.raises(DeployError) as raised:
        make_deployer(name, DeployerSettings())
    assert raised.value.reason is DeployReason.BAD_SETTING
    assert "DRIFTD_DEPLOY__" in raised.value.hint


def test_an_unknown_deployer_is_answered_with_the_known_ones() -> None:
    with pytest.raises(DeployError, match="pigeon") as raised:
        make_deployer("pigeon", DeployerSettings())
    assert all(name in raised.value.hint for name in DEPLOYERS)
