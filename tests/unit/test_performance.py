"""What is measured on labelled rows: which figures there are, of which rows, and that they go on where they were."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from daemon.monitoring import tasks
from daemon.monitoring.intervals import wilson
from daemon.monitoring.labelled import Outcomes, Revision
from daemon.monitoring.performance import Performance, classes_of, mean_of
from daemon.monitoring.prediction_scores import Scores
from daemon.monitoring.tasks import Task
from detectors.columns import Columns, Stream
from detectors.reference import Reference


def outcomes(
    predictions: Sequence[Any],
    labels: Sequence[Any],
    task: Task = Task.BINARY,
    first: int = 0,
    scores: Sequence[float] | None = None,
    by_class: dict[str, Sequence[float]] | None = None,
) -> Outcomes:
    said, came = tasks.column(predictions, task), tasks.column(labels, task)
    rows = np.arange(first, first + len(said))
    plain = np.full(len(said), np.nan) if scores is None else np.array(scores)
    values = np.column_stack((plain, *(by_class or {}).values())).astype(np.float32)
    return Outcomes(rows, tasks.error(said, came, task), said, came, Scores(tuple(by_class or ()), values))


def numbers(*errors: float, first: int = 0) -> Outcomes:
    return outcomes([0.0] * len(errors), errors, Task.REGRESSION, first)


def stored(performance: Performance) -> tuple[bytes, dict[str, Any]]:
    return performance.errors(), performance.labelled.state()


def figures(report: dict[str, Any] | None) -> dict[str, Any]:
    """The metrics by name."""
    assert report is not None
    return {one["metric"]: one for one in report["metrics"]}


def test_nothing_labelled_is_nothing_reported() -> None:
    performance = Performance()
    performance.add(outcomes([None, "a"], ["a", None]))
    assert performance.report(Task.BINARY, 0.1) is None


def test_accuracy_is_that_of_the_latest_rows() -> None:
    performance = Performance(rows=4)
    performance.add(outcomes([1, 1, 1, 1], [0, 0, 0, 1]))
    performance.add(outcomes([1, None, 1, 1], [1, 1, 1, 0], first=4))
    report = performance.report(Task.BINARY, 0.25)
    assert report is not None
    assert (report["metric"], report["value"], report["reference"], report["rows"]) == ("accuracy", 0.75, 0.75, 4)
    assert report["low"] < 0.75 < report["high"]


def test_numbers_have_a_mean_absolute_error() -> None:
    performance = Performance()
    performance.add(numbers(1, 2, 3))
    report = performance.report(Task.REGRESSION, 1.5)
    assert report is not None
    assert (report["metric"], report["value"], report["reference"]) == ("mae", 2.0, 1.5)
    assert report["low"] == pytest.approx(2 - 1.96 / np.sqrt(3), abs=1e-3)
    assert figures(report)["rmse"]["why_not"] == "not enough data: 3 rows, it takes 100"


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_nineteen_intervals_in_twenty_hold_the_truth(share: float) -> None:
    rng = np.random.default_rng(1)
    found = [wilson(count / 200, 200) for count in rng.binomial(200, share, size=4_000)]
    assert 0.93 <= np.mean([low <= share <= high for low, high in found]) <= 0.97


def test_an_interval_stays_within_0_and_1() -> None:
    assert wilson(0.0, 5)[0] == 0.0
    assert wilson(1.0, 5)[1] == 1.0


# --- which figures there are


def scored(rows: int = 500) -> tuple[list[int], list[int], list[float]]:
    """Predictions, labels and the probability of class 1."""
    probabilities = np.random.default_rng(5).random(rows)
    labels = (np.random.default_rng(6).random(rows) < probabilities).astype(int)
    return (probabilities > 0.5).astype(int).tolist(), labels.tolist(), probabilities.tolist()


def test_without_scores_there_is_nothing_that_takes_them() -> None:
    predictions, labels, _ = scored()
    performance = Performance()
    performance.add(outcomes(predictions, labels))
    assert figures(performance.report(Task.BINARY, None)).keys() == {"accuracy", "f1"}
    performance = Performance()
    performance.add(outcomes(["a", "b", "c"] * 40, ["a", "b", "b"] * 40, Task.MULTICLASS))
    assert figures(performance.report(Task.MULTICLASS, None)).keys() == {"accuracy", "f1"}


@pytest.mark.parametrize("style", ["plain", "by class", "the other class only", "of the lesser class", "chosen"])
def test_a_probability_is_the_same_however_it_is_sent(style: str) -> None:
    predictions, labels, probabilities = scored()
    others = [1 - one for one in probabilities]
    words = [["bad", "good"][one] for one in predictions], [["bad", "good"][one] for one in labels]
    performance = Performance(positive="bad" if style == "chosen" else None)
    if style == "plain":
        performance.add(outcomes(*words, scores=probabilities))
    elif style == "by class":
        performance.add(outcomes(*words, by_class={"good": probabilities, "bad": others}))
    elif style == "the other class only":
        performance.add(outcomes(*words, by_class={"bad": others}))
    else:  # the score is told by the predictions that it goes with, or by a person
        performance.add(outcomes(*words, scores=others))
    report = performance.report(Task.BINARY, None)
    found = figures(report)
    assert report is not None
    assert report["positive"] == ("bad" if style in ("of the lesser class", "chosen") else "good")
    assert found["auc"]["value"] == pytest.approx(roc_auc_score(labels, probabilities))
    assert found["log_loss"]["value"] == pytest.approx(log_loss(labels, probabilities), rel=1e-5)
    assert found["rms_calibration_error"]["low"] == 0.0


def test_scores_that_are_no_probabilities_have_an_auc_and_no_more() -> None:
    predictions, labels, probabilities = scored()
    performance = Performance()
    performance.add(outcomes(predictions, labels, scores=[30 * one - 7 for one in probabilities]))
    found = figures(performance.report(Task.BINARY, None))
    assert found.keys() == {"accuracy", "f1", "auc"}
    assert found["auc"]["value"] == pytest.approx(roc_auc_score(labels, probabilities))


def test_of_several_classes_figures_are_means_over_them() -> None:
    rng = np.random.default_rng(7)
    probabilities = rng.dirichlet((2, 2, 1), 900)
    labels = [int((rng.random() > row.cumsum()).sum()) for row in probabilities]
    predictions = probabilities.argmax(axis=1)
    names = np.array(["cat", "dog", "emu"])
    by_class = {name: probabilities[:, place] for place, name in enumerate(names.tolist())}
    performance = Performance()
    performance.add(outcomes(names[predictions].tolist(), names[labels].tolist(), Task.MULTICLASS, by_class=by_class))
    report = performance.report(Task.MULTICLASS, None)
    found = figures(report)
    assert report is not None
    assert list(found) == ["accuracy", "f1", "auc", "log_loss", "rms_calibration_error"]
    assert (found["f1"]["classes"], found["auc"]["classes"], found["log_loss"]["classes"]) == (3, 3, None)
    assert report["positive"] is None
    assert found["rms_calibration_error"]["low"] == 0.0
    given_to_the_truth = probabilities[np.arange(900), labels]
    assert found["log_loss"]["value"] == pytest.approx(-np.log(given_to_the_truth).mean(), rel=1e-4)


def test_of_several_classes_a_plain_score_is_that_of_the_prediction() -> None:
    rng = np.random.default_rng(8)
    sure = rng.uniform(0.4, 1.0, 2_000)
    labels = np.where(rng.random(2_000) < sure, "a", rng.choice(["b", "c"], 2_000))
    performance = Performance()
    performance.add(outcomes(["a"] * 2_000, labels.tolist(), Task.MULTICLASS, scores=sure.tolist()))
    found = figures(performance.report(Task.MULTICLASS, None))
    assert found.keys() == {"accuracy", "f1", "rms_calibration_error"}
    assert found["rms_calibration_error"]["low"] == 0.0


def test_a_class_that_no_probability_came_for_was_given_none() -> None:
    performance = Performance()
    performance.add(
        outcomes(
            ["a"] * 200, ["a"] * 190 + ["new"] * 10, Task.MULTICLASS, by_class={"a": [0.9] * 200, "b": [0.1] * 200}
        )
    )
    found = figures(performance.report(Task.MULTICLASS, None))
    least = float(np.finfo(np.float32).eps)
    assert found["log_loss"]["value"] == pytest.approx(-0.95 * np.log(0.9) - 0.05 * np.log(least), rel=1e-3)


@pytest.mark.parametrize("rows", [1, 30, 2_000])
def test_one_class_alone_is_not_enough_and_no_trouble(rows: int) -> None:
    performance = Performance()
    performance.add(outcomes([1] * rows, [1] * rows, scores=[0.9] * rows))
    for task in (Task.BINARY, Task.MULTICLASS):
        report = performance.report(task, None)
        assert figures(report)["f1"]["why_not"] == "not enough data: the rows have one class only"
    in_the_reference = figures(performance.report(Task.BINARY, None, ("0", "1")))
    assert in_the_reference["f1"]["value"] == 1.0
    assert in_the_reference["auc"]["why_not"] == "not enough data: 0 rows of one of the two classes, it takes 10"


def test_a_third_class_that_comes_by_mistake_changes_nothing_where_the_two_are_known() -> None:
    performance = Performance()
    performance.add(outcomes([0, 1] * 100, [0, 1] * 99 + [0, 2]))
    assert figures(performance.report(Task.BINARY, None))["f1"]["why_not"] is not None
    report = performance.report(Task.BINARY, None, ("0", "1"))
    assert report is not None
    assert report["positive"] == "1"
    assert figures(report)["f1"]["value"] == pytest.approx(2 * 99 / (2 * 99 + 1))


# --- revised labels


def test_a_revised_label_counts_in_place_of_the_first() -> None:
    performance = Performance(rows=3)
    performance.add(outcomes([1, 1, 1, 0], [1, 1, 0, 0]))
    performance.revise([Revision(0, 1, 0), Revision(2, 1, 1), Revision(3, 0, 1), Revision(3, 0, 0)], Task.BINARY)
    report = performance.report(Task.BINARY, None)
    assert report is not None
    assert (report["rows"], report["value"]) == (3, 1.0), "row 0 is not among the last three any more"
    assert figures(report)["f1"]["value"] == 1.0


def test_a_revised_number_counts_in_place_of_the_first_even_if_it_is_none() -> None:
    performance = Performance(rows=3)
    performance.add(numbers(5, 7, 9))
    performance.revise([Revision(1, 0.0, 1.0), Revision(2, 0.0, "nothing")], Task.REGRESSION)
    report = performance.report(Task.REGRESSION, None)
    assert report is not None
    assert (report["rows"], report["value"]) == (2, 3.0)


# --- where it was cut, stored and restored does not show

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", None]),
        st.sampled_from(["a", "b", None]),
        st.sampled_from([np.nan, 0.25, 0.5, 0.75]),
        st.one_of(st.none(), st.tuples(st.integers(0, 30), st.sampled_from(["a", "b", "d"]))),
    ),
    max_size=30,
)


def take(performance: Performance, rows: Sequence[Any], first: int) -> None:
    """Rows, and the revisions that come with each."""
    said, came, scores, revised = zip(*rows, strict=True)
    by_class: dict[str, Sequence[float]] = {"b": [1 - one for one in scores]} if first % 2 else {}
    performance.add(outcomes(said, came, Task.MULTICLASS, first, scores, by_class))
    found = [
        Revision(row, "a", label)
        for place, (row, label) in ((place, one) for place, one in enumerate(revised) if one is not None)
        if row <= first + place
    ]
    performance.revise(found, Task.MULTICLASS)


@given(ROWS, st.lists(st.booleans(), min_size=30, max_size=30), st.integers(1, 12))
def test_what_is_reported_and_stored_does_not_depend_on_restarts(rows: list[Any], dies: list[bool], most: int) -> None:
    whole, broken = Performance(most), Performance(most)
    for place, row in enumerate(rows):
        for one in (whole, broken):
            take(one, [row], place)
        if dies[place]:
            errors, state = stored(broken)
            broken = Performance(most)
            broken.restore(errors, state)
    assert stored(broken) == stored(whole)
    assert broken.report(Task.MULTICLASS, None) == whole.report(Task.MULTICLASS, None)


@given(ROWS.filter(bool), st.lists(st.integers(1, 10), max_size=10), st.integers(1, 12))
def test_what_is_reported_and_stored_does_not_depend_on_where_batches_end(
    rows: list[Any], sizes: list[int], most: int
) -> None:
    rows = [(*row[:3], None) for row in rows]
    revisions = [Revision(row, "a", "d") for row in range(0, len(rows), 3)]
    whole, cut = Performance(most), Performance(most)
    whole.add(outcomes(*zip(*(row[:2] for row in rows), strict=True), Task.MULTICLASS, 0, [row[2] for row in rows]))
    start = 0
    for size in (*sizes, len(rows)):
        if rows[start : start + size]:
            said, came, scores, _ = zip(*rows[start : start + size], strict=True)
            cut.add(outcomes(said, came, Task.MULTICLASS, start, scores))
            start += size
            cut.revise([one for one in revisions if one.row < start], Task.MULTICLASS)
    whole.revise(revisions, Task.MULTICLASS)
    assert stored(cut) == stored(whole)
    assert cut.report(Task.MULTICLASS, None) == whole.report(Task.MULTICLASS, None)


def test_it_goes_on_where_it_was_stored_and_begins_again_for_another_version() -> None:
    performance, again = Performance(rows=3), Performance(rows=3)
    performance.add(outcomes([1, 1, 1, 1], [0, 1, 0, 0], scores=[0.9, 0.8, 0.7, 0.6]))
    again.restore(*stored(performance))
    for one in (performance, again):
        one.add(outcomes([0], [0], first=4, scores=[0.1]))
    assert again.report(Task.BINARY, None) == performance.report(Task.BINARY, None)
    again.clear()
    assert again.report(Task.BINARY, None) is None


@pytest.mark.parametrize("left_over", [False, True])
def test_it_goes_on_with_the_errors_that_an_older_release_stored(left_over: bool) -> None:
    of_others = None
    if left_over:  # from before the older release was put back for a while
        before = Performance(rows=4)
        before.add(outcomes([1, 0, 1], [1, 0, 1]))
        of_others = before.labelled.state()
    performance = Performance(rows=4)
    performance.restore(np.array([1.0, 0.0, 0.0]).tobytes(), of_others)
    performance.add(outcomes([1, 0], [1, 0], first=7))
    performance.revise([Revision(1, 1, 1), Revision(8, 0, 1)], Task.BINARY)
    found = figures(performance.report(Task.BINARY, None))
    assert (found["accuracy"]["rows"], found["accuracy"]["value"]) == (4, 0.75)
    assert (found["f1"]["rows"], found["f1"]["value"]) == (2, pytest.approx(2 / 3))


def test_classes_that_come_and_go_leave_nothing_behind() -> None:
    performance = Performance(rows=10)
    for start in range(0, 1_000, 10):
        names = [f"class {start + place}" for place in range(10)]
        performance.add(outcomes(names, names, Task.MULTICLASS, start))
        assert len(performance.labelled.errors) == 10
    classes, labels, *_ = performance.labelled.of_classes()
    assert (len(classes), len(labels)) == (10, 10)
    assert len(performance.labelled.state()["classes"]) == 10


# --- the reference


def test_the_mean_of_a_reference_is_that_of_its_rows() -> None:
    values = np.random.default_rng(2).normal(3.0, 1.0, 500)
    columns = Columns(Stream.OUTCOME, np.arange(500), np.zeros(500), {"error": values})
    reference = Reference.learn(columns)
    assert mean_of(reference, "error") == pytest.approx(values.mean())
    assert mean_of(reference, "label") is None


def test_the_classes_of_a_reference_are_those_that_were_predicted() -> None:
    said = np.array(["no"] * 300 + ["yes"] * 200, dtype=object)
    columns = Columns(Stream.PREDICTION, np.arange(500), np.zeros(500), {"prediction": said})
    assert set(classes_of(Reference.learn(columns))) == {"no", "yes"}
    assert classes_of(None) == ()
