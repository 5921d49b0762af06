"""Whether the cause of a change is named right, and whether broken data ever starts a retrain.

    python bench/triage.py [--runs 40] [--data FOLDER]

Seeded models of 8 to 20 features of mixed kinds (some autocorrelated), a logistic regression fitted to their world, and
labels that come 0, 50 or 200 rows late. Each run has 2,000 rows from which the references are learned, 1,000 unchanged,
then the change, and goes through the daemon's own monitor with its own settings. Named is what the first alarm after
the change says that does not call its cause unknown; in the end is what the last such alarm says. Seeds are fixed, and
others than those that anything was set by. With --data (or DRIFTD_TEST_DATA) the same on shuffled credit_default rows
with changes put into them.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sklearn.linear_model import LogisticRegression

from daemon.events.rows import Labels, Predictions, Rows
from daemon.events.tabular import Table
from daemon.monitoring import references
from daemon.monitoring.monitor import Monitor
from daemon.monitoring.monitors import make_monitor
from daemon.monitoring.tasks import Task
from daemon.replay import WouldTrain
from daemon.settings import Settings
from detectors.base import Verdict
from detectors.triage import CAUSE, Cause

SEED: Final = 60_313
REFERENCE_ROWS, CALM_ROWS, CHANGED_ROWS = 2_000, 1_000, 4_000
TRAINING_ROWS = 4_000
BATCH = 500
LEAST_RISE: Final = 0.1
"""A concept drift that a monitor of errors can see at all."""

Table_ = dict[str, NDArray[Any]]


@dataclass
class Batch:
    """Rows as the world makes them; the features may be broken on their way to the model."""

    features: Table_
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
        features: Table_ = {}
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


class Model:
    """A logistic regression on numbers and one column a level; what it cannot read it takes as usual."""

    def __init__(self, batch: Batch) -> None:
        self._usual: dict[str, tuple[float, float]] = {}
        self._levels: dict[str, list[str]] = {}
        for name, column in batch.features.items():
            if column.dtype == object:
                self._levels[name] = sorted(set(column.tolist()))
            else:
                self._usual[name] = float(np.nanmean(column)), float(np.nanstd(column)) or 1.0
        self._fitted = LogisticRegression(max_iter=300).fit(self._matrix(batch.features), batch.labels)

    def scores(self, features: Table_) -> NDArray[np.float64]:
        return np.asarray(self._fitted.predict_proba(self._matrix(features))[:, 1])

    def _matrix(self, features: Table_) -> NDArray[np.float64]:
        columns = []
        for name, column in features.items():
            if name in self._levels:
                columns += [(column == level).astype(np.float64) for level in self._levels[name]]
            else:
                mean, deviation = self._usual[name]
                columns.append(np.clip((np.where(np.isfinite(column), column, mean) - mean) / deviation, -50, 50))
        return np.stack(columns, axis=1)


# --- what happens


@dataclass
class Scenario:
    """How rows are after the change: a world that makes them, and what becomes of features on their way."""

    cause: Cause
    breakage: str | None
    change: Callable[[np.random.Generator, Any], Callable[[Batch], Batch]]

    @property
    def name(self) -> str:
        return self.breakage or self.cause.value


def _as_is(batch: Batch) -> Batch:
    return batch


def _break(pick: Callable[[World], list[int]], how: Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]) -> Any:
    def change(rng: np.random.Generator, world: World) -> Callable[[Batch], Batch]:
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


def _covariate(rng: np.random.Generator, world: World) -> Callable[[Batch], Batch]:
    for i in rng.choice(len(world.kinds), int(rng.integers(1, 5)), replace=False):
        world.moved[i] = rng.choice([-1, 1]) * rng.uniform(0.7, 1.5) * (0.6 if world.kinds[i] == "category" else 1.0)
    return _as_is


def _concept(rng: np.random.Generator, world: World) -> Callable[[Batch], Batch]:
    if rng.random() < 0.3:
        world.intercept += float(rng.choice([-1, 1]) * rng.uniform(1.0, 2.0))
    else:
        which = np.argsort(-np.abs(world.weights))[: int(rng.integers(1, 4))]
        world.weights[which] *= -1
    return _as_is


def _label_shift(rng: np.random.Generator, _world: Any) -> Callable[[Batch], Batch]:
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


def _numbers(world: "World | RealWorld") -> list[int]:
    return world.names("normal", "lognormal", "correlated", "range")


SCENARIOS: Final = (
    Scenario(Cause.DATA_BROKEN, "unit_change", _break(lambda world: world.names("lognormal", "range"), _units)),
    Scenario(Cause.DATA_BROKEN, "nulls", _break(lambda world: list(range(len(world.kinds))), _nulls)),
    Scenario(Cause.DATA_BROKEN, "new_category", _break(lambda w: w.names("category"), _some((0.15, 0.6), "level 9"))),
    Scenario(Cause.DATA_BROKEN, "wrong_type", _break(_numbers, _some((0.2, 0.9), np.inf))),
    Scenario(Cause.DATA_BROKEN, "stopped_feed", _break(_numbers, _stop)),
    Scenario(Cause.COVARIATE_SHIFT, None, _covariate),
    Scenario(Cause.LABEL_SHIFT, None, _label_shift),
    Scenario(Cause.CONCEPT_DRIFT, None, _concept),
    Scenario(Cause.RETURN, None, _concept),
)


# --- the daemon's part


@dataclass
class Feed:
    """A monitor that is given rows, their predictions, and their labels when they are due."""

    monitor: Monitor
    delay: int
    row: int = 0
    waiting: list[tuple[int, int]] = field(default_factory=list)
    raised: list[Verdict] = field(default_factory=list)

    def take(self, batch: Batch, model: Model, version: str) -> None:
        for start in range(0, len(batch), BATCH):
            self._take(batch.at(np.arange(start, min(start + BATCH, len(batch)))), model, version)

    def _take(self, batch: Batch, model: Model, version: str) -> None:
        rows = np.arange(self.row, self.row + len(batch))
        self.row += len(batch)
        predictions = predicted(batch, model, version, rows)
        self.waiting += zip(rows.tolist(), batch.labels.tolist(), strict=True)
        due = [one for one in self.waiting if one[0] + self.delay < self.row]
        del self.waiting[: len(due)]
        order = 2 * (np.array([row for row, _ in due], dtype=np.int64) + self.delay) + 1
        order = np.maximum(order, 2 * rows[0] + 1)
        labels = Labels(order, [str(row) for row, _ in due], order.astype(float), [label for _, label in due])
        self.monitor.take(Rows(predictions, labels if due else None, None, float(rows[-1])), 0.0)
        self.raised += self.monitor.take_findings().verdicts


def predicted(batch: Batch, model: Model, version: str | None, rows: NDArray[np.int64]) -> Predictions:
    scores = model.scores(batch.features)
    nothing: list[Any] = [None] * len(rows)
    ids = [str(row) for row in rows.tolist()]
    values = (scores >= 0.5).astype(int).tolist()
    columns: Any = batch.features
    versions = [version] * len(rows)
    return Predictions(2 * rows, ids, rows.astype(float), versions, nothing, values, scores, None, columns, None)


@dataclass
class Run:
    """What was said after the change."""

    first: Cause | None
    last: Cause | None
    rows: int | None
    breakage: str | None
    trained: bool


def judge(verdicts: list[Verdict], change: int, would_train: WouldTrain) -> Run:
    first = last = rows = breakage = None
    trained = False
    for one in verdicts:
        trains = would_train("model", one)
        if one.row < change or one.recovered:
            continue
        trained = trained or trains
        cause = one.evidence[CAUSE]
        name = Cause(cause["name"])
        if name is Cause.UNKNOWN:
            continue
        if first is None:
            first, rows, breakage = name, one.row - change + 1, cause.get("breakage")
        last = name
    return Run(first, last, rows, breakage, trained)


def run(scenario: Scenario, seed: int, first: int = SEED) -> Run:
    rng = np.random.default_rng([first, seed, SCENARIOS.index(scenario)])
    world = World(rng)
    model = Model(world.rows(TRAINING_ROWS))
    settings = Settings()
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
            _covariate(rng, world)
        model = second_version(feed, world, model)
        feed.take(world.rows(REFERENCE_ROWS), model, "2")
        world.weights, world.intercept = weights, intercept
        world.moved[:] = 0
    change = feed.row
    after = Batch({}, np.empty(0, dtype=np.int64))
    pool = on_the_way(world.rows(3 * CHANGED_ROWS if scenario.cause is Cause.LABEL_SHIFT else CHANGED_ROWS))
    after = pool.at(np.arange(min(CHANGED_ROWS, len(pool))))
    feed.take(after, model, feed.monitor.version or "1")
    return judge(feed.raised, change, WouldTrain(settings))


def _with(world: World, weights: NDArray[np.float64], intercept: float) -> World:
    """The same world under another law of the labels."""
    import copy

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


# --- a real table

CATEGORIES: Final = ("SEX", "EDUCATION", "MARRIAGE")
POSITIVE: Final = ("LIMIT_BAL", "AGE")


class RealWorld:
    """Shuffled rows of credit_default: shifts by drawing some rows more often, drift by turning labels round."""

    def __init__(self, rng: np.random.Generator, table: Path) -> None:
        import pandas as pd

        frame = pd.read_csv(table).drop(columns="ID")
        self.rng = rng
        self._labels = frame.pop("default.payment.next.month").to_numpy(np.int64)
        self._columns: Table_ = {}
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
    for i in rng.choice(_numbers(world), int(rng.integers(1, 4)), replace=False):
        world.tilted[f"x{i}"] = float(rng.choice([-1, 1]) * rng.uniform(0.6, 1.2))
    return _as_is


def _real_concept(rng: np.random.Generator, world: Any) -> Callable[[Batch], Batch]:
    world.flipped = f"x{rng.choice(world.names('lognormal'))}"
    return _as_is


REAL: Final = (
    *SCENARIOS[:5],
    Scenario(Cause.COVARIATE_SHIFT, None, _real_covariate),
    Scenario(Cause.LABEL_SHIFT, None, _label_shift),
    Scenario(Cause.CONCEPT_DRIFT, None, _real_concept),
)


def run_real(scenario: Scenario, seed: int, path: Path) -> Run:
    """The same with a real table."""
    rng = np.random.default_rng([SEED, seed, REAL.index(scenario), 3])
    world: Any = RealWorld(rng, path)
    model = Model(world.rows(TRAINING_ROWS))
    settings = Settings()
    feed = Feed(make_monitor("model", settings.model("model")), int(rng.choice([0, 50, 200])))
    feed.take(world.rows(REFERENCE_ROWS + CALM_ROWS), model, "1")
    on_the_way = scenario.change(rng, world)
    change = feed.row
    after = on_the_way(world.rows(3 * CHANGED_ROWS if scenario.cause is Cause.LABEL_SHIFT else CHANGED_ROWS))
    feed.take(after.at(np.arange(min(CHANGED_ROWS, len(after)))), model, "1")
    return judge(feed.raised, change, WouldTrain(settings))


def main() -> None:
    """Print the confusion matrix, how many were named right and when, and retrains on broken data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--worlds", choices=("seeded", "real", "both"), default="both")
    parser.add_argument("--data", type=Path, default=os.environ.get("DRIFTD_TEST_DATA"), help="[$DRIFTD_TEST_DATA]")
    given = parser.parse_args()
    began = time.perf_counter()
    if given.worlds != "real":
        print("Seeded worlds")
        table((one, [run(one, seed) for seed in range(given.runs)]) for one in SCENARIOS)
    if given.worlds == "seeded":
        pass
    elif given.data is None:
        print("credit_default is skipped: --data (or DRIFTD_TEST_DATA) is to name the folder that has it")
    else:
        path = given.data / "credit_default" / "credit_default.csv.gz"
        print("\ncredit_default")
        table((one, [run_real(one, seed, path) for seed in range(given.runs)]) for one in REAL)
    print(f"{time.perf_counter() - began:.0f} s")


