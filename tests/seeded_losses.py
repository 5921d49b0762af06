"""A model that is bad at one kind of case: what its traffic says of its accuracy before any label comes."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from seeded_events import label, line

HARD = 0.2
"""The share of cases that it gets wrong every other time; of the others it gets one in twenty wrong."""


def log(
    rows: int,
    *,
    seed: int = 1,
    delay: int = 300,
    hard: Callable[[int], float] = lambda _: HARD,
    flipped: Callable[[int], float] = lambda _: 0.0,
    **fields: Any,
) -> Iterator[bytes]:
    """Predictions with their labels ``delay`` rows later.

    ``hard`` is the share of hard cases at a row, ``flipped`` the share of labels that are not what they used to be.
    """
    found = drawn(rows, seed, hard, flipped)
    for row in range(rows + delay):
        if row < rows:
            kind, noise, made, score, _ = (column[row] for column in found)
            yield line(**_prediction(row, kind, noise, made, score, **fields))
        if row >= delay:
            yield line(**label(row - delay, int(found[4][row - delay]), ts=_ts(row)))


def drawn(
    rows: int, seed: int, hard: Callable[[int], float], flipped: Callable[[int], float]
) -> tuple[NDArray[Any], ...]:
    """Kind of case, a number that means nothing, prediction, score and label of each row."""
    rng = np.random.default_rng(seed)
    kinds = np.where(rng.random(rows) < [hard(row) for row in range(rows)], "hard", "easy")
    wrong = rng.random(rows) < np.where(kinds == "hard", 0.5, 0.05)
    made = rng.integers(0, 2, rows)
    scores = np.where(made == 1, 0.9, 0.1)
    labels = np.where(wrong, 1 - made, made)
    labels = np.where(rng.random(rows) < [flipped(row) for row in range(rows)], 1 - labels, labels)
    return kinds, rng.normal(size=rows).round(3), made, scores, labels


def _prediction(row: int, kind: str, noise: float, made: int, score: float, **fields: Any) -> dict[str, Any]:
    features = {"kind": str(kind), "noise": float(noise)}
    event = {"id": f"p{row}", "ts": _ts(row), "features": features, "prediction": int(made), "score": float(score)}
    return {"type": "prediction", "model": "loans", **event, **fields}


def _ts(row: int) -> float:
    return 1_795_176_000.0 + row
