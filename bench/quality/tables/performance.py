"""Real performance: how often its intervals of 95 % hold, on simulated rows whose truth is known, and what it costs."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import norm

from bench.quality.table import Column, Line, Row, Run, Table
from daemon.monitoring import class_metrics, number_metrics
from daemon.monitoring.labelled import Outcomes
from daemon.monitoring.measured import Measured
from daemon.monitoring.performance import Performance
from daemon.monitoring.prediction_scores import Scores
from daemon.monitoring.tasks import Task

SEED = 71
ROWS = (200, 2_000)
MANY = 1_000_000
RESAMPLES = 200
CHUNK = 100
Z = 1.959964
Numbers = NDArray[np.float64]
Usual = tuple[float, float, float] | None
"""The truth that it is of, and an interval's ends; None where there is none that is usual."""


@dataclass(frozen=True, slots=True)
class Law:
    """How rows come to be: ``draw`` so many and measure them, in ours and in the usual way."""

    metric: str
    rows: str
    truth: float
    draw: Callable[[np.random.Generator, int], tuple[Measured, Usual]]


def measure(run: Run) -> Iterator[Row]:
    """A row for each metric, law and number of rows."""
    for law in [*_f1(), *_auc(), *_of_several(), *_log_loss(), *_calibration(), *_numbers()]:
        few = law.metric == "rms_calibration_error"  # the bootstrap beside it takes its time
        windows = run.size.of(5, 500 if few else 2_000, 2_000 if few else 10_000)
        for rows in ROWS:
            found = [law.draw(np.random.default_rng((SEED, rows, window)), rows) for window in range(windows)]
            ours = [(one.low, one.high) for one, _ in found if one.low is not None and one.high is not None]
            beside = [usual[1] <= usual[0] <= usual[2] for _, usual in found if usual is not None]
            yield {
                "metric": law.metric,
                "law": law.rows,
                "rows": rows,
                "truth": law.truth,
                "holds": float(np.mean([low <= law.truth <= high for low, high in ours])) if ours else None,
                "width": float(np.mean(np.diff(ours))) if ours else None,
                "usual": float(np.mean(beside)) if beside else None,
                "windows": windows,
            }


def _f1() -> Iterator[Law]:
    for share, recall, false in ((0.3, 0.8, 0.05), (0.05, 0.6, 0.02)):
        right = share * recall
        truth = 2 * right / (right + share + (1 - share) * false)

        def draw(
            rng: np.random.Generator,
            rows: int,
            law: tuple[float, float, float] = (share, recall, false),
            truth: float = truth,
        ) -> tuple[Measured, Usual]:
            labels = rng.random(rows) < law[0]
            predictions = rng.random(rows) < np.where(labels, law[1], law[2])
            both, either = (labels & predictions).mean(), (labels | predictions).mean()
            value = 2 * both / max(both + either, 1 / rows)
            added = (2 * (labels & predictions) - value * (labels * 1.0 + predictions)) / max(both + either, 1 / rows)
            return class_metrics.f1(labels, predictions), (truth, *_normal(value, added))

        yield Law("f1", f"{share:.0%} positive".replace("%", " %"), truth, draw)


def _auc() -> Iterator[Law]:
    for share, apart in ((0.5, 1.0), (0.1, 1.0), (0.1, 3.0)):
        truth = float(norm.cdf(apart / np.sqrt(2)))

        def draw(
            rng: np.random.Generator, rows: int, law: tuple[float, float] = (share, apart), truth: float = truth
        ) -> tuple[Measured, Usual]:
            labels = np.arange(rows) < rows * law[0]
            scores = rng.normal(size=rows) + law[1] * labels
            upper, lower = np.sort(scores[labels]), np.sort(scores[~labels])
            above = np.searchsorted(lower, upper) / len(lower)
            below = 1 - np.searchsorted(upper, lower) / len(upper)
            half = Z * np.sqrt(above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below))
            usual = truth, above.mean() - half, above.mean() + half
            return class_metrics.auc(labels, scores), usual

        yield Law("auc", f"{share:.0%} positive, {apart:.0f} sd apart".replace("%", " %"), truth, draw)


