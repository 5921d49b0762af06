"""Seeded streams, and the rows of real tables in random order: laws that never change unless a table changes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = dict[str, NDArray[Any]]
"""A column for each signal, all of the same length."""
Generate = Callable[[np.random.Generator, int], Values]


def errors(rate: float) -> Generate:
    """Wrong predictions, independent of each other."""
    return lambda rng, n: {"error": (rng.random(n) < rate).astype(np.float64)}


def normal(mean: float = 0.0, features: int = 1) -> Generate:
    """Normal features of deviation 1."""
    return lambda rng, n: {f"feature:{i}": rng.normal(mean, 1, n) for i in range(features)}


def autoregression(coefficient: float) -> Generate:
    """One feature, AR(1), of deviation 1."""
    return lambda rng, n: {"feature:0": _autoregression(rng, n, coefficient)}


def restless(coefficient: float) -> Generate:
    """One feature that is independent of itself but for its spread, the logarithm of which is AR(1) of deviation 1."""
    return lambda rng, n: {"feature:0": np.exp(_autoregression(rng, n, coefficient)) * rng.normal(size=n)}


def _autoregression(rng: np.random.Generator, n: int, coefficient: float) -> NDArray[np.float64]:
    from scipy.signal import lfilter

    noise = rng.normal(size=n) * np.sqrt(1 - coefficient**2)
    start = np.array([coefficient * rng.normal()])
    return np.asarray(lfilter([1.0], [1.0, -coefficient], noise, zi=start)[0])


def season(period: int) -> Generate:
    """One normal feature whose mean goes up and down by half a deviation, once in ``period`` rows."""

    def generate(rng: np.random.Generator, n: int) -> Values:
        wave = 0.5 * np.sin(2 * np.pi * (np.arange(n) / period + rng.random()))
        return {"feature:0": rng.normal(size=n) + wave}

    return generate


def shuffled(table: Path) -> Generate:
    """All columns of a table, rows drawn at random."""
    import pandas as pd

    frame = pd.read_csv(table)
    columns = {f"feature:{name}": frame[name].to_numpy(np.float64) for name in frame.columns}

    def generate(rng: np.random.Generator, n: int) -> Values:
        picked = rng.integers(0, len(frame), n)
        return {name: column[picked] for name, column in columns.items()}

    return generate


def joined(first: Values, second: Values) -> Values:
    """One stream after the other."""
    return {name: np.concatenate((first[name], second[name])) for name in first}
