"""credit_default as a world: shuffled rows, with shifts and drift put into them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from bench.quality.triage.scenarios import SCENARIOS, Scenario, as_is, label_shift, numbers
from bench.quality.triage.world import Batch, Table
from detectors.cause import Cause

CATEGORIES: Final = ("SEX", "EDUCATION", "MARRIAGE")
POSITIVE: Final = ("LIMIT_BAL", "AGE")


class RealWorld:
    """Shuffled rows of credit_default: shifts by drawing some rows more often, drift by turning labels round."""

    def __init__(self, rng: np.random.Generator, table: Path) -> None:
        frame = pd.read_csv(table).drop(columns="ID")
        self.rng = rng
        self._labels = frame.pop("default.payment.next.month").to_numpy(np.int64)
        self._columns: Table = {}
        self.kinds = []
        for i, name in enumerate(frame):
            column = frame[name]
            text = name in CATEGORIES
            self._columns[f"x{i}"] = column.astype(str).to_numpy(object) if text else column.to_numpy(np.float64)
            self.kinds.append("category" if text else "lognormal" if name in POSITIVE else "normal")
        self._left = rng.permutation(len(frame))
        self.tilted: dict[str, float] = {}
        self.flipped: str | None = None

    def names(self, *kinds: str) -> list[int]:
        return [i for i, kind in enumerate(self.kinds) if kind in kinds]

    def rows(self, n: int) -> Batch:
        odds = np.zeros(len(self._left))
        for name, strength in self.tilted.items():
            column = self._columns[name][self._left]
            odds += strength * (np.argsort(np.argsort(column, kind="stable")) / len(column) - 0.5) * 4
        odds = np.exp(odds)
        n = min(n, len(self._left) // 2)
        drawn = self.rng.choice(len(self._left), n, replace=False, p=odds / odds.sum())
        which, self._left = self._left[drawn], np.delete(self._left, drawn)
        labels = self._labels[which]
        if self.flipped is not None:
            column = self._columns[self.flipped][which]
            other = (column > np.median(column)) & (self.rng.random(n) < 0.6)
            labels = np.where(other, 1 - labels, labels)
        return Batch({name: column[which] for name, column in self._columns.items()}, labels)


def _real_covariate(rng: np.random.Generator, world: Any) -> Callable[[Batch], Batch]:
    for i in rng.choice(numbers(world), int(rng.integers(1, 4)), replace=False):
        world.tilted[f"x{i}"] = float(rng.choice([-1, 1]) * rng.uniform(0.6, 1.2))
    return as_is


def _real_concept(rng: np.random.Generator, world: Any) -> Callable[[Batch], Batch]:
    world.flipped = f"x{rng.choice(world.names('lognormal'))}"
    return as_is


REAL: Final = (
    *SCENARIOS[:5],
    Scenario(Cause.COVARIATE_SHIFT, None, _real_covariate),
    Scenario(Cause.LABEL_SHIFT, None, label_shift),
    Scenario(Cause.CONCEPT_DRIFT, None, _real_concept),
)
