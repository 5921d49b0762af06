"""How the rows of a seeded model are drawn, before and after its world has changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.columns import Columns, Stream

NOW = 1_795_176_000.0  # 2026-11-20 12:00 UTC
CHUNK = 500
SECONDS_A_ROW = 3.0


@dataclass(frozen=True)
class World:
    """How a model's rows are drawn: from ``change_row`` on its data has moved by ``shift`` and its errors risen."""

    seed: int
    chunks: int = 48
    change_row: int = 1 << 60
    back_row: int = 1 << 60
    shift: float = 0.0
    error: float = 0.16
    later_error: float = 0.31
    regression: bool = False


def _moved(rows: np.ndarray, world: World) -> np.ndarray:
    return (rows >= world.change_row) & (rows < world.back_row)


def _ts(rows: np.ndarray, world: World) -> np.ndarray:
    return NOW - (2_000 + world.chunks * CHUNK - rows) * SECONDS_A_ROW


def draw_features(rng: np.random.Generator, rows: np.ndarray, world: World) -> Columns:
    n, moved = len(rows), _moved(rows, world)
    broken = (rows >= world.change_row + 2_000) & (world.shift > 1)
    employer = np.where(rng.random(n) < np.where(broken, 0.38, 0.004), None, "known")
    return Columns(
        Stream.FEATURES,
        rows,
        _ts(rows, world),
        {
            "feature:age": rng.normal(44, 11, n) - 9 * world.shift * moved,
            "feature:income": np.exp(rng.normal(10.4, 0.5, n) - 0.3 * world.shift * moved),
            "feature:amount": np.exp(rng.normal(9.1, 0.7, n)),
            "feature:months": rng.integers(6, 61, n).astype(float),
            "feature:state": np.where(
                rng.random(n) < 0.18 * world.shift * moved, "FL", rng.choice(["CA", "MA", "NY", "TX", "WA"], n)
            ).astype(object),
            "feature:employer": employer.astype(object),
        },
    )


def draw_predictions(rng: np.random.Generator, rows: np.ndarray, world: World) -> Columns:
    n, moved = len(rows), _moved(rows, world)
    if world.regression:
        return Columns(Stream.PREDICTION, rows, _ts(rows, world), {"prediction": rng.normal(320, 60, n)})
    score = rng.beta(2 + 1.2 * world.shift * moved, 4, n)
    return Columns(
        Stream.PREDICTION, rows, _ts(rows, world), {"prediction": (score > 0.5).astype(float), "score": score}
    )


def draw_outcomes(rng: np.random.Generator, rows: np.ndarray, world: World) -> Columns:
    n, moved = len(rows), _moved(rows, world)
    if world.regression:
        return Columns(
            Stream.OUTCOME,
            rows,
            _ts(rows, world),
            {"label": rng.normal(320, 60, n), "error": np.abs(rng.normal(0, 21, n))},
        )
    rate = np.where(moved, world.later_error, world.error)
    return Columns(
        Stream.OUTCOME,
        rows,
        _ts(rows, world),
        {"label": (rng.random(n) < 0.3).astype(float), "error": (rng.random(n) < rate).astype(float)},
    )
