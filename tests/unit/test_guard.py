"""At start, the packages that run must be driftd's own."""

import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

from daemon.guard import ForeignPackage, check_packages, owners

ROOT = Path(__file__).resolve().parents[2]


def install(site: Path, name: str, *, record: str | None = None, top_level: str | None = None) -> None:
    """What an installer leaves of a distribution."""
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    if record is not None:
        (info / "RECORD").write_text(record)
    if top_level is not None:
        (info / "top_level.txt").write_text(top_level)


def test_here_all_is_well() -> None:
    check_packages()


@pytest.mark.parametrize(
    "listed",
    [
        {"record": "daemon/__init__.py,,\ndaemon/pidfile.py,,\n"},
        {"record": "x.py,,\ndaemon/x.py,,\n"},
        {"top_level": "daemon\n"},
    ],
)
def test_another_distribution_with_a_package_of_our_name_is_found(tmp_path: Path, listed: dict[str, str]) -> None:
    install(tmp_path, "python-daemon", **listed)
    install(tmp_path, "innocent", record="innocent/daemon/__init__.py,,\nmydaemon/x.py,,\ndaemons/y.py,,\n")
    install(tmp_path, "driftd", record="daemon/__init__.py,,\ndetectors/__init__.py,,\n")
    assert owners(distributions(path=[str(tmp_path)])) == [("daemon", "python-daemon")]


def test_the_daemon_refuses_to_start_beside_it_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "python-daemon", top_level="daemon\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ForeignPackage, match=r"python-daemon has a package called 'daemon'.*virtual environment"):
        check_packages()


def test_a_package_from_elsewhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "retrain").mkdir()
    (tmp_path / "retrain" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "retrain", raising=False)
    with pytest.raises(ForeignPackage, match="'retrain' comes from"):
        check_packages()


def test_an_installed_driftd_other_than_the_one_that_runs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as installed from a wheel: found first, with its files in tmp_path
    install(tmp_path, "driftd", record="daemon/__init__.py,,\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(ROOT)])
    with pytest.raises(ForeignPackage, match="is installed in"):
        check_packages()
