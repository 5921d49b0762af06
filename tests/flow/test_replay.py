"""History through the daemon's own pipeline: what is raised, when, and what the policy would have asked for."""

import csv
import json
import os
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from daemon.cli import main
from detectors.series_scores import OWN_THRESHOLD

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


def test_rows_of_features_alone_are_scored_from_the_first_after_the_reference(tmp_path: Path) -> None:
    values = random.Random(4)
    lines = [f"{values.gauss(0, 1):.4f},{values.gauss(0, 1):.4f}" for _ in range(900)]
    lines[800] = "40,-40"
    (tmp_path / "rows.csv").write_text("\n".join(["a,b", *lines]) + "\n")
    scores = tmp_path / "scores.csv"
    replayed(str(tmp_path / "rows.csv"), "--features", "a,b", "--reference-rows", "500", "--scores", str(scores))

    found = [float(line.split(",")[1]) for line in scores.read_text().splitlines()[1:]]
    assert max(found[:500]) == 0 < min(found[500:])
    assert max(found) == found[800]


@pytest.mark.parametrize(("arguments", "first"), [((), 200), (("--reference-rows", "120"), 120)])
def test_a_single_number_is_scored_as_a_series_which_says_a_strange_stretch_once(
    tmp_path: Path, arguments: tuple[str, ...], first: int
) -> None:
    values = random.Random(5)
    lines = [f"{values.gauss(40 if 700 <= row < 720 else 0, 1):.4f}" for row in range(900)]
    (tmp_path / "rows.csv").write_text("\n".join(["a", *lines]) + "\n")
    scores = tmp_path / "scores.csv"
    replayed(str(tmp_path / "rows.csv"), "--features", "a", *arguments, "--scores", str(scores))

    found = [float(line.split(",")[1]) for line in scores.read_text().splitlines()[1:]]
    assert max(found[:first]) == 0 < max(found[first : first + 100])
    assert found[700] > OWN_THRESHOLD > max(found[:700])
    assert max(found[708:720]) == 0


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


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """A model that is bad at one kind of case, of which there are more from row 8,000 on; at 12,000 labels flip."""
    values = random.Random(5)
    lines = []
    for row in range(16_000):
        hard = values.random() < (0.7 if row >= 8_000 else 0.2)
        wrong = values.random() < (0.45 if hard else 0.05)
        prediction = values.randrange(2)
        flipped = row >= 12_000 and values.random() < 0.5
        lines.append(f"{'hard' if hard else 'easy'},{prediction},{prediction ^ wrong ^ flipped}")
    (tmp_path / "scored.csv").write_text("\n".join(["kind,prediction,label", *lines]) + "\n")
    return tmp_path


def estimates(file: Path, *arguments: str) -> list[dict[str, str]]:
    written = file.with_name("estimates.csv")
    replayed(str(file), "--estimates", str(written), *arguments)
    with written.open() as lines:
        return list(csv.DictReader(lines))


def test_estimates_need_no_label_and_say_when_labels_prove_them_wrong(scored: Path) -> None:
    chunks = estimates(scored / "scored.csv", "--reference-rows", "4000")
    assert [(one["first_row"], one["last_row"]) for one in chunks] == [
        ("4000", "8999"),
        ("9000", "13999"),
        ("14000", "15999"),
    ]
    assert {one["metric"] for one in chunks} == {"accuracy"}
    first, second, third = ({name: float(one[name]) for name in ("low", "high", "real")} for one in chunks)
    assert first["low"] <= first["real"] <= first["high"]
    assert third["real"] < third["low"]  # no feature tells that labels have flipped
    assert second["high"] < first["low"]  # but that there are more hard cases was seen
    assert [bool(one["wrong_since"]) for one in chunks] == [False, True, True]
    assert 12_000 <= int(chunks[1]["wrong_since"]) <= 13_999


def test_estimates_learn_from_the_reference_that_is_given(scored: Path) -> None:
    rows = (scored / "scored.csv").read_text().splitlines()
    (scored / "reference.csv").write_text("\n".join(rows[:4_001]) + "\n")
    (scored / "live.csv").write_text("\n".join([rows[0].removesuffix(",label"), *(row[:-2] for row in rows[4_001:])]))
    chunks = estimates(scored / "live.csv", "--reference", str(scored / "reference.csv"))
    assert [(one["first_row"], one["last_row"]) for one in chunks] == [
        ("0", "4999"),
        ("5000", "9999"),
        ("10000", "11999"),
    ]
    assert all(one["real"] == "" and one["wrong_since"] == "" for one in chunks)


def test_labels_that_come_late_teach_late_and_judge_late(scored: Path) -> None:
    chunks = estimates(scored / "scored.csv", "--reference-rows", "4000", "--label-delay", "1000")
    assert chunks[0]["first_row"] == "5000"
    at_once = estimates(scored / "scored.csv", "--reference-rows", "4000")
    wrong = [next(int(one["wrong_since"]) for one in some if one["wrong_since"]) for some in (at_once, chunks)]
    assert wrong[0] < wrong[1]


