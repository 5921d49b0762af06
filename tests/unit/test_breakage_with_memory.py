"""Broken data in signals that resemble their neighbours: seen soon, and not in rows that have only wandered off."""

import numpy as np
import pytest
from numpy.typing import NDArray
from seeded_rows import learn, rows_of, watch

from detectors.base import Kind, Verdict
from detectors.breakage import find_broken
from detectors.columns import Stream
from detectors.e_detector import EDetector
from detectors.recent_rows import RecentRows
from detectors.reference import Reference

BREAK = 4_000
ROWS = 6_000
BUDGET = 1_000_000


def season(rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.normal(size=ROWS) + 2 * np.sin(2 * np.pi * np.arange(ROWS) / 500)


def slow(rng: np.random.Generator) -> NDArray[np.float64]:
    return wandering(rng, ROWS, 0.99)


def wandering(rng: np.random.Generator, n: int, coefficient: float) -> NDArray[np.float64]:
    values = rng.normal(size=n) * np.sqrt(1 - coefficient**2)
    values[0] = rng.normal()
    for i in range(1, n):
        values[i] += coefficient * values[i - 1]
    return values


def raised(values: NDArray[np.float64]) -> list[Verdict]:
    reference, live = learn(rows_of(Stream.FEATURES, {"feature:x": values}))
    return [one for one in watch(EDetector(reference, BUDGET), reference, live, window=10) if not one.recovered]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("made", [season, slow])
def test_a_feed_that_stops_is_raised_at_once_whatever_it_was_before(made: object, seed: int) -> None:
    values = made(np.random.default_rng(seed))  # type: ignore[operator]
    values[BREAK:] = np.nan
    (verdict,) = [one for one in raised(values) if one.kind is Kind.QUALITY and one.row >= BREAK][:1]
    assert verdict.row < BREAK + 20


@pytest.mark.parametrize("seed", range(3))
def test_another_unit_of_a_number_with_a_season_is_raised(seed: int) -> None:
    values = season(np.random.default_rng(seed))
    values[BREAK:] *= 100
    (verdict,) = [one for one in raised(values) if one.row >= BREAK][:1]
    assert verdict.row < BREAK + 1_000


@pytest.mark.parametrize("seed", range(10))
def test_rows_that_have_wandered_off_together_are_not_in_another_unit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = {f"feature:{i}": wandering(rng, 5_000, 0.995) for i in range(5)}
    rows = rows_of(Stream.FEATURES, values)
    reference = Reference.learn(rows.slice(0, 2_000))
    for start in range(2_000, 4_800, 200):
        recent = RecentRows.none(5).then([rows.slice(start, start + 200)], reference)
        assert not [one for one in find_broken(reference, recent) if "undo" in one.figures]
