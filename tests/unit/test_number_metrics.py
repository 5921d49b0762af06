"""Figures of numbers are those that scikit-learn knows, and their intervals hold what they promise."""

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error as sklearn_mae
from sklearn.metrics import root_mean_squared_error as sklearn_rmse

from daemon.monitoring.number_metrics import mean_absolute_error, root_mean_squared_error


def test_the_values_are_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    labels, predictions = rng.normal(size=(2, 500)) * 1e3
    errors = np.abs(labels - predictions)
    assert mean_absolute_error(errors).value == pytest.approx(sklearn_mae(labels, predictions))
    assert root_mean_squared_error(errors).value == pytest.approx(sklearn_rmse(labels, predictions))


@pytest.mark.parametrize("law", ["normal", "exponential"])
def test_intervals_hold(law: str) -> None:
    rng = np.random.default_rng(2)
    hits = []
    mean, square = {"normal": (np.sqrt(2 / np.pi), 1.0), "exponential": (1.0, 2.0)}[law]
    for _ in range(1_000):
        errors = np.abs(rng.normal(size=500)) if law == "normal" else rng.exponential(size=500)
        found = mean_absolute_error(errors), root_mean_squared_error(errors)
        hits.append(
            [(one.low or 0) <= truth <= (one.high or 0) for one, truth in zip(found, (mean, square**0.5), strict=True)]
        )
    assert np.all(np.abs(np.mean(hits, axis=0) - 0.95) < 0.025)


@pytest.mark.parametrize("error", [0.0, 1e-200, 1e200])
def test_errors_of_any_size_are_no_trouble(error: float) -> None:
    for found in (mean_absolute_error(np.full(200, error)), root_mean_squared_error(np.full(200, error))):
        assert (found.value, found.low, found.high) == (pytest.approx(error),) * 3


def test_of_few_errors_the_mean_square_is_not_told() -> None:
    assert root_mean_squared_error(np.ones(99)).why_not == "not enough data: 99 rows, it takes 100"
    assert mean_absolute_error(np.ones(1)).value == 1.0