def test_a_history_that_is_too_short_says_what_it_lacks(history: Path) -> None:
    written = history / "estimates.csv"
    arguments = ["replay", str(history / "first.csv"), "--reference-rows", "3000", "--estimates", str(written)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "nothing of default was watched: its reference lacks 500 rows" in result.stderr
    assert "no estimate: they are learned from 3,000 rows with labels" in result.stderr
    assert replayed(str(history / "first.csv"), "--reference-rows", "3000")[-1]["summary"]["missing_rows"] == {
        "default": 500
    }
    assert replayed(str(history / "first.csv"), "--reference-rows", "2000")[-1]["summary"]["missing_rows"] == {}


def test_a_gap_between_segments_is_told_and_asks_for_no_retrain(tmp_path: Path) -> None:
    values = random.Random(5)
    lines = ["channel,prediction,label"]
    for row in range(12_000):
        channel = values.choice("ab")
        often = 0.9 if row >= 6_000 and channel == "a" else 0.3
        prediction = int(values.random() < often)
        lines.append(f"{channel},{prediction},{prediction}")
    (tmp_path / "gap.csv").write_text("\n".join(lines) + "\n")
    arguments = ("--set", "SEGMENTS=feature:channel", "--set", "MAX_GAP=0.2", "--set", "RETRAIN__ON=performance,drift")
    *alarms, last = replayed(str(tmp_path / "gap.csv"), *arguments)
    gaps = [one for one in alarms if one["kind"] == "performance"]
    assert gaps
    asked = [one for one in alarms if one["kind"] == "drift"]
    assert last["summary"]["decisions"] == len(asked)


def test_estimates_of_anything_but_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / "events.ndjson").write_text("")
    arguments = ["replay", str(tmp_path / "events.ndjson"), "--estimates", str(tmp_path / "out.csv")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == os.EX_USAGE
    assert "CSV" in result.stderr


def test_a_number_that_becomes_text_is_of_the_wrong_type_in_a_table_too(tmp_path: Path) -> None:
    values = random.Random(5)
    lines = [f"{values.gauss(0, 1):.3f},{values.gauss(0, 1):.3f}" for _ in range(3_000)]
    lines += [f"{'n/k' if row % 2 else '1,5'!r},{values.gauss(0, 1):.3f}".replace("'", '"') for row in range(500)]
    lines[700] = f"?,{values.gauss(0, 1):.3f}"  # and one in the reference
    (tmp_path / "rows.csv").write_text("\n".join(["a,b", *lines]) + "\n")
    *alarms, _ = replayed(str(tmp_path / "rows.csv"), "--reference-rows", "2000")
    (alarm,) = [one for one in alarms if one["signal"] == "feature:a"]
    assert alarm["kind"] == "quality"
    assert 3_000 <= int(str(alarm["row"])) < 3_020
    cause = alarm["evidence"]["cause"]  # type: ignore[index]
    assert cause["breakage"] == "wrong_type"


def test_labels_may_be_in_a_file_of_their_own_whatever_else_is_named(tmp_path: Path) -> None:
    values = random.Random(3)
    rows, labels = ["id,amount,said"], ["id,answer"]
    for row in range(4_000):
        said = values.randrange(2)
        rows.append(f"r{row},{values.gauss(0, 1):.3f},{said}")
        labels.append(f"r{row},{said ^ (values.random() < (0.4 if row >= 3_000 else 0.05))}")
    (tmp_path / "rows.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "labels.csv").write_text("\n".join(labels) + "\n")
    named = ("--id", "id", "--prediction", "said", "--labels", str(tmp_path / "labels.csv"))
    *alarms, _ = replayed(str(tmp_path / "rows.csv"), *named, "--reference-rows", "2000")
    assert [(one["signal"], int(str(one["row"])) >= 3_000) for one in alarms] == [("error", True)]


def test_a_category_of_digits_and_letters_stays_one(tmp_path: Path) -> None:
    values = random.Random(5)
    lines = [f"{values.choice(['1', '2', '2B', '3', '3A'])},{values.gauss(0, 1):.3f}" for _ in range(4_000)]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b", *lines]) + "\n")
    assert replayed(str(tmp_path / "rows.csv"), "--reference-rows", "2000")[:-1] == []


def test_people_are_told_the_cause_and_that_there_was_nothing_to_replay(tmp_path: Path) -> None:
    values = random.Random(5)
    lines = [
        f"{values.gauss(50, 9) * (100 if row >= 3_000 else 1):.2f},{values.gauss(0, 1):.3f}" for row in range(3_500)
    ]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b", *lines]) + "\n")
    (tmp_path / "none.csv").write_text("a,b\n")
    told = CliRunner().invoke(main, ["replay", str(tmp_path / "rows.csv"), "--reference-rows", "2000"])
    assert "data broken: a is in another unit: the values fit the reference again when divided by 100" in told.stdout
    nothing = CliRunner().invoke(main, ["replay", str(tmp_path / "none.csv")])
    assert "warning: there are no rows in what was replayed" in nothing.stderr
