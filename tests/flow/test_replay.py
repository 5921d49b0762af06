"""History through the daemon's own pipeline: what is raised, when, and what the policy would have asked for."""

import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from daemon.cli import main

ROWS, CHANGE = 6_000, 4_000


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A model whose error rate goes from .1 to .4 at row 4,000, in two files."""
    values = random.Random(3)
    lines = []
    for row in range(ROWS):
        prediction = values.randrange(2)
        wrong = values.random() < (0.4 if row >= CHANGE else 0.1)
        lines.append(f"{values.gauss(0, 1):.4f},{values.choice('abc')},{prediction},{prediction ^ wrong}")
    header = "amount,kind,prediction,label"
    for name, some in (("first.csv", lines[:2_500]), ("second.csv", lines[2_500:])):
        (tmp_path / name).write_text("\n".join([header, *some]) + "\n")
    return tmp_path


def replayed(*arguments: str) -> list[dict[str, object]]:
    result = CliRunner().invoke(main, ["replay", *arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_rows_are_counted_over_all_files_and_the_alarm_names_the_change(history: Path) -> None:
    *alarms, last = replayed(str(history / "first.csv"), str(history / "second.csv"))

    assert [one["kind"] for one in alarms if one["signal"] == "error"] == ["concept"]
    alarm = next(one for one in alarms if one["signal"] == "error")
    assert CHANGE <= alarm["row"] <= CHANGE + 200
    assert abs(alarm["change_row"] - CHANGE) <= 60
    assert last["summary"]["rows"] == ROWS
    assert last["summary"]["alarms"] == len(alarms)


def test_a_label_that_comes_later_is_an_alarm_later(history: Path) -> None:
    files = (str(history / "first.csv"), str(history / "second.csv"))
    at_once = next(one for one in replayed(*files) if one.get("signal") == "error")
    late = next(one for one in replayed(*files, "--label-delay", "300") if one.get("signal") == "error")

    assert late["row"] == at_once["row"] + 300
    assert late["change_row"] == at_once["change_row"]


def test_only_what_trains_counts_as_a_decision(history: Path) -> None:
    files = (str(history / "first.csv"), str(history / "second.csv"))

    assert replayed(*files)[-1]["summary"]["decisions"] == 1
    assert replayed(*files, "--set", "MODE=observe")[-1]["summary"]["decisions"] == 0


def test_every_row_gets_a_score_in_order(history: Path) -> None:
    scores = history / "scores.csv"
    replayed(str(history / "first.csv"), str(history / "second.csv"), "--scores", str(scores))

    lines = scores.read_text().splitlines()
    assert lines[0] == "row,score"
    assert [int(line.split(",")[0]) for line in lines[1:]] == list(range(ROWS))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope.csv"], "there is no such file"),
        (["first.csv", "--label", "lable"], "no column 'lable'"),
        (["first.csv", "--set", "MIN_EFECT=1"], "the nearest is DRIFTD_MIN_EFFECT"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(history: Path, arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["replay", str(history / arguments[0]), *arguments[1:]])

    assert result.exit_code in (65, 78)
    assert said in result.output
    assert len(result.output.strip().splitlines()) == 1
