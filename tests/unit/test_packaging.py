"""What is built, installed and started is what the tree holds."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from daemon.settings import Settings, load

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("daemon", "detectors", "retrain")
COMMAND = ["python", "-I", "-m", "daemon", "run"]
UNIT = ROOT / "systemd" / "driftd.service"
ENVIRONMENT = ROOT / "systemd" / "driftd.env"
DOCKERFILE = ROOT / "Dockerfile"


# names


def test_no_module_is_called_like_one_of_the_standard_library() -> None:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    taken = {file.stem for file in files} & (set(sys.stdlib_module_names) - {"__main__", "__init__"})
    # inside a package no import is shadowed, and yet a reader takes one for the other
    assert taken == set()


def test_no_other_distribution_has_our_packages() -> None:
    owners = packages_distributions()
    assert {name for package in PACKAGES for name in owners.get(package, [])} <= {"driftd"}


def test_no_drawer_for_everything() -> None:
    names = {path.stem for package in PACKAGES for path in (ROOT / package).rglob("*")}
    assert names.isdisjoint({"utils", "util", "helpers", "common", "misc"})


# the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the files in the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("driftd-*.whl")
    return set(zipfile.ZipFile(built).namelist())


def tracked(*folders: str) -> set[str]:
    """The files of the tree that git knows, or all of them where there is no git."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
        return {line for line in listed.stdout.splitlines() if (ROOT / line).is_file()}
    files = (file for folder in folders for file in (ROOT / folder).rglob("*") if "__pycache__" not in file.parts)
    return {str(file.relative_to(ROOT)) for file in files if file.is_file()}


def test_the_wheel_has_every_file_of_the_packages_templates_and_pages_too(wheel: set[str]) -> None:
    assert tracked(*PACKAGES) - wheel == set()


def test_the_wheel_has_nothing_else(wheel: set[str]) -> None:
    assert {name.split("/")[0] for name in wheel} == {*PACKAGES, *(n.split("/")[0] for n in wheel if ".dist-info" in n)}
    assert not [name for name in wheel if name.endswith(".pyc")]


# what starts it


def instruction(name: str) -> str:
    """The last instruction of that name in the Dockerfile."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE.read_text().replace("\\\n", " "), re.MULTILINE)[-1]


def setting(name: str) -> str:
    """A setting of the unit."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)[-1]


def test_the_unit_and_the_image_start_the_same_command() -> None:
    unit = setting("ExecStart").split()
    image = re.findall(r'"([^"]*)"', instruction("ENTRYPOINT") + instruction("CMD"))
    assert [Path(unit[0]).name, *unit[1:]] == COMMAND
    assert image == COMMAND


def test_the_image_is_healthy_when_status_says_so() -> None:
    assert instruction("HEALTHCHECK").endswith('CMD ["python", "-I", "-m", "daemon", "status", "--exit-code"]')


def test_the_image_does_not_run_as_root_and_keeps_its_data_in_a_volume() -> None:
    user, group = instruction("USER").split(":")
    assert int(user) > 0
    assert f"--uid {user} " in DOCKERFILE.read_text()
    assert f"--gid {group} " in DOCKERFILE.read_text()
    assert instruction("VOLUME") == "/data"
    assert "DRIFTD_DATA_DIR=/data" in instruction("ENV")


def test_what_the_image_copies_is_let_through_and_exists() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists()
        assert f"!{name}" in ignore


def test_a_stop_gives_the_daemon_longer_than_it_gives_itself() -> None:
    assert int(setting("TimeoutStopSec")) > Settings().shutdown_seconds
    assert int(setting("WatchdogSec")) > Settings().pipeline.stall_seconds


def test_the_example_of_an_environment_file_is_accepted() -> None:
    lines = re.findall(r"^#?(DRIFTD_[A-Z_]+)=(.*)$", ENVIRONMENT.read_text(), re.MULTILINE)
    assert len(lines) > 5
    load(dict(lines))


def test_the_variables_that_unit_and_image_set_exist() -> None:
    for text in (UNIT.read_text(), DOCKERFILE.read_text()):
        for variable in re.findall(r"\b(DRIFTD_[A-Z_]+)=", text):
            load({variable: "127.0.0.1" if variable.endswith("HOST") else "x"})


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "driftd.service"
    unit.write_text(UNIT.read_text().replace("/opt/driftd/bin/python", sys.executable))
    verified = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    ours = [line for line in verified.stderr.splitlines() if "driftd" in line]
    assert (verified.returncode, ours) == (0, [])


# the locks and the Makefile


@pytest.mark.parametrize(
    "lock", ["requirements.lock", "requirements-dev.lock", "requirements-build.lock", "requirements-alibi.lock"]
)
def test_a_lock_pins_and_hashes_everything_and_names_no_place(lock: str) -> None:
    text = (ROOT / lock).read_text()
    pins = re.split(r"\n(?=[a-z0-9])", text.strip())
    assert all(re.match(r"[a-z0-9][a-z0-9._-]*(\[[a-z,]+\])?==\S+", pin) for pin in pins)
    assert all("--hash=sha256:" in pin for pin in pins)
    assert "://" not in text
    assert not re.search(r"^\s*-", text.replace("    --hash", "    hash"), re.MULTILINE)


def test_the_lock_holds_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for lock, wanted in (
        ("requirements.lock", project["project"]["dependencies"]),
        ("requirements-dev.lock", project["dependency-groups"]["dev"]),
        ("requirements-build.lock", project["dependency-groups"]["build"]),
        ("requirements-alibi.lock", project["dependency-groups"]["alibi"]),
    ):
        pinned = set(re.findall(r"^([a-z0-9._-]+)(?:\[|==)", (ROOT / lock).read_text(), re.MULTILINE))
        names = {re.split(r"[\[<>=!~; ]", one)[0].lower() for one in wanted}
        assert names - pinned == set()


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "-C", str(ROOT), "--no-print-directory", *arguments],
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not on this machine")
def test_make_alone_lists_what_can_be_made() -> None:
    listed = re.findall(r"^  make (\w+)", make().stdout, re.MULTILINE)
    assert {"demo", "run", "test", "lint", "bench", "docs"} <= set(listed)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not on this machine")
def test_make_says_which_python_is_missing(tmp_path: Path) -> None:
    old = tmp_path / "python-old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    made = make("run", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}")
    assert made.returncode != 0
    assert "driftd needs Python 3.11 or later" in made.stderr
    assert not (tmp_path / "venv").exists()
