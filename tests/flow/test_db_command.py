"""`driftd db` and the store's line of `driftd doctor`, on each kind of database."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from databases import Database, Postgresql

from daemon.cli import main
from daemon.stores.migrations import HEAD


def driftd(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def store_line() -> dict[str, object]:
    found = json.loads(driftd("doctor", "--json").stdout)
    return next(one for one in found["findings"] if one["what"] == "store")


@pytest.fixture
def url(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = database.nothing(tmp_path)
    monkeypatch.setenv("DRIFTD_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DRIFTD_DATABASE_URL", url)
    return url


def test_a_store_is_made_once_and_known_from_then_on(url: str) -> None:
    assert "first start" in str(store_line()["detail"])
    for _ in range(2):
        made = driftd("db", "upgrade", "--json")
        assert made.exit_code == 0, made.output
        assert json.loads(made.stdout) == {"revision": HEAD}
    assert store_line() == store_line() | {"well": True, "detail": f"revision {HEAD}"}


def test_a_server_that_is_away_is_said_to_be(
    postgresql: Postgresql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTD_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DRIFTD_DATABASE_URL", "postgresql://driftd:s3cret@127.0.0.1:1/driftd")
    tried = driftd("db", "upgrade")
    assert tried.exit_code == 69
    assert "driftd:***@127.0.0.1:1/driftd does not answer" in tried.output
    line = store_line()
    assert not line["well"]
    assert "does not answer" in str(line["detail"])
    monkeypatch.setenv("DRIFTD_DATABASE_URL", postgresql.nothing(tmp_path) + "_that_is_not_there")
    tried = driftd("db", "upgrade")
    assert tried.exit_code == 78
    assert "does not exist" in tried.output
    assert "s3cret" not in tried.output
