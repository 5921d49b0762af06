"""Labels against what was estimated: silent while the estimates are right, quick when they are not."""

import numpy as np
import pytest

from detectors.estimate_check import EstimateCheck


def flips(rng: np.random.Generator, rates: np.ndarray) -> np.ndarray:
    return (rng.random(len(rates)) < rates).astype(np.float64)


@pytest.mark.parametrize("off", [-0.01, 0.0, 0.01])
def test_estimates_that_are_right_within_the_tolerance_are_never_called_wrong(off: float) -> None:
    rng = np.random.default_rng(1)
    expected = rng.uniform(0.02, 0.5, 200_000)
    check = EstimateCheck(binary=True, tolerance=0.01, rows_per_false_alarm=1e6)
    assert check.update(expected, flips(rng, expected + off)) == []


@pytest.mark.parametrize(("estimated", "real"), [(0.1, 0.2), (0.2, 0.35), (0.05, 0.15), (0.4, 0.2), (0.3, 0.1)])
def test_estimates_that_are_wrong_are_called_so_within_five_hundred_labels(estimated: float, real: float) -> None:
    late = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        check = EstimateCheck(binary=True, tolerance=0.01, rows_per_false_alarm=1e6)
        assert check.update(np.full(5_000, estimated), flips(rng, np.full(5_000, estimated))) == []
        late.append(check.update(np.full(3_000, estimated), flips(rng, np.full(3_000, real)))[0])
    assert np.mean(late) <= 500


def test_losses_that_are_numbers_are_called_too_large_and_never_too_small() -> None:
    rng = np.random.default_rng(2)
    expected = rng.uniform(1, 5, 100_000)
    losses = np.abs(rng.normal(0, 1, 100_000)) * expected * np.sqrt(np.pi / 2)
    for factor, most in ((1.0, None), (0.3, None), (1.6, 500)):
        found = EstimateCheck(binary=False).update(expected, losses * factor)
        assert (not found) if most is None else found[0] <= most


def test_it_goes_on_where_it_was_however_labels_are_cut() -> None:
    rng = np.random.default_rng(3)
    expected = np.full(4_000, 0.1)
    losses = flips(rng, np.full(4_000, 0.3))
    whole = EstimateCheck(binary=True).update(expected, losses)
    check = EstimateCheck(binary=True)
    cut = [
        start + one
        for start in range(0, 4_000, 37)
        for one in check.update(expected[start : start + 37], losses[start : start + 37])
    ]
    assert len(whole) > 3
    assert cut == whole


def test_impossible_losses_break_nothing() -> None:
    check = EstimateCheck(binary=False)
    assert check.update(np.zeros(3), np.array([1e300, 0.0, 1e300])) != []
    assert EstimateCheck(binary=True).update(np.array([0.0, 1.0]), np.array([1.0, 0.0])) == []