SHORT: Final = {
    Cause.DATA_BROKEN: "broken",
    Cause.COVARIATE_SHIFT: "covariate",
    Cause.LABEL_SHIFT: "label",
    Cause.CONCEPT_DRIFT: "concept",
    Cause.RETURN: "return",
    None: "nothing",
}


def table(results: Iterable[tuple[Scenario, list[Run]]]) -> None:
    """What was named, a line a scenario; ``rows`` are those from the change to the naming, the median."""
    print(f"  {'what happened':<16}" + "".join(f"{one:>10}" for one in SHORT.values()) + "   right  in the end  rows")
    done = []
    for scenario, found in results:
        done.append((scenario, found))
        counts = Counter(one.first for one in found)
        right, ended = (
            100 * sum(getattr(one, which) is scenario.cause for one in found) / len(found)
            for which in ("first", "last")
        )
        rows = [one.rows for one in found if one.first is scenario.cause and one.rows is not None]
        cells = "".join(f"{counts[one]:>10}" for one in SHORT)
        middle = f"{np.median(rows):6.0f}" if rows else "     -"
        print(f"  {scenario.name:<16}{cells}{right:6.1f} %{ended:10.1f} %{middle}", flush=True)
    every = [(scenario.cause, one) for scenario, found in done for one in found]
    first, last = (
        100 * sum(getattr(one, which) is cause for cause, one in every) / len(every) for which in ("first", "last")
    )
    print(f"  named right: {first:.1f} % at first, {last:.1f} % in the end, of {len(every)} runs")
    for always in (Cause.COVARIATE_SHIFT, Cause.CONCEPT_DRIFT, Cause.DATA_BROKEN):
        share = 100 * sum(cause is always for cause, _ in every) / len(every)
        print(f"  always {SHORT[always]}: {share:.1f} %")
    broken = [(scenario, one) for scenario, found in done if scenario.breakage for one in found]
    kinds = 100 * sum(one.breakage == scenario.breakage for scenario, one in broken) / len(broken)
    trained = sum(one.trained for _, one in broken)
    print(f"  how data is broken is right in {kinds:.1f} %; retrains that it would start: {trained} of {len(broken)}")


if __name__ == "__main__":
    main()
