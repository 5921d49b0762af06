"""Measured performance comes with an interval that holds what it promises."""

import numpy as np
import pytest

from daemon.monitoring.performance import Performance, mean_of, wilson
from daemon.monitoring.tasks import Task
from detectors.columns import Columns, Stream
from detectors.reference import Reference


def errors(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_nothing_labelled_is_nothing_reported() -> None:
    performance = Performance()
    performance.add(errors(np.nan, np.inf))
    assert performance.report(Task.BINARY, 0.1) is None


def test_accuracy_is_that_of_the_latest_rows() -> None:
    performance = Performance(rows=4)
    performance.add(errors(1, 1, 1, 0))
    performance.add(errors(0, np.nan, 0, 1))
    report = performance.report(Task.BINARY, 0.25)
    assert report is not None
    assert (report["metric"], report["value"], report["reference"], report["rows"]) == ("accuracy", 0.75, 0.75, 4)
    assert report["low"] < 0.75 < report["high"]


def test_numbers_have_a_mean_absolute_error() -> None:
    performance = Performance()
    performance.add(errors(1, 2, 3))
    report = performance.report(Task.REGRESSION, 1.5)
    assert report is not None
    assert (report["metric"], report["value"], report["reference"]) == ("mae", 2.0, 1.5)
    assert report["low"] == pytest.approx(2 - 1.96 / np.sqrt(3), abs=1e-3)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_nineteen_intervals_in_twenty_hold_the_truth(share: float) -> None:
    rng = np.random.default_rng(1)
    found = [wilson(count / 200, 200) for count in rng.binomial(200, share, size=4_000)]
    assert 0.93 <= np.mean([low <= share <= high for low, high in found]) <= 0.97


def test_an_interval_stays_within_0_and_1() -> None:
    assert wilson(0.0, 5)[0] == 0.0
    assert wilson(1.0, 5)[1] == 1.0


def test_it_goes_on_where_it_was_stored_and_begins_again_for_another_version() -> None:
    performance, again = Performance(rows=3), Performance(rows=3)
    performance.add(errors(1, 0, 1, 1))
    again.restore(performance.state())
    for one in (performance, again):
        one.add(errors(0))
    assert again.report(Task.BINARY, None) == performance.report(Task.BINARY, None)
    again.clear()
    assert again.report(Task.BINARY, None) is None


def test_the_mean_of_a_reference_is_that_of_its_rows() -> None:
    values = np.random.default_rng(2).normal(3.0, 1.0, 500)
    columns = Columns(Stream.OUTCOME, np.arange(500), np.zeros(500), {"error": values})
    reference = Reference.learn(columns)
    assert mean_of(reference, "error") == pytest.approx(values.mean())
    assert mean_of(reference, "label") is None
