"""Rows that can be told from the reference's by several features at once."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from seeded_rows import learn, rows_of, text, watch

from detectors.base import Verdict
from detectors.columns import Stream
from detectors.e_detector import EDetector
from detectors.joint_drift import JointDrift

Values = dict[str, NDArray[Any]]
BUDGET = 100_000
CHANGE = 4_000


def alone(rng: np.random.Generator, n: int) -> Values:
    return {f"feature:{i}": rng.normal(size=n) for i in range(8)}


def correlated(rng: np.random.Generator, n: int) -> Values:
    values = alone(rng, n)
    return values | {"feature:5": 0.9 * values["feature:2"] + np.sqrt(1 - 0.81) * values["feature:5"]}


def of_one_sign(rng: np.random.Generator, n: int) -> Values:
    """Each is normal by itself."""
    values = alone(rng, n)
    return values | {"feature:5": np.abs(values["feature:5"]) * np.sign(values["feature:2"])}


def region(rng: np.random.Generator, n: int) -> Values:
    return {"feature:amount": np.exp(rng.normal(size=n)), "feature:region": text(rng, "aabc", n)}


def region_of_large(rng: np.random.Generator, n: int) -> Values:
    """The same amounts and as many of each region; the largest are all of one."""
    values = region(rng, n)
    regions = values["feature:region"].copy()
    order = np.argsort(values["feature:amount"])
    return values | {
        "feature:region": np.concatenate((regions[regions != "c"], regions[regions == "c"]))[np.argsort(order)]
    }


def raised(before: Values, after: Values, budget: float = BUDGET) -> list[Verdict]:
    columns = rows_of(Stream.FEATURES, {name: np.concatenate((before[name], after[name])) for name in before})
    reference, live = learn(columns)
    return [one for one in watch(JointDrift(reference, budget), reference, live, window=4) if not one.recovered]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("before", "after", "pair"),
    [
        (alone, correlated, {"feature:2", "feature:5"}),
        (correlated, alone, {"feature:2", "feature:5"}),
        (alone, of_one_sign, {"feature:2", "feature:5"}),
        (region, region_of_large, {"feature:amount", "feature:region"}),
    ],
    ids=["they begin to go together", "they cease to", "they share their sign", "a number and a category"],
)
def test_it_names_the_two_features_of_which_neither_moves_by_itself(
    before: Any, after: Any, pair: set[str], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    found = raised(before(rng, CHANGE), after(rng, 1_000))
    assert found, "nothing was raised"
    first = found[0]
    assert CHANGE <= first.row < CHANGE + 300
    assert CHANGE - 100 <= first.change_row <= first.row
    assert set(first.evidence["together"][0][:2]) == pair
    assert {name for name, _ in first.ranking[:2]} == pair
    assert 0.6 < first.evidence["told_apart"] <= 1


@pytest.mark.parametrize("seed", range(3))
def test_a_change_that_both_classifiers_see_is_said_once_and_so_is_its_end(seed: int) -> None:
    rng = np.random.default_rng([10, seed])
    parts = correlated(rng, CHANGE), alone(rng, 3_000), correlated(rng, 9_000)
    columns = rows_of(Stream.FEATURES, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    reference, live = learn(columns)
    begin, end = watch(JointDrift(reference, 10_000), reference, live, window=4)
    assert (begin.recovered, end.recovered) == (False, True)
    assert CHANGE <= begin.row < CHANGE + 300
    assert end.row > CHANGE + 3_000


def test_what_it_sees_is_hidden_from_a_look_at_each_feature() -> None:
    rng = np.random.default_rng(4)
    before, after = alone(rng, CHANGE), correlated(rng, 2_000)
    columns = rows_of(Stream.FEATURES, {name: np.concatenate((before[name], after[name])) for name in before})
    reference, live = learn(columns)
    assert watch(EDetector(reference, BUDGET), reference, live, window=4) == []
    assert watch(JointDrift(reference, BUDGET), reference, live, window=4)


def test_it_says_how_the_pair_went_together_before_and_now() -> None:
    rng = np.random.default_rng(1)
    _, _, then, now = raised(correlated(rng, CHANGE), alone(rng, 1_000))[0].evidence["together"][0]
    assert then == pytest.approx(0.9, abs=0.05)
    assert now < then - 0.2


def test_where_all_move_by_themselves_no_pair_is_named() -> None:
    rng = np.random.default_rng(2)
    after = {name: column + 1.0 for name, column in alone(rng, 1_000).items()}
    first = raised(alone(rng, CHANGE), after)[0]
    assert first.row < CHANGE + 60
    assert first.evidence["together"] == []
    assert len(first.ranking) == 8


def test_false_alarms_stay_within_the_budget() -> None:
    """Twelve streams of ten times the budget would give 120 alarms, if it were used up."""
    alarms = 0
    for seed in range(12):
        rng = np.random.default_rng([5, seed])
        alarms += len(raised(alone(rng, 2_000), alone(rng, 10_000), budget=1_000))
    assert alarms <= 80


def test_values_that_all_tie_are_no_change() -> None:
    rng = np.random.default_rng(6)

    def flags(n: int) -> Values:
        return {f"feature:{i}": (rng.random(n) < 0.02).astype(np.float64) for i in range(3)}

    assert raised(flags(2_000), flags(8_000)) == []


def test_one_feature_has_nothing_to_go_together_with_and_is_watched_all_the_same() -> None:
    rng = np.random.default_rng(7)
    found = raised({"feature:a": rng.normal(size=CHANGE)}, {"feature:a": rng.normal(size=1_000) * 3})
    assert found[0].ranking == (("feature:a", 1.0),)


def test_hundreds_of_features_keep_the_terms_few() -> None:
    rng = np.random.default_rng(9)
    columns = rows_of(Stream.FEATURES, {f"feature:{i:03}": rng.normal(size=2_600) for i in range(500)})
    reference, live = learn(columns)
    detector = JointDrift(reference, BUDGET)
    assert watch(detector, reference, live, window=50) == []
    assert sum(map(len, detector.state()["learned"])) < 60_000
