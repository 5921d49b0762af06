"""Every table of bench/quality can be measured: in its smallest form, whose figures mean nothing."""

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from river.naive_bayes import GaussianNB

from bench.quality.command import main
from bench.quality.naive_bayes import NaiveBayes
from bench.quality.results import Result, Results
from bench.quality.table import NOT_RUN, NotRun, Run, Size, Table, find
from bench.quality.tables import TABLES, delay, false_alarms

DATA = {
    "insects": "insects_gradual_balanced",
    "series": "nab",
    "strange_rows": "kdd_smtp",
    "estimates": "employment_ma",
    "wrong_estimates": "employment_ma",
    "estimate_stream": "employment_ma",
    "triage_credit": "credit_default",
}
NO_TINY_FORM = {"employment_alarms", "retraining"}
TOLD_BELOW = {"reports"}
QUICK = [table for table in TABLES if table.name not in NO_TINY_FORM | TOLD_BELOW]


@pytest.fixture
def no_peers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a machine without the environment of `make peers`."""
    monkeypatch.setattr("bench.quality.peers.environment.PYTHON", tmp_path / "python")


@pytest.mark.parametrize("table", QUICK, ids=lambda table: table.name)
@pytest.mark.usefixtures("no_peers")
def test_a_table_is_measured(table: Table, public_data: Callable[[str], Path]) -> None:
    data = public_data(DATA[table.name]).parent if table.name in DATA else None

    rows = list(table.measure(Run(Size.TINY, data)))

    assert rows
    assert {name for row in rows for name in row} <= {NOT_RUN, *(column.name for column in table.columns)}
    assert table.lines(rows) or not table.lines([])


@pytest.mark.usefixtures("no_peers")
def test_peers_that_are_not_there_are_named(public_data: Callable[[str], Path]) -> None:
    (reports,) = (table for table in TABLES if table.name == "reports")

    rows = list(reports.measure(Run(Size.TINY, public_data("credit_default").parent)))

    missing = {str(row["detector"]): row[NOT_RUN] for row in rows if NOT_RUN in row}
    assert missing == {"Evidently": "make peers", "NannyML": "make peers"}


def test_a_data_set_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotRun, match="needs the data set nab: --data FOLDER, or DRIFTD_TEST_DATA"):
        Run(Size.TINY).folder("nab")
    with pytest.raises(NotRun, match=f"no data set nab in {tmp_path}"):
        Run(Size.TINY, tmp_path).folder("nab")


def test_detectors_that_always_and_never_fire_stand_beside_the_others() -> None:
    rows = list(delay.TABLE.measure(Run(Size.TINY)))

    assert find(rows, detector="always fires")["early"] == 1.0
    assert find(rows, detector="never fires")["missed"] == 1.0


# the command


def test_what_was_measured_is_kept_and_not_measured_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = false_alarms.TABLE.name
    once = ["--tiny", "--only", name, "--results", str(tmp_path)]

    assert main(once) == 0
    assert "errors .1" in capsys.readouterr().out
    assert main([*once, "--missing"]) == 0
    assert capsys.readouterr().out == ""

    found = Results(tmp_path).of(name)
    assert found is not None
    assert found.command == f"python bench/quality --tiny --only {name}"


def test_what_could_not_be_measured_leaves_the_result_that_is_there(tmp_path: Path) -> None:
    results, empty = Results(tmp_path / "results"), tmp_path / "data"
    empty.mkdir()
    before = Result("series", "short", "command", "2026-01-02", 3.0, "a machine", {}, [{"score": "kept", "best": 1.0}])
    results.keep(before)

    assert main(["--tiny", "--only", "series", "--results", str(results.folder), "--data", str(empty)]) == 1
    assert results.of("series") == before


def test_a_name_that_no_table_has_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "latency"]) == os.EX_USAGE
    assert "no table is called latency; there are delay, " in capsys.readouterr().err


def test_the_list_has_every_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [table.name for table in TABLES]


@pytest.mark.parametrize("since", [0, 170])
def test_naive_bayes_says_what_river_s_would(since: int) -> None:
    rng = np.random.default_rng(3)
    classes = rng.choice(np.array(["ant", "bee", "fly"]), 500)
    numbers = rng.normal(size=(500, 4)) + np.where(classes == "bee", 0.8, 0.0)[:, None] * [1, 0, -1, 2]
    river = GaussianNB()
    said = []
    for row, label in zip(numbers[since:], classes[since:].tolist(), strict=True):
        features = dict(enumerate(row.tolist()))
        said.append(river.predict_one(features) == label)
        river.learn_one(features, label)

    # between classes that were seen once river takes the one that came first
    assert NaiveBayes(numbers, classes).right(since, since + 20, 500).tolist() == said[20:]
    assert 0.4 < np.mean(said) < 0.9


def test_the_best_in_hindsight_is_what_trying_all_fresh_starts_finds() -> None:
    rng = np.random.default_rng(4)
    classes = rng.integers(0, 2, 120)
    turned = np.where(np.arange(120) < 60, classes, 1 - classes)
    model = NaiveBayes(turned[:, None] + rng.normal(size=(120, 2)), classes)

    def share(*begun: tuple[int, int]) -> float:
        """Right predictions with a start at each (row, and first row that it learns from)."""
        starts = [(0, 0), *begun, (120, 0)]
        pieces = [model.right(since, row, end) for (row, since), (end, _) in pairwise(starts)]
        return float(np.concatenate(pieces).mean())

    places = range(20, 120, 20)
    once = [(row, since) for row in places for since in range(0, row + 1, 20)]
    twice = [(one, two) for one in once for two in once if one[0] < two[0]]
    assert model.best(0, 20) == pytest.approx(share())
    assert model.best(1, 20) == pytest.approx(max(share(one) for one in once))
    assert model.best(2, 20) == pytest.approx(max(share(*both) for both in twice))
    assert model.best(2, 20) > model.best(0, 20)
