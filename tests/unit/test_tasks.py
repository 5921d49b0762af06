"""What a model predicts is told from its predictions, and what follows from that."""

from typing import Any

import numpy as np
import pytest

from daemon.monitoring import tasks
from daemon.monitoring.tasks import Task


@pytest.mark.parametrize(
    ("predictions", "scored", "task"),
    [
        ([0, 1, 1, None], False, Task.BINARY),
        ([True, False], False, Task.BINARY),
        (["yes", "no"], False, Task.BINARY),
        ([1, 1], False, Task.BINARY),
        ([0, 1, 2], False, Task.MULTICLASS),
        (["a", "b", "c"], False, Task.MULTICLASS),
        ([0.0, 1.0, 2.0], False, Task.MULTICLASS),
        ([0.5, 1.0], False, Task.REGRESSION),
        (list(range(30)), False, Task.REGRESSION),
        (list(range(30)), True, Task.MULTICLASS),
        ([1, "a", 2.5], False, Task.MULTICLASS),
        ([float("nan"), 0.0, 1.0], False, Task.BINARY),
        ([None, float("nan")], False, Task.BINARY),
        ([1e308, 0.5], False, Task.REGRESSION),
    ],
)
def test_the_task_is_what_the_predictions_look_like(predictions: list[Any], scored: bool, task: Task) -> None:
    assert tasks.infer(predictions, scored=scored) is task


def test_one_class_is_one_class_however_it_is_written() -> None:
    assert tasks.column([1, 1.0, True, "1", None, "b", 2**60], Task.MULTICLASS).tolist() == [
        "1", "1", "1", "1", None, "b", str(2**60),
    ]  # fmt: skip


def test_numbers_that_are_no_numbers_are_invalid() -> None:
    assert tasks.column([1, 2.5, "x"], Task.REGRESSION).tolist() == [1.0, 2.5, np.inf]
    assert np.isnan(tasks.column([None], Task.REGRESSION)).all()


def test_an_error_is_a_wrong_class_or_a_distance() -> None:
    classes = tasks.column([1, 0, None, 1], Task.BINARY), tasks.column([1, 1, 1, None], Task.BINARY)
    assert tasks.error(*classes, Task.BINARY).tolist()[:2] == [0.0, 1.0]
    assert np.isnan(tasks.error(*classes, Task.BINARY)[2:]).all()
    numbers = tasks.column([1.5, 3], Task.REGRESSION), tasks.column([1, 5], Task.REGRESSION)
    assert tasks.error(*numbers, Task.REGRESSION).tolist() == [0.5, 2.0]


def test_a_probability_speaks_for_a_class() -> None:
    assert [tasks.from_score(score) for score in (0.2, 0.5, None, {"a": 0.1, "b": 0.9}, {"a": None}, {})] == [
        "0", "1", None, "b", None, None,
    ]  # fmt: skip
    assert tasks.score_value({"no": 0.8, "yes": 0.2}) == 0.2
    assert tasks.score_value({"a": 0.2, "b": 0.5, "c": 0.3}) == 0.5
    assert np.isnan([tasks.score_value(None), tasks.score_value({})]).all()