def _of_several() -> Iterator[Law]:
    shares = np.array([0.6, 0.3, 0.1])
    law = np.array([[0.9, 0.06, 0.04], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7]]) * shares[:, None]

    def draw_f1(rng: np.random.Generator, rows: int) -> tuple[Measured, Usual]:
        labels, predictions = np.divmod(rng.choice(9, rows, p=law.ravel()).astype(np.int32), 3)
        return class_metrics.macro_f1(labels, predictions), None

    def draw_auc(rng: np.random.Generator, rows: int) -> tuple[Measured, Usual]:
        labels = rng.choice(3, rows, p=shares).astype(np.int32)
        scores = rng.normal(size=(rows, 3))
        scores[np.arange(rows), labels] += 1.5
        return class_metrics.macro_auc(labels, expit(scores)), None

    yield Law("f1", "3 classes", float(np.mean(2 * np.diag(law) / (law.sum(axis=0) + law.sum(axis=1)))), draw_f1)
    known, _ = draw_auc(np.random.default_rng(SEED), MANY)
    assert known.value is not None
    yield Law("auc", "3 classes", known.value, draw_auc)


def _log_loss() -> Iterator[Law]:
    for a, b in ((2.0, 2.0), (0.3, 3.0)):

        def given(rng: np.random.Generator, rows: int, law: tuple[float, float] = (a, b)) -> Numbers:
            said = rng.beta(*law, rows)
            return np.where(rng.random(rows) < said, said, 1 - said)

        truth = float(-np.log(np.maximum(given(np.random.default_rng(SEED), MANY), 1e-7)).mean())

        def draw(
            rng: np.random.Generator,
            rows: int,
            given: Callable[[np.random.Generator, int], Numbers] = given,
            truth: float = truth,
        ) -> tuple[Measured, Usual]:
            came = given(rng, rows)
            losses = -np.log(np.maximum(came, 1e-7))
            return class_metrics.log_loss(came), (truth, *_normal(losses.mean(), losses - losses.mean()))

        yield Law("log_loss", f"{a / (a + b):.0%} positive".replace("%", " %"), truth, draw)


def _calibration() -> Iterator[Law]:
    for name, slope, offset in (("right", 1.0, 0.0), ("too sure", 0.5, 0.0), ("too low", 1.0, 0.4)):
        said = np.sort(np.random.default_rng(SEED).beta(2, 3, MANY))
        by_bin = (expit(slope * logit(said) + offset) - said).reshape(class_metrics.BINS, -1).mean(axis=1)

        def draw(
            rng: np.random.Generator,
            rows: int,
            law: tuple[float, float] = (slope, offset),
            truth: float = float(np.abs(by_bin).mean()),
        ) -> tuple[Measured, Usual]:
            said = rng.beta(2, 3, rows)
            came = rng.random(rows) < expit(law[0] * logit(said) + law[1])
            again = [
                _expected_calibration_error(came[some], said[some])
                for some in rng.integers(rows, size=(RESAMPLES, rows))
            ]
            low, high = np.quantile(again, (0.025, 0.975)).tolist()
            return class_metrics.calibration_error(came, said), (truth, low, high)

        yield Law("rms_calibration_error", f"probabilities are {name}", float(np.sqrt(np.mean(by_bin**2))), draw)


def _expected_calibration_error(came: NDArray[np.bool_], said: Numbers) -> float:
    in_order = (came - said)[np.argsort(said)]
    return float(np.abs(in_order.reshape(class_metrics.BINS, -1).mean(axis=1)).mean())


def _numbers() -> Iterator[Law]:
    def normal(rng: np.random.Generator, rows: int) -> Numbers:
        return np.abs(rng.normal(size=rows))

    def skewed(rng: np.random.Generator, rows: int) -> Numbers:
        return rng.lognormal(0, 0.7, rows)

    for name, errors, mean, square in (
        ("normal errors", normal, np.sqrt(2 / np.pi), 1.0),
        ("lognormal errors", skewed, np.exp(0.7**2 / 2), np.exp(2 * 0.7**2)),
    ):

        def of_mean(
            rng: np.random.Generator,
            rows: int,
            errors: Callable[[np.random.Generator, int], Numbers] = errors,
            truth: float = float(mean),
        ) -> tuple[Measured, Usual]:
            found = errors(rng, rows)
            return number_metrics.mean_absolute_error(found), (truth, *_normal(found.mean(), found - found.mean()))

        def of_square(
            rng: np.random.Generator,
            rows: int,
            errors: Callable[[np.random.Generator, int], Numbers] = errors,
            truth: float = float(np.sqrt(square)),
        ) -> tuple[Measured, Usual]:
            found = errors(rng, rows)
            value = np.sqrt(np.mean(found**2))
            usual = _normal(value, (found**2 - value**2) / (2 * value))
            return number_metrics.root_mean_squared_error(found), (truth, *usual)

        yield Law("mae", name, float(mean), of_mean)
        yield Law("rmse", name, float(np.sqrt(square)), of_square)


