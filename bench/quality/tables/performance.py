"""Real performance: how often its intervals of 95 % hold, on simulated rows whose truth is known, and what it costs."""

import time
from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import norm

from bench.quality.table import Column, Line, Row, Run, Size, Table, Value
from daemon.monitoring import class_metrics, number_metrics
from daemon.monitoring.labelled import Outcomes
from daemon.monitoring.measured import Measured
from daemon.monitoring.performance import Performance
from daemon.monitoring.prediction_scores import Scores
from daemon.monitoring.tasks import Task

SEED = 71
RESAMPLES = 200
MANY = 1_000_000
WINDOWS = (200, 2_000)
CHUNK = 100
BESIDE = "beside:"
Draw = Callable[[np.random.Generator, int], Measured]


def measure(run: Run) -> Iterator[Row]:
    """A row for each metric, law and number of rows; then what figures cost."""
    runs = run.size.of(5, 1_000, 5_000)
    for name, draw, truth in (*_two_classes(), *_several_classes(), *_probabilities(), *_numbers()):
        for rows in WINDOWS:
            yield _row(name, rows, truth, [draw(rng, rows) for rng in _generators(runs)])
    draw, truth = _expected_calibration_error()
    name = f"{BESIDE} expected calibration error, bootstrap"
    yield _row(name, WINDOWS[-1], truth, [draw(rng, WINDOWS[-1]) for rng in _generators(runs // 10 or 1)])
    yield from _costs(1 if run.size is Size.TINY else 500)


def _generators(runs: int) -> list[np.random.Generator]:
    return [np.random.default_rng((SEED, run)) for run in range(runs)]


def _row(name: str, rows: int, truth: float, found: Sequence[Measured]) -> Row:
    known = [(one.low, one.high) for one in found if one.low is not None and one.high is not None]
    told: dict[str, Value] = {"metric": name, "rows": rows, "truth": truth, "runs": len(found)}
    if not known:
        return told
    holds = float(np.mean([low <= truth <= high for low, high in known]))
    return told | {"holds": holds, "width": float(np.mean(np.diff(known)))}


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


def _costs(times: int) -> Iterator[Row]:
    """Of a window that is full."""
    rng, rows = np.random.default_rng(SEED), WINDOWS[-1]
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
        figures = _microseconds(lambda: performance.report(task, float(rng.random())), times)  # noqa: B023 (called at once)
        more = _microseconds(lambda: performance.add(few), times)  # noqa: B023 (likewise)
        size = len(performance.errors()) + len(msgspec.msgpack.encode(performance.labelled.state()))
        what = "numbers" if task is Task.REGRESSION else f"{classes} classes"
        yield {"metric": f"cost: {what}", "rows": rows, "figures": figures, "more": more, "stored": size / 1_000}


def _microseconds(call: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken)) * 1e6


def lines(rows: Sequence[Row]) -> list[Line]:
    """The least share of intervals that hold."""
    shares = [(str(row["metric"]), float(one)) for row in rows if isinstance(one := row.get("holds"), float)]
    beside = [share for metric, share in shares if metric.startswith(BESIDE)]
    held = [share for metric, share in shares if not metric.startswith(BESIDE)]
    told = f"{min(held):.1%} to {max(held):.1%}".replace("%", " %") if held else "-"
    other = f"expected calibration error with a bootstrap {beside[0]:.0%}".replace("%", " %") if beside else ""
    return [Line("real performance, 8 metrics: share of 95 % intervals that hold", told, other)]


TABLE = Table(
    name="performance",
    title="Real performance: its intervals",
    meaning="""\
How often the intervals of 95 % of docs/performance.md hold, on simulated rows whose truth is known, and how wide they
are on average: an interval that is always as wide as can be would hold always. Beside ours the expected calibration
error with a bootstrap, which is how that is usually bounded. Cost, of a full window: the time to work out all figures,
to take in 100 rows more, and what a checkpoint stores of them.""",
    seeds=f"{SEED} with the number of the run",
    columns=(
        Column("metric", "metric, law"),
        Column("rows", "rows", ",.0f"),
        Column("truth", "truth", ".4f"),
        Column("holds", "intervals that hold", ".1%"),
        Column("width", "their width", ".4f"),
        Column("figures", "all figures, µs", ",.0f"),
        Column("more", "100 rows more, µs", ",.1f"),
        Column("stored", "stored, kB", ",.0f"),
        Column("runs", "windows", ",.0f"),
    ),
    grouped=1,
    measure=measure,
    lines=lines,
)
