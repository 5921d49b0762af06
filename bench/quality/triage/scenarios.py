"""What happens to a world, or to features on their way from it to the model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.quality.triage.world import Batch
from detectors.cause import Cause


@dataclass
class Scenario:
    """How rows are after the change: a world that makes them, and what becomes of features on their way."""

    cause: Cause
    breakage: str | None
    change: Callable[[np.random.Generator, Any], Callable[[Batch], Batch]]

    @property
    def name(self) -> str:
        return self.breakage or self.cause.value


def as_is(batch: Batch) -> Batch:
    return batch


def _break(pick: Callable[[Any], list[int]], how: Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]) -> Any:
    def change(rng: np.random.Generator, world: Any) -> Callable[[Batch], Batch]:
        name = f"x{rng.choice(pick(world))}"
        state: dict[str, Any] = {}

        def broken(batch: Batch) -> Batch:
            state.setdefault("seed", int(rng.integers(1 << 30)))
            once = np.random.default_rng(state["seed"])
            return Batch(batch.features | {name: how(batch.features[name].copy(), once)}, batch.labels)

        return broken

    return change


def _units(column: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    return np.asarray(column * rng.choice([100.0, 1_000.0, 0.01, 60.0]))


def _some(share: tuple[float, float], value: Any) -> Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]:
    def how(column: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        column[rng.random(len(column)) < rng.uniform(*share)] = value
        return column

    return how


def _nulls(column: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    return _some((0.2, 0.7), None if column.dtype == object else np.nan)(column, rng)


def _stop(column: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    if column.dtype == object or rng.random() < 0.5:
        column[:] = None if column.dtype == object else np.nan
    else:
        column[:] = column[0]
    return column


def covariate(rng: np.random.Generator, world: Any) -> Callable[[Batch], Batch]:
    for i in rng.choice(len(world.kinds), int(rng.integers(1, 5)), replace=False):
        world.moved[i] = rng.choice([-1, 1]) * rng.uniform(0.7, 1.5) * (0.6 if world.kinds[i] == "category" else 1.0)
    return as_is


def _concept(rng: np.random.Generator, world: Any) -> Callable[[Batch], Batch]:
    if rng.random() < 0.3:
        world.intercept += float(rng.choice([-1, 1]) * rng.uniform(1.0, 2.0))
    else:
        which = np.argsort(-np.abs(world.weights))[: int(rng.integers(1, 4))]
        world.weights[which] *= -1
    return as_is


def label_shift(rng: np.random.Generator, _world: Any) -> Callable[[Batch], Batch]:
    state: dict[str, float] = {}

    def resample(batch: Batch) -> Batch:
        usual = float(batch.labels.mean())
        if "share" not in state:
            step = rng.uniform(0.2, 0.35)
            state["share"] = usual + step if usual < 0.5 else usual - step
        share = state["share"]
        odds = np.where(batch.labels == 1, share / usual, (1 - share) / (1 - usual))
        return batch.at(np.flatnonzero(rng.random(len(batch)) < odds / odds.max()))

    return resample


def numbers(world: Any) -> list[int]:
    found: list[int] = world.names("normal", "lognormal", "correlated", "range")
    return found


SCENARIOS: Final = (
    Scenario(Cause.DATA_BROKEN, "unit_change", _break(lambda world: world.names("lognormal", "range"), _units)),
    Scenario(Cause.DATA_BROKEN, "nulls", _break(lambda world: list(range(len(world.kinds))), _nulls)),
    Scenario(Cause.DATA_BROKEN, "new_category", _break(lambda w: w.names("category"), _some((0.15, 0.6), "level 9"))),
    Scenario(Cause.DATA_BROKEN, "wrong_type", _break(numbers, _some((0.2, 0.9), np.inf))),
    Scenario(Cause.DATA_BROKEN, "stopped_feed", _break(numbers, _stop)),
    Scenario(Cause.COVARIATE_SHIFT, None, covariate),
    Scenario(Cause.LABEL_SHIFT, None, label_shift),
    Scenario(Cause.CONCEPT_DRIFT, None, _concept),
    Scenario(Cause.RETURN, None, _concept),
)
