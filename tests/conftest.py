"""What all tests share."""

import os
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# the same examples at every run; `make soak` tries many more, and other ones each time
settings.register_profile("default", derandomize=True, deadline=None, max_examples=50, database=None)
settings.register_profile("soak", deadline=None, max_examples=2_000, print_blob=True)
settings.load_profile(os.environ.get("DRIFTD_TEST_PROFILE", "default"))


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the shell has set, a test starts with the defaults, and so does a daemon that it starts."""
    for variable in list(os.environ):
        if variable.startswith("DRIFTD_") and not variable.startswith("DRIFTD_TEST_"):
            monkeypatch.delenv(variable)


@pytest.fixture(scope="session")
def public_data() -> Callable[[str], Path]:
    """The folder of a public data set by name; a test that asks for an absent one is skipped."""
    home = Path(os.environ.get("DRIFTD_TEST_DATA", ROOT.parent / "shared" / "data"))

    def folder(name: str) -> Path:
        if not (home / name).is_dir():
            pytest.skip(f"no data set {name} in {home}: DRIFTD_TEST_DATA names the folder")
        return home / name

    return folder


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    """Say at the end, in so many words, how many tests this machine could not run; the reasons stand above."""
    yield
    terminalreporter.write_line(f"skipped: {len(terminalreporter.stats.get('skipped', []))}")