def _normal(value: float, added: Numbers) -> tuple[float, float]:
    """The normal interval where each row adds so much to the mean."""
    half = Z * float(np.sqrt((added**2).sum())) / len(added)
    return float(value) - half, float(value) + half


def measure_cost(run: Run) -> Iterator[Row]:
    """A row for each task."""
    times = run.size.of(1, 500, 2_000)
    rng, rows = np.random.default_rng(SEED), ROWS[-1]
    for task, classes in ((Task.REGRESSION, 0), (Task.BINARY, 2), (Task.MULTICLASS, 5), (Task.MULTICLASS, 20)):
        names = tuple(f"class {place}" for place in range(classes))
        if task is Task.REGRESSION:
            predicted, came = rng.normal(size=rows), rng.normal(size=rows)
            taken = Outcomes(np.arange(rows), np.abs(predicted - came), predicted, came, Scores.none(rows))
        else:
            given = rng.dirichlet(np.ones(classes), rows)
            codes = (rng.random(rows)[:, None] > given.cumsum(axis=1)).sum(axis=1).clip(0, classes - 1)
            said, came = (np.array(names, dtype=object)[one] for one in (given.argmax(axis=1), codes))
            values = np.column_stack((np.full(rows, np.nan), given)).astype(np.float32)
            taken = Outcomes(np.arange(rows), (said != came).astype(np.float64), said, came, Scores(names, values))
        performance = Performance(rows)
        performance.add(taken)
        some = slice(CHUNK)
        few = Outcomes(
            taken.rows[some], taken.errors[some], taken.predictions[some], taken.labels[some], taken.scores.at(some)
        )
        figures = _microseconds(partial(_report_anew, performance, task, rng), times)
        more = _microseconds(partial(performance.add, few), times)
        size = len(performance.errors()) + len(msgspec.msgpack.encode(performance.labelled.state()))
        what = "numbers" if task is Task.REGRESSION else f"{classes} classes"
        yield {"of": what, "figures": figures, "more": more, "stored": size / 1_000}


def _report_anew(performance: Performance, task: Task, rng: np.random.Generator) -> None:
    # another reference each time: a report that was asked for before is not worked out again
    performance.report(task, float(rng.random()))


def _microseconds(call: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken)) * 1e6


def lines(rows: Sequence[Row]) -> list[Line]:
    """The least and the greatest of all rows."""
    ours, usual = ([value for row in rows if isinstance(value := row.get(name), float)] for name in ("holds", "usual"))
    if not ours:
        return []
    said = [f"{min(some):.0%} to {max(some):.0%}".replace("%", " %") for some in (ours, usual)]
    what = "how often intervals of 95 % of F1, AUC, log loss, calibration, MAE and RMSE hold, 200 and 2,000 rows"
    return [Line(what, said[0], f"{said[1]} normal and bootstrap intervals")]


TABLE = Table(
    name="performance",
    title="Real performance: its intervals",
    meaning=f"""\
Simulated windows of labelled rows, of laws whose truth is known: how often the interval of 95 % of a figure
(docs/performance.md) holds the truth, and how wide it is on average. Beside it how often the usual one holds: the
normal interval with the delta method for F1 and RMSE, DeLong's for AUC, the normal one of a mean for log loss and MAE.
For calibration it is the expected calibration error with a bootstrap of {RESAMPLES} resamples, held against the truth
of that.""",
    goal="none was set but what the intervals claim, 95 %.",
    seeds=f"{SEED}, with the number of rows and that of the window",
    columns=(
        Column("metric", "metric"),
        Column("law", "rows come so"),
        Column("rows", "rows", ",.0f"),
        Column("truth", "truth", ".3f"),
        Column("holds", "holds", ".1%"),
        Column("width", "width", ".3f"),
        Column("usual", "the usual one holds", ".1%"),
        Column("windows", "windows", ",.0f"),
    ),
    measure=measure,
    grouped=2,
    lines=lines,
)

COST = Table(
    name="performance_cost",
    title="Real performance: its cost",
    meaning=f"""\
Of {ROWS[-1]:,} labelled rows, classes with a probability for each: the time to work out all figures with their
intervals, which is done once a checkpoint, that to take in {CHUNK} rows more, and what a checkpoint stores of them.""",
    seeds=str(SEED),
    columns=(
        Column("of", "of"),
        Column("figures", "all figures, µs", ",.0f"),
        Column("more", f"{CHUNK} rows more, µs", ",.1f"),
        Column("stored", "stored, kB", ",.0f"),
    ),
    measure=measure_cost,
)
