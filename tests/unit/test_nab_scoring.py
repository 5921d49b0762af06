"""NAB's scoring rules as the bench has them, on cases small enough to work out by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.quality.nab import FALSE_POSITIVE, Series, best_threshold, normalised, worth

ROWS, FIRST, LAST = 1_000, 400, 499
WINDOW = ((FIRST, LAST),)


def series(windows: tuple[tuple[int, int], ...] = WINDOW, rows: int = ROWS) -> list[Series]:
    return [Series("one", np.arange(rows, dtype=np.float64), np.zeros(rows), windows)]


def fires(*at: int, rows: int = ROWS) -> dict[str, NDArray[np.float64]]:
    scores = np.zeros(rows)
    scores[list(at)] = 1.0
    return {"one": scores}


def raw(*at: int) -> float:
    """The score before it is normalised: between -1 and 1 for one window."""
    return normalised(series(), fires(*at), 1.0) / 50 - 1


def test_the_first_row_of_a_window_counts_one_and_later_rows_less() -> None:
    counts = [raw(row) for row in range(FIRST, LAST + 1)]
    assert counts[0] == pytest.approx(1.0)
    assert counts == sorted(counts, reverse=True)
    assert counts[50] == pytest.approx(0.85 / 0.987, abs=0.01)
    assert 0 < counts[-1] < 0.03


def test_a_window_counts_once_by_its_earliest_detection() -> None:
    assert raw(FIRST + 30, FIRST + 31, LAST) == pytest.approx(raw(FIRST + 30))


def test_a_missed_window_counts_minus_one() -> None:
    assert raw() == pytest.approx(-1.0)
    assert normalised(series(), fires(), 1.0) == 0.0
    assert normalised(series(), fires(FIRST), 1.0) == pytest.approx(100.0)


def test_a_detection_behind_a_window_costs_less_than_one_far_from_any() -> None:
    just_behind, behind, far, before = (raw(row) - raw() for row in (LAST + 1, LAST + 50, LAST + 350, FIRST - 1))
    assert 0 > just_behind > behind > far
    assert far == pytest.approx(-FALSE_POSITIVE)
    assert before == pytest.approx(-FALSE_POSITIVE)


def test_what_is_behind_one_window_and_within_another_belongs_to_the_other() -> None:
    counts, of = worth(ROWS, ((300, 399), (450, 549)))
    assert counts[450] == pytest.approx(1.0)
    assert of[449] == -1
    assert of[450] == 1
    assert 0 > counts[449] > -FALSE_POSITIVE


def test_the_first_rows_are_not_scored() -> None:
    assert raw(0, 149) == pytest.approx(-1.0)
    assert raw(150) == pytest.approx(-1.0 - FALSE_POSITIVE)
    assert series(rows=1_000)[0].probation == 150
    assert series(rows=20_000)[0].probation == 750
    assert normalised(series(((10, 60), *WINDOW)), fires(20, FIRST), 1.0) == pytest.approx(100.0)


def test_series_without_windows_cost_what_fires_in_them() -> None:
    assert normalised(series(()), fires(500, 600), 1.0) == pytest.approx(-2 * FALSE_POSITIVE)


def test_the_threshold_is_the_one_at_which_all_series_together_score_highest() -> None:
    scores = fires()
    scores["one"][[FIRST + 10, 700, 800]] = 0.9, 0.5, 0.3
    assert best_threshold(series(), scores) == 0.9
    scores["one"][FIRST] = 0.4  # earlier in the window, and one false detection on the way: not worth it
    assert best_threshold(series(), scores) == 0.9


def test_it_is_best_never_to_fire_when_nothing_tells_the_window_from_the_rest() -> None:
    every_row = {"one": np.ones(ROWS)}
    assert best_threshold(series(), every_row) == np.inf
    assert normalised(series(), every_row, np.inf) == 0.0
    assert normalised(series(), every_row, 1.0) < -1_000


def test_the_threshold_scores_what_it_was_chosen_for() -> None:
    rng = np.random.default_rng(8)
    several = series(((300, 350), (700, 760)))
    scores = {"one": rng.random(ROWS).round(2)}
    chosen = best_threshold(several, scores)
    tried = [normalised(several, scores, threshold) for threshold in (*np.unique(scores["one"]), np.inf)]
    assert normalised(several, scores, chosen) == pytest.approx(max(tried))
