"""The fast way to a number's bin leads to the same bin as bisection."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.grid import FEWEST, Grid

finite = st.floats(allow_nan=False, allow_infinity=False)


def check(edges: np.ndarray, numbers: np.ndarray) -> None:
    many = np.resize(numbers, max(FEWEST, len(numbers)))
    found = Grid(edges)(many)
    assert found.dtype == np.int16
    assert found.tolist() == np.searchsorted(edges, many, side="right").tolist()


def around(edges: np.ndarray) -> np.ndarray:
    """The edges, their neighbours in floating point, and what is no number."""
    odd = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e308, -1e308, 5e-324]
    return np.concatenate((edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf), odd))


@given(st.lists(finite, min_size=1, max_size=25, unique=True), st.lists(st.floats(), max_size=20))
def test_for_any_edges_and_any_numbers(edges: list[float], numbers: list[float]) -> None:
    sorted_edges = np.sort(np.array(edges))
    check(sorted_edges, np.concatenate((around(sorted_edges), numbers)))


@pytest.mark.parametrize("low", [0.0, -1e6, 1e12, 1e-9])
@pytest.mark.parametrize("span", [1e-6, 1.0, 1e9])
def test_for_edges_evenly_apart(low: float, span: float) -> None:
    edges = np.unique(low + span * np.linspace(0, 1, 21))
    check(edges, np.concatenate((around(edges), np.random.default_rng(1).uniform(low - span, low + 2 * span, 5_000))))


@pytest.mark.parametrize("edges", [[], [1.0], [1.0, 1.0], [-1e308, 1e308], [0.0, 5e-324], [0.0, 1e-300, 1.0]])
def test_for_edges_that_no_grid_can_hold(edges: list[float]) -> None:
    check(np.array(edges), around(np.array(edges)))


def test_it_is_used_where_it_can_be() -> None:
    assert Grid(np.linspace(-3, 3, 21))._usable
    assert not Grid(np.array([0.0, 1e-6, 1.0]))._usable
