"""A run: 2,000 rows for the references, 1,000 unchanged, the change, and what is said from then on."""

import copy
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.quality.triage.feed import Feed, Run, judge, predicted
from bench.quality.triage.model import Model
from bench.quality.triage.real import REAL, RealWorld
from bench.quality.triage.scenarios import SCENARIOS, Scenario, covariate
from bench.quality.triage.world import Batch, World
from daemon.events.tabular import Table
from daemon.monitoring import references
from daemon.monitoring.monitors import make_monitor
from daemon.monitoring.tasks import Task
from daemon.replay import WouldTrain
from daemon.settings import load
from detectors.cause import Cause

SEED: Final = 60_313
REFERENCE_ROWS, CALM_ROWS, CHANGED_ROWS = 2_000, 1_000, 4_000
TRAINING_ROWS = 4_000
LEAST_RISE: Final = 0.1
"""A concept drift that a monitor of errors can see at all."""


def run(scenario: Scenario, seed: int) -> Run:
    rng = np.random.default_rng([SEED, seed, SCENARIOS.index(scenario)])
    world = World(rng)
    model = Model(world.rows(TRAINING_ROWS))
    settings = load({})
    feed = Feed(make_monitor("model", settings.model("model")), int(rng.choice([0, 50, 200])))
    feed.take(world.rows(REFERENCE_ROWS + CALM_ROWS), model, "1")
    weights, intercept = world.weights.copy(), world.intercept
    on_the_way = scenario.change(rng, world)
    if scenario.cause in (Cause.CONCEPT_DRIFT, Cause.RETURN):
        usual = error_rate(model, World.rows(_with(world, weights, intercept), TRAINING_ROWS))
        while error_rate(model, world.rows(TRAINING_ROWS)) < usual + LEAST_RISE:
            world.weights, world.intercept = weights.copy(), intercept
            scenario.change(rng, world)
    if scenario.cause is Cause.RETURN:
        if rng.random() < 0.5:
            covariate(rng, world)
        model = second_version(feed, world, model)
        feed.take(world.rows(REFERENCE_ROWS), model, "2")
        world.weights, world.intercept = weights, intercept
        world.moved[:] = 0
    change = feed.row
    after = Batch({}, np.empty(0, dtype=np.int64))
    pool = on_the_way(world.rows(3 * CHANGED_ROWS if scenario.cause is Cause.LABEL_SHIFT else CHANGED_ROWS))
    after = pool.at(np.arange(min(CHANGED_ROWS, len(pool))))
    feed.take(after, model, feed.monitor.version or "1")
    return judge(feed.said, change, WouldTrain(settings))


def _with(world: World, weights: NDArray[np.float64], intercept: float) -> World:
    """The same world under another law of the labels."""
    other = copy.copy(world)
    other.weights, other.intercept = weights, intercept
    return other


def error_rate(model: Model, batch: Batch) -> float:
    return float(((model.scores(batch.features) >= 0.5) != batch.labels).mean())


def second_version(feed: Feed, world: World, model: Model) -> Model:
    """The world has changed: a version that was trained in it takes over, with its references."""
    feed.take(world.rows(CALM_ROWS), model, "1")
    batch = world.rows(TRAINING_ROWS)
    second = Model(batch)
    learning = world.rows(REFERENCE_ROWS)
    table = Table(0, predicted(learning, second, None, np.arange(len(learning))), learning.labels.tolist())
    feed.monitor.adopt("2", dict(references.learn([table], Task.BINARY, 20)[1]))
    return second


def run_real(scenario: Scenario, seed: int, path: Path) -> Run:
    """The same with a real table."""
    rng = np.random.default_rng([SEED, seed, REAL.index(scenario), 3])
    world: Any = RealWorld(rng, path)
    model = Model(world.rows(TRAINING_ROWS))
    settings = load({})
    feed = Feed(make_monitor("model", settings.model("model")), int(rng.choice([0, 50, 200])))
    feed.take(world.rows(REFERENCE_ROWS + CALM_ROWS), model, "1")
    on_the_way = scenario.change(rng, world)
    change = feed.row
    after = on_the_way(world.rows(3 * CHANGED_ROWS if scenario.cause is Cause.LABEL_SHIFT else CHANGED_ROWS))
    feed.take(after.at(np.arange(min(CHANGED_ROWS, len(after)))), model, "1")
    return judge(feed.said, change, WouldTrain(settings))
