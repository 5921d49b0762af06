"""Performance without labels: how far the estimates are from what the labels say, and how many intervals hold."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bench.quality import employment
from bench.quality.peers.environment import ask
from bench.quality.table import NOT_RUN, Column, Line, NotRun, Row, Run, Table, find, shown
from detectors.columns import Columns, Stream
from detectors.loss_estimate import LossEstimate
from detectors.loss_model import Expected

BINS = 50
Z = 1.959964
NANNYML = "NannyML"


@dataclass(frozen=True)
class Case:
    """Labelled rows to learn from, and live ones whose losses are to be estimated, in chunks."""

    name: str
    chunk_rows: int
    reference: Columns
    live: Columns
    losses: NDArray[np.float64]
    real: NDArray[np.float64]

    @property
    def chunks(self) -> list[slice]:
        """All that are complete."""
        starts = range(0, len(self.live) - self.chunk_rows + 1, self.chunk_rows)
        return [slice(start, start + self.chunk_rows) for start in starts]

    @property
    def means(self) -> NDArray[np.float64]:
        """What the labels say of each chunk."""
        return np.array([self.real[one].mean() for one in self.chunks])

    def row(self, name: str, means: Sequence[float], half: Sequence[float] | None, micros: float | None) -> Row:
        """An estimator's row, of its means and the half widths of its intervals."""
        missed = np.abs(np.asarray(means) - self.means)
        held = None if half is None else float((missed <= np.asarray(half)).mean())
        wide = None if half is None else float(2 * np.mean(half))
        chunks = len(self.chunks)
        return {
            "case": self.name,
            "estimator": name,
            "missed": float(missed.mean()),
            "held": held,
            "wide": wide,
            "micros": micros,
            "chunks": chunks,
        }


def measure(run: Run) -> Iterator[Row]:
    """A row for each case and estimator."""
    try:
        yield from _of_employment(run)
    except NotRun as reason:
        yield {"case": employment.NAME, NOT_RUN: str(reason)}
    try:
        yield from _of_bikes(run)
    except NotRun as reason:
        yield {"case": "bike_sharing", NOT_RUN: str(reason)}


