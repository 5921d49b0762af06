"""Shapes that a series never had are strange, and those it had are not."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from detectors.resonance import LEARNED, MOST_SHAPES, Resonance, ShapeMemory, clock
from detectors.shapes import LENGTH, Shapes

DAY = 48
REFERENCE = 600


def waves(days: int, noise: float = 0.05) -> NDArray[np.float64]:
    """A wave a day, with some noise."""
    place = np.arange(days * DAY)
    return np.sin(2 * np.pi * place / DAY) + noise * np.random.default_rng(1).normal(size=len(place))


def scored(values: NDArray[np.float64]) -> NDArray[np.float64]:
    resonance = Resonance(values[:REFERENCE])
    return np.concatenate((np.zeros(REFERENCE), resonance.scores(values[REFERENCE:])))


def test_a_day_without_its_wave_is_strange_though_no_value_is() -> None:
    values = waves(60)
    usual = scored(values)
    values[50 * DAY : 51 * DAY] = 0.9
    scores = scored(values)
    assert scores[50 * DAY : 51 * DAY].max() > 0.3
    assert usual.max() == scores[: 50 * DAY].max() == 0


def test_golden_row_at_which_a_wave_of_twice_the_speed_is_strange() -> None:
    values = waves(60)
    values[40 * DAY : 41 * DAY] = np.sin(4 * np.pi * np.arange(DAY) / DAY)
    scores = scored(values)
    assert (int(np.flatnonzero(scores)[0]), round(float(scores.max()), 4)) == (1_934, 0.9219)


def test_the_second_time_a_shape_is_known() -> None:
    values = waves(80, noise=0.0)
    for day in (40, 60):
        values[day * DAY : (day + 1) * DAY] = 0.9
    scores = scored(values)
    assert scores[40 * DAY : 42 * DAY].max() > 0.3
    assert scores[60 * DAY : 62 * DAY].max() == 0


@pytest.mark.parametrize(("scale", "start"), [(1e6, 0.0), (0.5, 4.0), (4.0, -1_024.0)])
def test_the_unit_of_a_series_changes_nothing(scale: float, start: float) -> None:
    values = np.round(waves(50) * 64) / 64
    values[40 * DAY : 41 * DAY] = 0.875
    assert scored(values * scale + start) == pytest.approx(scored(values), abs=1e-9)


def test_nothing_is_said_before_enough_blocks_are_learned() -> None:
    values = waves(40)
    values[300:340] = 5.0
    scores = Resonance(values[:100]).scores(values[100:])
    assert (scores[: 4 * LEARNED - 100] == 0).all()


@pytest.mark.parametrize("constant", [0.0, 7.5, -1e30])
def test_a_series_that_never_moves_is_not_strange_until_it_does(constant: float) -> None:
    values = np.full(2_000, constant)
    assert (scored(values) == 0).all()
    values[1_500:1_510] = constant + max(1.0, abs(constant))
    scores = scored(values)
    assert np.isfinite(scores).all()
    assert scores[:1_500].max() == 0
    assert scores[1_500:1_520].max() > 0


@given(st.lists(st.integers(1, 1_500), max_size=10), st.booleans())
def test_scores_depend_neither_on_batches_nor_on_restarts(cuts: list[int], restarts: bool) -> None:
    values = waves(40)
    values[1_000:1_020], values[1_400] = 3.0, -6.0
    resonance, parts = Resonance(values[:300]), []
    for part in np.split(values[300:], sorted(cuts)):
        parts.append(resonance.scores(part))
        if restarts:
            stored = msgspec.msgpack.decode(msgspec.msgpack.encode(resonance.to_dict()))
            resonance = Resonance(np.empty(0))
            resonance.restore(stored)
    assert (np.concatenate(parts) == Resonance(values[:300]).scores(values[300:])).all()


def test_what_is_remembered_of_an_endless_series_of_news_is_bounded() -> None:
    rng = np.random.default_rng(5)
    resonance = Resonance(rng.normal(size=REFERENCE))
    sizes = []
    for _ in range(4):
        resonance.scores(rng.standard_cauchy(size=5_000))
        sizes.append(len(msgspec.msgpack.encode(resonance.to_dict())))
    assert max(sizes) < MOST_SHAPES * 4 * LENGTH * 8 + 20_000


def test_a_block_of_the_reference_is_as_long_as_makes_enough_of_them() -> None:
    assert [clock(rows) for rows in (0, 100, 207)] == [(4, 104)] * 3
    assert [clock(rows) for rows in (208, 604, 750, 5_000)] == [(2, 104), (5, 120), (7, 107), (7, 107)]


def test_a_prototype_is_what_its_shapes_have_in_common() -> None:
    memory, one = ShapeMemory(), np.linspace(0.2, 0.8, 2 * LENGTH)
    assert memory.match(one, 0.9)[0] < 0.5, "nothing is known yet"
    assert memory.match(one, 0.9) == (pytest.approx(1.0), pytest.approx(1.0))
    memory.match(one + 0.01, 0.9)
    match, _ = memory.match(one, 1.1)
    assert 0.9 < match <= 1.0


def test_what_is_remembered_is_expressed_in_the_new_range_when_that_widens() -> None:
    shapes, memory = Shapes(), ShapeMemory()
    shapes.expect(np.array([0.0, 1.0]))
    for value in (0.0, 1.0) * LENGTH:
        shape, _ = shapes.take(np.array([value]))
    assert shape is not None
    memory.match(shape, 0.99)
    _, moved = shapes.take(np.array([10.0]))
    assert moved is not None
    scale, start = moved
    memory.move(scale, start)
    known = np.concatenate((shape[:LENGTH], shape[LENGTH:] * scale + start))
    assert memory.match(known, 1.1)[0] == pytest.approx(1.0)
