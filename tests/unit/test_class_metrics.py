"""Figures of classes are those that scikit-learn knows, and their intervals hold what they promise."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import norm
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from sklearn.metrics import log_loss as sklearn_log_loss

from daemon.monitoring.class_metrics import (
    accuracy,
    auc,
    calibration_error,
    f1,
    log_loss,
    macro_auc,
    macro_f1,
)
from daemon.monitoring.measured import Measured

RUNS = 600


def held(draw: Callable[[np.random.Generator], Measured], truth: float, runs: int = RUNS) -> float:
    """How often an interval holds the truth."""
    rng = np.random.default_rng(20)
    found = [draw(rng) for _ in range(runs)]
    assert all(one.value is not None for one in found)
    return float(np.mean([(one.low or 0.0) <= truth <= (one.high or 0.0) for one in found]))


def two_classes(rng: np.random.Generator, rows: int = 700) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, predictions and probabilities, with ties."""
    probabilities = np.round(rng.beta(1, 2, rows), 2).clip(0.01, 0.99)
    return rng.random(rows) < probabilities, probabilities > 0.4, probabilities


def several_classes(rng: np.random.Generator, rows: int = 900) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, predictions and probabilities of four classes, the last of which is rare."""
    probabilities = rng.dirichlet((4, 2, 1, 0.4), rows)
    labels = (rng.random(rows)[:, None] > probabilities.cumsum(axis=1)).sum(axis=1).clip(0, 3)
    return labels.astype(np.int32), probabilities.argmax(axis=1).astype(np.int32), probabilities


@pytest.mark.parametrize("seed", range(5))
def test_of_two_classes_the_values_are_scikit_learns(seed: int) -> None:
    labels, predictions, probabilities = two_classes(np.random.default_rng(seed))
    errors = (labels != predictions).astype(float)
    assert accuracy(errors).value == pytest.approx(accuracy_score(labels, predictions))
    assert f1(labels, predictions).value == pytest.approx(f1_score(labels, predictions))
    assert auc(labels, probabilities).value == pytest.approx(roc_auc_score(labels, probabilities))
    given = np.where(labels, probabilities, 1 - probabilities)
    assert log_loss(given).value == pytest.approx(sklearn_log_loss(labels, probabilities))


@pytest.mark.parametrize("seed", range(5))
def test_of_several_classes_the_values_are_scikit_learns(seed: int) -> None:
    labels, predictions, probabilities = several_classes(np.random.default_rng(seed))
    found = macro_f1(labels, predictions)
    assert (found.value, found.classes) == (pytest.approx(f1_score(labels, predictions, average="macro")), 4)
    found = macro_auc(labels, probabilities)
    assert (found.value, found.classes) == (pytest.approx(roc_auc_score(labels, probabilities, multi_class="ovr")), 4)
    given = probabilities[np.arange(len(labels)), labels]
    assert log_loss(given).value == pytest.approx(sklearn_log_loss(labels, probabilities))


def test_of_a_class_that_came_without_any_probability_the_loss_is_large_and_finite() -> None:
    found = log_loss(np.concatenate((np.zeros(10), np.ones(190))))
    assert found.value == pytest.approx(-np.log(np.finfo(np.float32).eps) / 20, rel=1e-3)


def test_the_variance_of_an_auc_is_delongs() -> None:
    """Worked out pair by pair, as it is defined; with so many rows what is mixed in hardly shows."""
    rng = np.random.default_rng(3)
    labels = rng.random(3_000) < 0.4
    scores = np.round(rng.normal(size=3_000) + labels, 1)
    pairs = (scores[labels][:, None] > scores[~labels]) + 0.5 * (scores[labels][:, None] == scores[~labels])
    variance = pairs.mean(axis=1).var(ddof=1) / len(pairs) + pairs.mean(axis=0).var(ddof=1) / pairs.shape[1]
    found = auc(labels, scores)
    assert found.value == pytest.approx(pairs.mean())
    assert found.low is not None
    assert found.high is not None
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * np.sqrt(variance), rel=0.02)


@pytest.mark.parametrize(("apart", "share", "rows"), [(1.0, 0.5, 2_000), (1.0, 0.02, 2_000), (2.5, 0.1, 300)])
def test_an_interval_of_the_auc_holds(apart: float, share: float, rows: int) -> None:
    def draw(rng: np.random.Generator) -> Measured:
        labels = np.arange(rows) < rows * share
        return auc(labels, rng.normal(size=rows) + apart * labels)

    assert 0.93 <= held(draw, float(norm.cdf(apart / np.sqrt(2)))) <= 0.995


@pytest.mark.parametrize(("share", "recall", "false"), [(0.3, 0.8, 0.05), (0.05, 0.6, 0.02), (0.5, 0.97, 0.03)])
def test_an_interval_of_f1_holds(share: float, recall: float, false: float) -> None:
    def draw(rng: np.random.Generator) -> Measured:
        labels = rng.random(300) < share
        return f1(labels, rng.random(300) < np.where(labels, recall, false))

    right, wrong = share * recall, (1 - share) * false + share * (1 - recall)
    assert 0.93 <= held(draw, 2 * right / (2 * right + wrong)) <= 0.98


def test_an_interval_of_the_mean_f1_holds() -> None:
    shares = np.array([0.6, 0.3, 0.1])
    law = np.array([[0.9, 0.06, 0.04], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7]]) * shares[:, None]

    def draw(rng: np.random.Generator) -> Measured:
        labels, predictions = np.divmod(rng.choice(9, 1_000, p=law.ravel()).astype(np.int32), 3)
        return macro_f1(labels, predictions)

    truth = float(np.mean(2 * np.diag(law) / (law.sum(axis=0) + law.sum(axis=1))))
    assert 0.93 <= held(draw, truth) <= 0.97


@pytest.mark.parametrize(("a", "b"), [(2.0, 2.0), (0.3, 3.0)])
def test_an_interval_of_the_log_loss_holds(a: float, b: float) -> None:
    def given(rng: np.random.Generator, rows: int) -> np.ndarray:
        probabilities = rng.beta(a, b, rows)
        return np.where(rng.random(rows) < probabilities, probabilities, 1 - probabilities)

    truth = log_loss(given(np.random.default_rng(0), 2_000_000)).value
    assert truth is not None
    assert 0.93 <= held(lambda rng: log_loss(given(rng, 500)), truth) <= 0.98


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (0.5, 0.0), (1.0, 0.4)], ids=["right", "too sure", "low"])
def test_an_interval_of_the_calibration_error_holds(slope: float, offset: float) -> None:
    def true(said: np.ndarray) -> np.ndarray:
        chances: np.ndarray = expit(slope * logit(said) + offset)
        return chances

    def draw(rng: np.random.Generator) -> Measured:
        said = rng.beta(2, 3, 2_000)
        return calibration_error(rng.random(2_000) < true(said), said)

    said = np.sort(np.random.default_rng(0).beta(2, 3, 1_000_000))
    by_bin = [float((true(some) - some).mean()) for some in np.split(said, 10)]
    assert held(draw, float(np.sqrt(np.mean(np.square(by_bin))))) >= 0.93


def test_who_is_well_calibrated_is_told_so() -> None:
    """Where the expected calibration error would be .02 by chance alone."""
    rng = np.random.default_rng(4)
    found = []
    for _ in range(200):
        said = rng.beta(2, 3, 2_000)
        found.append(calibration_error(rng.random(2_000) < said, said))
    assert np.median([one.value for one in found if one.value is not None]) < 0.01
    assert np.mean([one.low == 0.0 for one in found]) >= 0.95


def test_certainties_that_come_true_are_no_error_and_such_that_do_not_are_one() -> None:
    came = np.arange(200) < 100
    assert calibration_error(came, came.astype(float)).value == 0.0
    assert calibration_error(came, 1.0 - came).value == pytest.approx(1.0)
    assert calibration_error(np.arange(200_000) % 2 == 0, np.ones(200_000)).value == pytest.approx(0.5, rel=1e-4)


def short() -> dict[str, tuple[Measured, str]]:
    """What cannot be told, and why."""
    yes = np.ones(50, dtype=bool)
    codes = np.zeros(50, dtype=np.int32)
    return {
        "f1": (f1(~yes, ~yes), "no row has the positive class"),
        "mean f1": (macro_f1(codes, codes), "the rows have one class only"),
        "few rows": (macro_f1(codes, np.arange(50, dtype=np.int32) % 2), "50 rows with 2 classes, it takes 60"),
        "auc": (auc(yes, np.linspace(0, 1, 50)), "0 rows of one of the two classes, it takes 10"),
        "mean auc": (macro_auc(codes, np.ones((50, 2))), "no class has 10 rows with it and as many without"),
        "log loss": (log_loss(np.ones(50)), "50 rows, it takes 100"),
        "calibration": (calibration_error(yes, np.ones(50)), "50 rows, it takes 100"),
    }


@pytest.mark.parametrize("name", short())
def test_what_there_is_not_enough_data_for_says_so(name: str) -> None:
    found, why = short()[name]
    assert (found.value, found.low, found.high) == (None, None, None)
    assert (found.rows, found.why_not) == (50, f"not enough data: {why}")


@pytest.mark.parametrize("apart", [True, False], ids=["apart", "all alike"])
def test_scores_that_tell_all_or_nothing_are_no_trouble(apart: bool) -> None:
    labels = np.arange(100) < 30
    found = auc(labels, labels.astype(float) if apart else np.zeros(100))
    assert found.value == (1.0 if apart else 0.5)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value <= found.high, "thirty rows do not make it certain"


def test_a_figure_is_json() -> None:
    assert Measured("f1", 9, 0.5, 0.4, 0.6, classes=3).as_dict() == {
        "metric": "f1",
        "rows": 9,
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "classes": 3,
        "why_not": None,
    }
