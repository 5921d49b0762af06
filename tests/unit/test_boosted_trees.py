"""Trees that are plain arrays: they learn what a library's learn, and are the same after a restart."""

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from detectors.boosted_trees import BoostedTrees, Table

STATES = 5


def world(rng: np.random.Generator, rows: int) -> tuple[Table, NDArray[np.float64]]:
    """Numbers, some of them missing, and a category; and how probable it makes a row's loss."""
    table = rng.normal(size=(rows, 6)).astype(np.float32)
    table[:, 5] = rng.integers(0, STATES, rows)
    table[rng.random(rows) < 0.2, 1] = np.nan
    score = 1.2 * table[:, 0] + np.where(np.isnan(table[:, 1]), 1.5, -0.5) + np.where(table[:, 5] == 2, 1.0, -1.0)
    score += np.where((table[:, 2] > 0) & (table[:, 3] > 0), 1.0, 0.0)
    return table, 1 / (1 + np.exp(-score))


def log_loss(rates: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    return float(-np.mean(rates * np.log(expected) + (1 - rates) * np.log(1 - expected)))


@pytest.mark.parametrize("rows", [1_000, 10_000])
def test_they_know_as_much_of_rows_to_come_as_a_library_s(rows: int) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    rng = np.random.default_rng(1)
    table, rates = world(rng, rows)
    later, later_rates = world(rng, 20_000)
    targets = (rng.random(rows) < rates).astype(np.float64)
    ours = BoostedTrees.fit(table, [5], targets, binary=True).predict(later)
    library = HistGradientBoostingClassifier(categorical_features=[5], max_depth=3, random_state=0)
    theirs = library.fit(table, targets).predict_proba(later)[:, 1]
    best, nothing = log_loss(later_rates, later_rates), log_loss(later_rates, np.full(20_000, targets.mean()))
    assert log_loss(later_rates, ours) - best < 0.2 * (nothing - best)
    assert log_loss(later_rates, ours) < log_loss(later_rates, theirs) + 0.005


def test_numbers_of_any_size_are_learned() -> None:
    rng = np.random.default_rng(2)
    table, rates = world(rng, 4_000)
    for size in (1e-9, 1.0, 1e90):
        found = BoostedTrees.fit(table, [5], size * rates, binary=False).predict(table)
        assert np.abs(found / size - rates).mean() < 0.05


def test_what_is_missing_new_or_all_the_same_is_no_obstacle() -> None:
    rng = np.random.default_rng(3)
    table, rates = world(rng, 2_000)
    table[:, 2], table[:, 4] = np.nan, 7.0
    targets = (rng.random(2_000) < rates).astype(np.float64)
    trees = BoostedTrees.fit(table, [5], targets, binary=True)
    odd = np.array([[np.nan] * 5 + [0], [1e30] * 5 + [STATES + 7], [-1e30, 0, 0, 0, 0, 1]], dtype=np.float32)
    assert ((trees.predict(odd) > 0) & (trees.predict(odd) < 1)).all()
    alike = BoostedTrees.fit(np.zeros((500, 2), dtype=np.float32), [], targets[:500], binary=True)
    assert alike.predict(np.zeros((3, 2), dtype=np.float32)) == pytest.approx(targets[:500].mean(), abs=0.01)


def test_they_are_the_same_fitted_again_stored_and_asked_row_by_row() -> None:
    rng = np.random.default_rng(4)
    table, rates = world(rng, 2_000)
    targets = (rng.random(2_000) < rates).astype(np.float64)
    trees = BoostedTrees.fit(table, [5], targets, binary=True)
    whole = trees.predict(table)
    packed = msgspec.msgpack.encode(trees.to_dict())
    assert packed == msgspec.msgpack.encode(BoostedTrees.fit(table, [5], targets, binary=True).to_dict())
    assert len(packed) < 20_000
    stored = BoostedTrees.from_dict(msgspec.msgpack.decode(packed))
    assert np.array_equal(stored.predict(table), whole)
    assert np.array_equal(np.concatenate([stored.predict(table[row : row + 1]) for row in range(50)]), whole[:50])
    assert len(trees.predict(table[:0])) == 0
