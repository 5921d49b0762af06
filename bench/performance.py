"""Real performance: how often its intervals of 95 % hold, on simulated rows whose truth is known, and what it costs.

    python bench/performance.py [--runs N]

Beside ours: an interval that is always as wide as can be would hold always, so the width is printed as well; and the
expected calibration error with a bootstrap, which is how that is usually bounded.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import norm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from daemon.monitoring import class_metrics, number_metrics
from daemon.monitoring.labelled import Outcomes
from daemon.monitoring.measured import Measured
from daemon.monitoring.performance import Performance
from daemon.monitoring.prediction_scores import Scores
from daemon.monitoring.tasks import Task

SEED = 71
RESAMPLES = 200
MANY = 1_000_000
Draw = Callable[[np.random.Generator, int], Measured]


def main() -> None:
    """Print one line a metric, law and number of rows; then the costs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=2_000)
    runs = parser.parse_args().runs
    print(f"intervals of 95 %, {runs:,} windows each")
    print(f"{'metric':<44} {'rows':>6} {'truth':>8} {'holds':>7} {'width':>7}")
    for name, draw, truth in (*_two_classes(), *_several_classes(), *_probabilities(), *_numbers()):
        for rows in (200, 2_000):
            _tell(name, rows, truth, [draw(rng, rows) for rng in _generators(runs)])
    draw, truth = _expected_calibration_error()
    _tell(
        "beside: expected calibration error, right", 2_000, truth, [draw(rng, 2_000) for rng in _generators(runs // 10)]
    )
    _costs()


def _generators(runs: int) -> list[np.random.Generator]:
    return [np.random.default_rng((SEED, run)) for run in range(runs)]


def _tell(name: str, rows: int, truth: float, found: Sequence[Measured]) -> None:
    known = [(one.low, one.high) for one in found if one.low is not None and one.high is not None]
    if not known:
        print(f"{name:<44} {rows:>6} {truth:>8.4f} {'-':>7} {'-':>7}")
        return
    holds = np.mean([low <= truth <= high for low, high in known])
    print(f"{name:<44} {rows:>6} {truth:>8.4f} {holds:>7.1%} {np.mean(np.diff(known)):>7.4f}")


def _two_classes() -> list[tuple[str, Draw, float]]:
    found: list[tuple[str, Draw, float]] = []
    for share, recall, false in ((0.3, 0.8, 0.05), (0.05, 0.6, 0.02)):

        def draw(
            rng: np.random.Generator, rows: int, law: tuple[float, float, float] = (share, recall, false)
        ) -> Measured:
            labels = rng.random(rows) < law[0]
            return class_metrics.f1(labels, rng.random(rows) < np.where(labels, law[1], law[2]))

        right = share * recall
        truth = 2 * right / (right + share + (1 - share) * false)
        found.append((f"f1, {share:.0%} positive", draw, truth))
    for share, apart in ((0.5, 1.0), (0.1, 1.0), (0.1, 3.0)):

        def draw_auc(rng: np.random.Generator, rows: int, law: tuple[float, float] = (share, apart)) -> Measured:
            labels = rng.random(rows) < law[0]
            return class_metrics.auc(labels, rng.normal(size=rows) + law[1] * labels)

        found.append((f"auc, {share:.0%} positive", draw_auc, float(norm.cdf(apart / np.sqrt(2)))))
    return found


def _several_classes() -> list[tuple[str, Draw, float]]:
    shares = np.array([0.6, 0.3, 0.1])
    law = np.array([[0.9, 0.06, 0.04], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7]]) * shares[:, None]

    def draw_f1(rng: np.random.Generator, rows: int) -> Measured:
        labels, predictions = np.divmod(rng.choice(9, rows, p=law.ravel()).astype(np.int32), 3)
        return class_metrics.macro_f1(labels, predictions)

    def draw_auc(rng: np.random.Generator, rows: int) -> Measured:
        labels = rng.choice(3, rows, p=shares).astype(np.int32)
        scores = rng.normal(size=(rows, 3))
        scores[np.arange(rows), labels] += 1.5
        return class_metrics.macro_auc(labels, expit(scores))

    truth_f1 = float(np.mean(2 * np.diag(law) / (law.sum(axis=0) + law.sum(axis=1))))
    truth_auc = draw_auc(np.random.default_rng(SEED), MANY).value
    assert truth_auc is not None
    return [("f1, mean of 3 classes", draw_f1, truth_f1), ("auc, mean of 3 classes", draw_auc, truth_auc)]


def _probabilities() -> list[tuple[str, Draw, float]]:
    found: list[tuple[str, Draw, float]] = []
    for a, b in ((2.0, 2.0), (0.3, 3.0)):

        def given(rng: np.random.Generator, rows: int, law: tuple[float, float] = (a, b)) -> Measured:
            said = rng.beta(*law, rows)
            return class_metrics.log_loss(np.where(rng.random(rows) < said, said, 1 - said))

        truth = given(np.random.default_rng(SEED), MANY).value
        assert truth is not None
        found.append((f"log_loss, {a / (a + b):.0%} positive", given, truth))
    for name, slope, offset in (("right", 1.0, 0.0), ("too sure", 0.5, 0.0), ("too low", 1.0, 0.4)):

        def draw(rng: np.random.Generator, rows: int, law: tuple[float, float] = (slope, offset)) -> Measured:
            said = rng.beta(2, 3, rows)
            return class_metrics.calibration_error(rng.random(rows) < expit(law[0] * logit(said) + law[1]), said)

        said = np.sort(np.random.default_rng(SEED).beta(2, 3, MANY))
        by_bin = (expit(slope * logit(said) + offset) - said).reshape(class_metrics.BINS, -1).mean(axis=1)
        found.append((f"rms_calibration_error, {name}", draw, float(np.sqrt(np.mean(by_bin**2)))))
    return found


def _numbers() -> list[tuple[str, Draw, float]]:
    def normal(rng: np.random.Generator, rows: int) -> NDArray[np.float64]:
        return np.abs(rng.normal(size=rows))

    def skewed(rng: np.random.Generator, rows: int) -> NDArray[np.float64]:
        return rng.lognormal(0, 0.7, rows)

    mae, rmse = number_metrics.mean_absolute_error, number_metrics.root_mean_squared_error
    return [
        ("mae, normal errors", lambda rng, rows: mae(normal(rng, rows)), float(np.sqrt(2 / np.pi))),
        ("mae, lognormal errors", lambda rng, rows: mae(skewed(rng, rows)), float(np.exp(0.7**2 / 2))),
        ("rmse, normal errors", lambda rng, rows: rmse(normal(rng, rows)), 1.0),
        ("rmse, lognormal errors", lambda rng, rows: rmse(skewed(rng, rows)), float(np.exp(0.7**2))),
    ]


def _expected_calibration_error() -> tuple[Draw, float]:
    def error(came: NDArray[np.bool_], said: NDArray[np.float64]) -> float:
        order = np.argsort(said)
        return float(np.abs((came - said)[order].reshape(class_metrics.BINS, -1).mean(axis=1)).mean())

    def draw(rng: np.random.Generator, rows: int) -> Measured:
        said = rng.beta(2, 3, rows)
        came = rng.random(rows) < said
        again = [error(came[some], said[some]) for some in rng.integers(rows, size=(RESAMPLES, rows))]
        low, high = np.quantile(again, (0.025, 0.975)).tolist()
        return Measured("expected_calibration_error", rows, error(came, said), low, high)

    return draw, 0.0


def _costs() -> None:
    print("\nof 2,000 rows: all figures, and to take in 100 rows, and what a checkpoint stores of them")
    rng, rows = np.random.default_rng(SEED), 2_000
    for task, classes in ((Task.REGRESSION, 0), (Task.BINARY, 2), (Task.MULTICLASS, 5), (Task.MULTICLASS, 20)):
        names = tuple(f"class {place}" for place in range(classes))
        if task is Task.REGRESSION:
            said, came = rng.normal(size=(2, rows))
            taken = Outcomes(np.arange(rows), np.abs(said - came), said, came, Scores.none(rows))
        else:
            given = rng.dirichlet(np.ones(classes), rows)
            labels = (rng.random(rows)[:, None] > given.cumsum(axis=1)).sum(axis=1).clip(0, classes - 1)
            said, came = (np.array(names, dtype=object)[one] for one in (given.argmax(axis=1), labels))
            values = np.column_stack((np.full(rows, np.nan), given)).astype(np.float32)
            taken = Outcomes(np.arange(rows), (said != came).astype(np.float64), said, came, Scores(names, values))
        performance = Performance(rows)
        performance.add(taken)
        first = slice(100)
        few = Outcomes(
            taken.rows[first],
            taken.errors[first],
            taken.predictions[first],
            taken.labels[first],
            taken.scores.at(first),
        )
        figures = _microseconds(lambda: performance.report(task, float(rng.random())))  # noqa: B023 (called at once)
        more = _microseconds(lambda: performance.add(few))  # noqa: B023 (likewise)
        state = performance.labelled.state()
        size = len(performance.errors()) + len(msgspec.msgpack.encode(state))
        what = "numbers" if task is Task.REGRESSION else f"{classes} classes"
        print(f"{what:<12} {figures:>6.0f} µs {more:>6.1f} µs {size / 1_000:>6.0f} kB")


def _microseconds(call: Callable[[], object], times: int = 500) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken)) * 1e6


if __name__ == "__main__":
    main()
