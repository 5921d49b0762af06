"""A world that makes rows: features of mixed kinds, and labels that follow from them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Table = dict[str, NDArray[Any]]


@dataclass
class Batch:
    """Rows as the world makes them; the features may be broken on their way to the model."""

    features: Table
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, which: NDArray[Any]) -> "Batch":
        return Batch({name: column[which] for name, column in self.features.items()}, self.labels[which])


class World:
    """Features of mixed kinds, and a logistic law of the labels with an interaction that no linear model sees."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        count = int(rng.integers(8, 21))
        kinds = ["normal", "lognormal", "correlated", "range", "category", "flag"]
        self.kinds = [*kinds, *rng.choice(kinds, count - len(kinds)).tolist()]
        self.weights = rng.normal(0, 0.9, count) * (rng.random(count) < 0.7)
        self.weights[rng.choice(count, 3, replace=False)] = rng.choice([-1.2, 1.2], 3)
        self.intercept = float(rng.normal(0, 0.7))
        self.moved = np.zeros(count)
        self.levels = {i: rng.dirichlet(np.full(5, 3.0)) for i, kind in enumerate(self.kinds) if kind == "category"}
        self.effects = {i: rng.normal(0, 1, 5) for i in self.levels}

    def names(self, *kinds: str) -> list[int]:
        return [i for i, kind in enumerate(self.kinds) if kind in kinds]

    def rows(self, n: int) -> Batch:
        features: Table = {}
        score = np.full(n, self.intercept)
        latent = np.zeros((n, len(self.kinds)))
        for i, kind in enumerate(self.kinds):
            z = self._latent(kind, n) + self.moved[i]
            name = f"x{i}"
            if kind == "category":
                odds = self.levels[i] * np.exp(self.moved[i] * np.arange(5))
                drawn = self.rng.choice(5, n, p=odds / odds.sum())
                features[name] = np.array([f"level {level}" for level in drawn], dtype=object)
                z = self.effects[i][drawn]
            elif kind == "flag":
                z = (z > 0.7).astype(np.float64)
                features[name] = z
            elif kind == "lognormal":
                features[name] = np.round(np.exp(8 + 0.6 * z), 2)
            elif kind == "range":
                features[name] = np.round(20 + 12 * z + 25)
            else:
                features[name] = z
            latent[:, i] = z
            score += self.weights[i] * z
        score += 0.3 * latent[:, 0] * latent[:, 2]
        labels = (self.rng.random(n) < 1 / (1 + np.exp(-score))).astype(np.int64)
        return Batch(features, labels)

    def _latent(self, kind: str, n: int) -> NDArray[np.float64]:
        noise = self.rng.normal(size=n)
        if kind != "correlated":
            return noise
        from scipy.signal import lfilter

        start = np.array([0.7 * self.rng.normal()])
        return np.asarray(lfilter([1.0], [1.0, -0.7], noise * np.sqrt(1 - 0.7**2), zi=start)[0])
