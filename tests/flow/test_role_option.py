"""`--role`: what one daemon of a fleet does, said on its command line."""

import json

import pytest
from click.testing import CliRunner, Result

from daemon.cli import main

FLEET = {"DRIFTD_BROKER": "kafka://127.0.0.1:1", "DRIFTD_DATABASE_URL": "postgresql://u@127.0.0.1:1/driftd"}


def driftd(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_a_part_of_the_work_is_refused_before_anything_starts_where_the_daemon_is_alone() -> None:
    refused = driftd("run", "--role", "ingest,web")
    assert refused.exit_code == 78
    assert "DRIFTD_ROLE=ingest,web: must be ingest,detect,web,train for a daemon alone" in refused.output
    assert "DRIFTD_BROKER=kafka://" in refused.output
    assert "DRIFTD_DATABASE_URL=postgresql://" in refused.output


@pytest.mark.parametrize("command", ["run", "check-config"])
def test_a_role_that_there_is_not_is_refused_with_those_that_there_are(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in FLEET.items():
        monkeypatch.setenv(name, value)
    refused = driftd(command, "--role", "fetch")
    assert refused.exit_code == 78
    assert "DRIFTD_ROLE=fetch: must be any of ingest, detect, web, train" in refused.output


def test_the_option_outranks_the_environment_and_is_named_as_where_it_came_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {**FLEET, "DRIFTD_ROLE": "train"}.items():
        monkeypatch.setenv(name, value)
    report = json.loads(driftd("check-config", "--role", "web,ingest", "--json").stdout)
    (role,) = [row for row in report["settings"] if row["variable"] == "DRIFTD_ROLE"]
    assert (role["value"], role["source"]) == ("ingest,web", "--role")


def test_a_fleet_whose_machines_share_no_archive_is_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in FLEET.items():
        monkeypatch.setenv(name, value)
    checked = driftd("check-config")
    assert checked.exit_code == 0
    assert "warning: DRIFTD_ARCHIVE_URL: is not set" in checked.stderr
    monkeypatch.setenv("DRIFTD_ARCHIVE_URL", "/srv/driftd")
    assert json.loads(driftd("check-config", "--json").stdout)["warnings"] == []