def _of_employment(run: Run) -> Iterator[Row]:
    data = employment.Employment.read(run.folder(employment.NAME), run.size.of(10_000, None, None))
    losses, real = employment.losses(data.reference), employment.losses(data.live)
    case = Case(
        f"{employment.NAME}: accuracy",
        5_000,
        employment.columns(data.reference),
        employment.columns(data.live),
        losses,
        real,
    )
    yield _ours(case)
    by_score = _by_score(data.reference.predicted_probability, losses, data.live.predicted_probability)
    yield case.row("confidence-based, 50 bins", [by_score[one].mean() for one in case.chunks], None, None)

    def table(frame: pd.DataFrame, losses: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        predicted = frame.prediction.to_numpy(np.float64)
        score = frame.predicted_probability.to_numpy(np.float64)
        return {"score": score, "prediction": predicted, "label": np.abs(predicted - losses)}

    yield _theirs(run, case, "accuracy", table(data.reference, losses), table(data.live, real))
    yield _constant(case)


def _of_bikes(run: Run) -> Iterator[Row]:
    from sklearn.ensemble import HistGradientBoostingRegressor

    frame = pd.read_csv(run.folder("bike_sharing") / "bike_hour.csv.gz")
    features = ["season", "mnth", "hr", "holiday", "weekday", "workingday", "weathersit", "temp", "hum", "windspeed"]
    with threadpool_limits(1):  # more threads than free cores would wait for each other most of the time
        model = HistGradientBoostingRegressor(random_state=0).fit(frame[features][:TRAINED], frame.cnt[:TRAINED])
        frame["prediction"] = model.predict(frame[features])
    frame["loss"] = (frame.prediction - frame.cnt).abs()
    reference, live = frame[TRAINED : TRAINED + LEARNED], frame[TRAINED + LEARNED :]

    def columns(part: pd.DataFrame) -> Columns:
        rows = np.arange(len(part))
        values = {f"feature:{name}": part[name].to_numpy(np.float64) for name in features}
        values["prediction"] = part.prediction.to_numpy(np.float64)
        return Columns(Stream.FEATURES, rows, rows.astype(np.float64), values)

    def table(part: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
        known = {name: part[name].to_numpy(np.float64) for name in [*features, "prediction"]}
        return known | {"label": part.cnt.to_numpy(np.float64)}

    losses, real = (part.loss.to_numpy(np.float64) for part in (reference, live))
    case = Case("bike_sharing: mean absolute error", 500, columns(reference), columns(live), losses, real)
    yield _ours(case)
    yield _theirs(run, case, "absolute_error", table(reference), table(live))
    yield _constant(case)


TRAINED, LEARNED = 4_000, 4_000


def _ours(case: Case) -> Row:
    estimate = LossEstimate.learn(case.reference, case.losses, chunk_rows=case.chunk_rows)
    began = time.process_time()
    expected = estimate.expected(case.live)
    micros = (time.process_time() - began) / len(case.live) * 1e6
    found = [estimate.over(Expected(expected.mean[one], expected.variance[one])) for one in case.chunks]
    return case.row("driftd", [one.mean for one in found], [one.high - one.mean for one in found], micros)


def _theirs(
    run: Run,
    case: Case,
    what: str,
    reference: dict[str, NDArray[np.float64]],
    live: dict[str, NDArray[np.float64]],
) -> Row:
    """NannyML's estimates of the loss; its accuracy is turned round."""
    name = f"{NANNYML} {'CBPE' if what == 'accuracy' else 'DLE'}"
    try:
        told = ask("nannyml", {"ask": what, "chunk_rows": case.chunk_rows}, reference=reference, live=live)
    except NotRun as reason:
        return {"case": case.name, "estimator": name, NOT_RUN: str(reason)}
    run.versions["nannyml"] = told["version"]
    chunks = len(case.chunks)
    means = [1 - one if what == "accuracy" else one for one in told["values"][:chunks]]
    micros = told["seconds"] / len(case.live) * 1e6
    return case.row(name, means, [Z * one for one in told["errors"][:chunks]], micros)


def _constant(case: Case) -> Row:
    return case.row("the reference's own, always", [case.losses.mean()] * len(case.chunks), None, None)


def _by_score(scores: "pd.Series[float]", losses: NDArray[np.float64], live: "pd.Series[float]") -> NDArray[np.float64]:
    """How often a prediction with such a score was wrong in the reference."""
    edges = np.quantile(scores, np.linspace(0, 1, BINS + 1)[1:-1])
    known = np.searchsorted(edges, scores)
    rates = np.bincount(known, losses, BINS) / np.bincount(known, minlength=BINS)
    return np.asarray(rates[np.searchsorted(edges, live)])


def lines(rows: Sequence[Row]) -> list[Line]:
    """Of employment_ma."""
    ours, *others = (
        find(rows, case=f"{employment.NAME}: accuracy", estimator=name)
        for name in ("driftd", f"{NANNYML} CBPE", "the reference's own, always")
    )
    told = [f"{shown(one, 'missed', '.4f')} {one['estimator']}" for one in others if one]
    held = f"{shown(ours, 'missed', '.4f')}; {shown(ours, 'held', '.0%')} of the 95 % intervals hold"
    what = "accuracy without labels, 41 chunks of 5,000 rows: mean absolute error"
    return [Line(what, held if ours else "-", ", ".join(told))]


TABLE = Table(
    name="estimates",
    title="Performance without labels",
    meaning=f"""\
How far the performance of a chunk, estimated before any of its labels is known, is from what the labels say: the
mean over chunks of the absolute difference; how many intervals of 95 % hold, and how wide they are on average.
employment_ma: a frozen model's real predictions, 2015 as the reference, then three years in chunks of 5,000 rows.
bike_sharing: a model fitted to the first {TRAINED:,} hours, the next {LEARNED:,} as the reference, then the rest in
chunks of 500; demand rises from one year to the next, which no estimate without labels can know. NannyML is on its
defaults, its interval its sampling error times 1.96. Confidence-based with 50 bins: how often a prediction with such
a score was wrong in the reference. The reference's own performance, always, is what to beat.""",
    goal="employment_ma: at most .0046, and 93 to 97 % of the intervals hold.",
    columns=(
        Column("case", "rows"),
        Column("estimator", "estimator"),
        Column("missed", "mean absolute error", ".4g"),
        Column("held", "intervals that hold", ".1%"),
        Column("wide", "their width", ".4g"),
        Column("micros", "µs a row", ",.1f"),
        Column("chunks", "chunks", ",.0f"),
    ),
    grouped=1,
    measure=measure,
    lines=lines,
)
