"""What is proven of two models by the same rows, and how often by chance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.betting import proven_positive
from retrain.paired import Pairs

ALPHA = 0.05
RUNS = 2_000
NOISE = 3 * np.sqrt(ALPHA * (1 - ALPHA) / RUNS)
"""Three standard errors of a rate of 5 % seen in so many runs."""


def differences(law: str, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Differences of losses in [-1, 1] with mean 0, of shape (rows, RUNS)."""
    size = (rows, RUNS)
    if law == "few disagreements":
        return rng.choice([-1.0, 0.0, 1.0], size, p=[0.025, 0.95, 0.025])
    if law == "many disagreements":
        return rng.choice([-1.0, 0.0, 1.0], size, p=[0.2, 0.6, 0.2])
    if law == "mostly a little better, rarely ruinous":
        return np.where(rng.random(size) < 0.02, -1.0, 0.02 / 0.98)
    champion, challenger = np.minimum(rng.exponential(0.2, (2, *size)), 1)
    return champion - challenger


LAWS = ["few disagreements", "many disagreements", "mostly a little better, rarely ruinous", "absolute errors"]


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("rows", [30, 100, 400])
def test_no_better_is_proven_better_at_most_as_often_as_allowed(law: str, rows: int) -> None:
    x = differences(law, rows, np.random.default_rng(rows))
    rate = proven_positive(x, np.ones(RUNS), ALPHA).mean()
    assert rate <= ALPHA + NOISE


def test_a_studentised_bound_would_not_hold_here() -> None:
    x = differences("mostly a little better, rarely ruinous", 100, np.random.default_rng(1))
    spread = np.maximum(x.std(axis=0, ddof=1), 1e-12)
    t_test = (x.mean(axis=0) / spread * 10 > 1.66).mean()
    assert t_test > 2 * ALPHA
    assert proven_positive(x, np.ones(RUNS), ALPHA).mean() <= ALPHA


@pytest.mark.parametrize(
    ("rows", "better", "worse", "least"),
    [(300, 0.15, 0.05, 0.95), (1000, 0.12, 0.08, 0.6), (1000, 0.2, 0.1, 0.98), (3000, 0.12, 0.08, 0.95)],
)
def test_a_real_gain_is_seen(rows: int, better: float, worse: float, least: float) -> None:
    p = [worse, 1 - better - worse, better]
    x = np.random.default_rng(2).choice([-1.0, 0.0, 1.0], (rows, RUNS), p=p)
    assert proven_positive(x, np.ones(RUNS), ALPHA).mean() >= least


@given(rows=st.integers(1, 60), seed=st.integers(0, 1_000), scale=st.floats(0.01, 100))
def test_the_proof_does_not_depend_on_the_unit_of_loss(rows: int, seed: int, scale: float) -> None:
    x = np.random.default_rng(seed).uniform(-1, 1, (rows, 5))
    one = proven_positive(x, np.ones(5), ALPHA)
    assert (one == proven_positive(x * scale, np.full(5, scale), ALPHA)).all()


def test_nothing_is_proven_by_few_rows_however_good() -> None:
    assert not proven_positive(np.ones((3, 1)), np.ones(1), ALPHA)[0]


# --- pairs


def paired(rng: np.random.Generator, rows: int, better: float, worse: float) -> Pairs:
    both, who = rng.random(rows) < 0.1, rng.random(rows)
    return Pairs(
        np.where(both, 1.0, (who < better).astype(float)),
        np.where(both, 1.0, ((who >= better) & (who < better + worse)).astype(float)),
    )


def test_interval_holds_the_truth_and_narrows() -> None:
    rng = np.random.default_rng(3)
    truth = 0.9 * 0.1
    widths = []
    for rows in (100, 400, 1600):
        missed = 0
        for _ in range(30):
            low, high = paired(rng, rows, 0.2, 0.1).interval(ALPHA)
            missed += not ((low is None or low < truth) and (high is None or truth < high))
        widths.append((high or 1.0) - (low or -1.0))
        assert missed <= 7  # 10 % of 30, and three standard errors
    assert widths[0] > widths[1] > widths[2]


def test_relative_gain_of_numbers() -> None:
    rng = np.random.default_rng(4)
    champion = rng.uniform(0, 1, 2_000)
    pairs = Pairs(champion, champion * 0.8, relative=True)
    assert pairs.gain == pytest.approx(0.2)
    assert pairs.proves_above(0.15, ALPHA)
    assert not pairs.proves_above(0.2, ALPHA)
    assert pairs.proves_below(0.25, ALPHA)
    low, high = pairs.interval(ALPHA)
    assert low is not None
    assert high is not None
    assert low < 0.2 < high


def test_a_perfect_champion_cannot_be_beaten() -> None:
    pairs = Pairs(np.zeros(500), np.full(500, 0.1), relative=True)
    assert pairs.gain == -10
    assert not pairs.proves_above(0.0, ALPHA)
    assert pairs.proves_below(0.0, ALPHA)
    assert not Pairs(np.zeros(500), np.zeros(500), relative=True).proves_above(0.0, ALPHA)


@pytest.mark.parametrize("memory", [0.5, 0.8])
def test_rows_that_resemble_their_neighbours_count_less(memory: float) -> None:
    rng = np.random.default_rng(5)
    runs, rows = 300, 600
    shocks = rng.normal(size=(runs, rows)) * np.sqrt(1 - memory**2)
    wrong = 0
    for run in shocks:
        state, level = np.empty(rows), 0.0
        for row, shock in enumerate(run):
            level = memory * level + shock
            state[row] = level
        pairs = Pairs((state > 1.28).astype(float), (state < -1.28).astype(float))
        wrong += pairs.proves_above(0.0, ALPHA)
    assert wrong / runs <= ALPHA + 2 * np.sqrt(ALPHA / runs)
    assert pairs.block > 1


def test_independent_rows_are_not_blocked_much() -> None:
    rng = np.random.default_rng(6)
    blocks = [paired(rng, 1_000, 0.1, 0.1).block for _ in range(50)]
    assert np.median(blocks) == 1


def test_no_rows_prove_nothing() -> None:
    pairs = Pairs(np.array([]), np.array([]))
    assert pairs.gain == 0
    assert pairs.interval(ALPHA) == (None, None)
    assert not pairs.proves_above(-0.5, ALPHA)
    assert not pairs.proves_below(0.5, ALPHA)
