"""Features that move together: what a look at each alone cannot see, and what the look at all costs in false alarms."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bench.quality.streams import Generate, Values, autoregression, joined, normal
from bench.quality.table import Column, Line, Row, Run, Table, find, shown
from bench.quality.watch import BATCH, BUDGET, REFERENCE_ROWS
from detectors.columns import Columns, Stream
from detectors.reference import Reference
from detectors.registry import Options, build
from detectors.summary import summarise, window_rows

SEED = 9_301
CLEAN_ROWS, CHANGED_ROWS = 1_000, 4_000
UNCHANGED_ROWS = 100_000
DETECTORS = ("joint_drift", "e_detector", "half_space_trees", "tail_scores")
Change = Callable[[np.random.Generator, Values], Values]


def _together(correlation: float) -> Change:
    """The second feature goes with the first."""

    def change(_: np.random.Generator, values: Values) -> Values:
        own = np.sqrt(1 - correlation**2) * values["feature:1"]
        return values | {"feature:1": correlation * values["feature:0"] + own}

    return change


def _of_one_sign(_: np.random.Generator, values: Values) -> Values:
    return values | {"feature:1": np.abs(values["feature:1"]) * np.sign(values["feature:0"])}


def _all_a_little(_: np.random.Generator, values: Values) -> Values:
    return {name: column + 0.25 for name, column in values.items()}


def _as_it_is(_: np.random.Generator, values: Values) -> Values:
    return values


CHANGES: dict[str, tuple[int, Change, Change]] = {
    "correlation of two of ten 0 to .9": (10, _as_it_is, _together(0.9)),
    "correlation of two of ten .9 to 0": (10, _together(0.9), _as_it_is),
    "correlation of two of ten 0 to .5": (10, _as_it_is, _together(0.5)),
    "two of ten begin to share their sign": (10, _as_it_is, _of_one_sign),
    "all means of 20 by .25 sd": (20, _as_it_is, _all_a_little),
}
"""How many normal features, and what they are before and after."""


def _correlated(rng: np.random.Generator, n: int) -> Values:
    values = normal(features=10)(rng, n)
    return {name: column + values["feature:0"] for name, column in values.items()}


def _slow(rng: np.random.Generator, n: int) -> Values:
    return {f"feature:{i}": autoregression(0.9)(rng, n)["feature:0"] for i in range(5)}


UNCHANGED: dict[str, Generate] = {
    "none: 10 normal features": normal(features=10),
    "none: 10 that go together": _correlated,
    "none: five AR(1) .9": _slow,
}


def measure(run: Run) -> Iterator[Row]:
    """A row for each change and detector; then for streams that do not change, of this detector."""
    for title, (features, before, after) in list(CHANGES.items())[: run.size.of(1, None, None)]:
        for name in DETECTORS[: run.size.of(1, None, None)]:
            delays: list[int] = []
            early, runs = 0, run.size.of(1, 20, 100)
            for seed in range(runs):
                rng = np.random.default_rng([SEED, seed])
                first_part = before(rng, normal(features=features)(rng, REFERENCE_ROWS + CLEAN_ROWS))
                values = joined(first_part, after(rng, normal(features=features)(rng, CHANGED_ROWS)))
                first = next(_raised(name, values), None)
                if first is not None and first < REFERENCE_ROWS + CLEAN_ROWS:
                    early += 1
                elif first is not None:
                    delays.append(first + 1 - REFERENCE_ROWS - CLEAN_ROWS)
            yield {
                "change": title,
                "detector": name,
                "delay": float(np.mean(delays)) if delays else None,
                "missed": (runs - early - len(delays)) / runs,
                "early": early / runs,
                "runs": runs,
            }
    for title, generate in list(UNCHANGED.items())[: run.size.of(1, None, None)]:
        runs, rows = run.size.of(1, 4, 20), run.size.of(2_000, UNCHANGED_ROWS, UNCHANGED_ROWS)
        streams = (generate(np.random.default_rng([SEED, seed]), REFERENCE_ROWS + rows) for seed in range(runs))
        alarms = sum(sum(1 for _ in _raised("joint_drift", values)) for values in streams)
        yield {"change": title, "detector": "joint_drift", "false": alarms * BUDGET / (runs * rows), "runs": runs}


def _raised(name: str, values: Values) -> Iterator[int]:
    """Rows at which a detector raises something, with the whole budget for itself."""
    rows = np.arange(len(next(iter(values.values()))), dtype=np.int64)
    columns = Columns(Stream.FEATURES, rows, rows.astype(np.float64), values)
    reference = Reference.learn(columns.slice(0, REFERENCE_ROWS))
    detector = build(name, reference, Options(BUDGET))
    assert detector is not None
    window = window_rows(len(reference.signals))
    batch = BATCH // window * window
    end = REFERENCE_ROWS + (len(rows) - REFERENCE_ROWS) // window * window
    for start in range(REFERENCE_ROWS, end, batch):
        part = columns.slice(start, min(start + batch, end))
        codes = reference.encode(part)
        counted = summarise(part.stream, reference.signals, codes, reference.width, part.rows, part.ts, window)
        yield from (one.row for one in detector.update(counted, part) if not one.recovered)


def lines(rows: Sequence[Row]) -> list[Line]:
    """The delay of a correlation that ends."""
    title = "correlation of two of ten .9 to 0"
    ours, each = (find(rows, change=title, detector=name) for name in DETECTORS[:2])
    if not ours:
        return []
    beside = f"a look at each feature alone misses {shown(each, 'missed', '.0%')}"
    return [Line(f"{title}, rows until `joint_drift` raises it", shown(ours, "delay", ",.0f"), beside)]


TABLE = Table(
    name="joint_drift",
    title="Features that move together",
    meaning=f"""\
`joint_drift` (docs/joint-drift.md) beside detectors that look at each feature alone, or at strange rows:
{REFERENCE_ROWS:,} rows of reference, {CLEAN_ROWS:,} unchanged, {CHANGED_ROWS:,} after the change; each detector has the
whole budget of {BUDGET:,} rows per false alarm. Delay: rows from the change to the first alarm, the mean over the runs
that raise nothing before it (early). Where nothing changes: false alarms in {BUDGET:,} rows, of which the budget allows
one.""",
    goal="none was set; the budget holds.",
    seeds=f"{SEED} with the number of the run, which nothing was set by",
    columns=(
        Column("change", "change"),
        Column("detector", "detector"),
        Column("delay", "delay, rows", ",.0f"),
        Column("missed", "missed", ".0%"),
        Column("early", "early", ".0%"),
        Column("false", f"false alarms in {BUDGET:,} rows", ".2f"),
        Column("runs", "runs", ",.0f"),
    ),
    grouped=1,
    measure=measure,
    lines=lines,
)
