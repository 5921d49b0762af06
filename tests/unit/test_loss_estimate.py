"""Performance without labels: what it sees, how sure it says it is, and what it cannot know."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from detectors.columns import Columns, Stream
from detectors.loss_estimate import LossEstimate

CHUNK = 1_000


def columns(values: dict[str, NDArray[Any]]) -> Columns:
    rows = np.arange(len(next(iter(values.values()))))
    return Columns(Stream.FEATURES, rows, rows.astype(np.float64), values)


def classes(rng: np.random.Generator, rows: int, *, hard: float = 0.3) -> tuple[Columns, NDArray[np.float64]]:
    """Predictions that are wrong in half of the hard cases, of which there is this share, and seldom in others."""
    kind = np.where(rng.random(rows) < hard, "hard", "easy").astype(object)
    wrong = rng.random(rows) < np.where(kind == "hard", 0.5, 0.05)
    return columns({"kind": kind, "noise": rng.normal(size=rows)}), wrong.astype(np.float64)


def test_a_shift_to_what_the_model_is_bad_at_is_seen_without_a_label() -> None:
    rng = np.random.default_rng(1)
    estimate = LossEstimate.learn(*classes(rng, 20_000), chunk_rows=CHUNK)
    for hard in (0.1, 0.3, 0.8):
        rows, losses = classes(rng, 20_000, hard=hard)
        assert estimate.over(estimate.expected(rows)).mean == pytest.approx(losses.mean(), abs=0.015)


def test_nineteen_intervals_of_twenty_hold_the_real_loss() -> None:
    rng = np.random.default_rng(2)
    estimate = LossEstimate.learn(*classes(rng, 20_000), chunk_rows=CHUNK)
    held = []
    for _ in range(200):
        rows, losses = classes(rng, CHUNK)
        found = estimate.over(estimate.expected(rows))
        held.append(found.low <= losses.mean() <= found.high)
    assert 0.91 <= np.mean(held) <= 0.99


def test_chunks_that_are_more_uneven_than_chance_widen_the_interval() -> None:
    rng = np.random.default_rng(3)
    rates = np.repeat(rng.choice([0.1, 0.5], 40), 500)  # by spells of which no feature tells
    uneven = (rng.random(len(rates)) < rates).astype(np.float64)
    rows = columns({"noise": rng.normal(size=len(rates))})
    assert LossEstimate.learn(rows, uneven, chunk_rows=500).dispersion > 3
    assert LossEstimate.learn(rows, rng.permutation(uneven), chunk_rows=500).dispersion < 1.5


def test_the_absolute_error_of_numbers_is_estimated_with_its_spread() -> None:
    rng = np.random.default_rng(4)

    def numbers(rows: int, largest: float) -> tuple[Columns, NDArray[np.float64]]:
        size = rng.uniform(0, largest, rows)
        return columns({"size": size}), np.abs(rng.normal(0, 1 + size))

    estimate = LossEstimate.learn(*numbers(20_000, 4.0), chunk_rows=CHUNK)
    held = []
    for largest in [1.0, 4.0] * 100:
        rows, losses = numbers(CHUNK, largest)
        found = estimate.over(estimate.expected(rows))
        held.append(found.low <= losses.mean() <= found.high)
    assert 0.88 <= np.mean(held) <= 0.995


def test_rows_without_a_loss_teach_nothing() -> None:
    rng = np.random.default_rng(5)
    rows, losses = classes(rng, 4_000)
    losses[::2] = np.nan
    whole = LossEstimate.learn(rows, losses, chunk_rows=CHUNK)
    values = {name: column[1::2] for name, column in rows.values.items()}
    half = LossEstimate.learn(columns(values), losses[1::2], chunk_rows=CHUNK)
    assert np.array_equal(whole.expected(rows).mean, half.expected(rows).mean)
    with pytest.raises(ValueError, match="no row with a loss"):
        LossEstimate.learn(rows, np.full(4_000, np.nan), chunk_rows=CHUNK)


@pytest.mark.parametrize("losses", [np.zeros(1_000), np.ones(1_000), np.array([0.0, 1.0] * 50)])
def test_where_there_is_nothing_to_tell_rows_apart_the_mean_is_the_estimate(losses: NDArray[np.float64]) -> None:
    rows = columns({"noise": np.random.default_rng(6).normal(size=len(losses))})
    found = LossEstimate.learn(rows, losses, chunk_rows=CHUNK).expected(rows)
    assert found.mean == pytest.approx(losses.mean())


def test_missing_new_and_invalid_values_are_no_obstacle() -> None:
    rng = np.random.default_rng(7)
    estimate = LossEstimate.learn(*classes(rng, 4_000), chunk_rows=CHUNK)
    odd = columns(
        {"kind": np.array([None, "never seen", "hard"], dtype=object), "noise": np.array([np.nan, np.inf, 0])}
    )
    assert np.isfinite(estimate.expected(odd).mean).all()
    assert np.isfinite(estimate.expected(columns({"kind": odd.values["kind"]})).mean).all()


def test_a_signal_without_any_value_is_left_out() -> None:
    rows, losses = classes(np.random.default_rng(8), 4_000)
    empty = columns(rows.values | {"score": np.full(4_000, np.nan), "note": np.full(4_000, None, dtype=object)})
    found = LossEstimate.learn(empty, losses, chunk_rows=CHUNK).expected(empty)
    assert np.array_equal(found.mean, LossEstimate.learn(rows, losses, chunk_rows=CHUNK).expected(rows).mean)
