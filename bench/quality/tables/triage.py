"""Whether the cause of a change is named right, and whether broken data ever starts a retrain: confusion matrices."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bench.quality.table import Column, Line, Row, Run, Table, Value, find, shown
from bench.quality.triage import runs
from bench.quality.triage.feed import Run as Told
from bench.quality.triage.real import REAL
from bench.quality.triage.scenarios import SCENARIOS, Scenario
from detectors.cause import Cause

NAMED = {
    Cause.DATA_BROKEN: "broken",
    Cause.COVARIATE_SHIFT: "covariate",
    Cause.LABEL_SHIFT: "label",
    Cause.CONCEPT_DRIFT: "concept",
    Cause.RETURN: "return",
    None: "nothing",
}
ALL = "all"


def seeded(run: Run) -> Iterator[Row]:
    """On worlds that are drawn."""
    yield from _measure(SCENARIOS[: run.size.of(2, None, None)], run.size.of(1, 40, 100), runs.run)


def real(run: Run) -> Iterator[Row]:
    """On credit_default."""
    path = run.folder("credit_default") / "credit_default.csv.gz"
    scenarios = REAL[: run.size.of(1, None, None)]
    yield from _measure(scenarios, run.size.of(1, 20, 40), lambda one, seed: runs.run_real(one, seed, path))


def _measure(scenarios: Sequence[Scenario], count: int, play: Callable[[Scenario, int], Told]) -> Iterator[Row]:
    """A row for each scenario, then one for all, and what always the same answer would have scored."""
    told: list[tuple[Scenario, Told]] = []
    for scenario in scenarios:
        found = [(scenario, play(scenario, seed)) for seed in range(count)]
        yield _row(scenario.name, found)
        told += found
    yield _row(ALL, told)
    for cause, name in NAMED.items():
        right = sum(scenario.cause is cause for scenario, _ in told) / len(told)
        trained = sum(cause in TRAINING and scenario.breakage is not None for scenario, _ in told)
        yield {"happened": f"always {name}", name: len(told), "right": right, "ended": right, "trained": trained}


TRAINING = frozenset({Cause.CONCEPT_DRIFT, Cause.RETURN})
"""What asks for a retrain."""


def _row(name: str, told: Sequence[tuple[Scenario, Told]]) -> Row:
    counts = Counter(one.first for _, one in told)
    rows = [one.rows for scenario, one in told if one.first is scenario.cause and one.rows is not None]
    broken = [(scenario.breakage, one) for scenario, one in told if scenario.breakage]
    matrix: dict[str, Value] = {head: counts[cause] for cause, head in NAMED.items()}
    figures: Row = {
        "happened": name,
        "right": sum(one.first is scenario.cause for scenario, one in told) / len(told),
        "ended": sum(one.last is scenario.cause for scenario, one in told) / len(told),
        "rows": float(np.median(rows)) if rows else None,
        "kind": sum(one.breakage == kind for kind, one in broken) / len(broken) if broken else None,
        "trained": sum(one.trained for _, one in broken) if broken else None,
    }
    return figures | matrix


def lines(rows: Sequence[Row]) -> list[Line]:
    """How many were named right, and what naming always the same would have given."""
    row = find(rows, happened=ALL)
    if not row:
        return [Line("cause named right by the first alarm with a cause", "-")]
    told, ended = (shown(row, name, ".0%") for name in ("right", "ended"))
    always = max(float(one["right"] or 0) for one in rows if str(one["happened"]).startswith("always"))
    count = sum(int(row[head] or 0) for head in NAMED.values())
    what = f"cause named right at first and in the end, {count} seeded accidents and shifts"
    trained = f"retrains on broken data: {row['trained']}"
    return [Line(what, f"{told} and {ended}; {trained}", f"always the same answer: {always:.0%}".replace("%", " %"))]


COLUMNS = (
    Column("happened", "what happened"),
    *(Column(head, head, ",.0f") for head in NAMED.values()),
    Column("right", "right", ".1%"),
    Column("ended", "right in the end", ".1%"),
    Column("rows", "rows", ",.0f"),
    Column("kind", "kind of breakage right", ".1%"),
    Column("trained", "retrains on broken data", ",.0f"),
)
SEEDS = f"{runs.SEED} with the number of the run, which nothing was set by"

SEEDED = Table(
    name="triage",
    title="Why something was raised: seeded worlds",
    meaning=f"""\
Seeded models of 8 to 20 features of mixed kinds, some of them autocorrelated, a logistic regression fitted to their
world, and labels that come 0, 50 or 200 rows late. Each run has {runs.REFERENCE_ROWS:,} rows from which the
references are learned, {runs.CALM_ROWS:,} unchanged, then the change and up to {runs.CHANGED_ROWS:,} rows more, and
goes through the daemon's own monitor with its own settings. What was named first after the change (unknown is no
name); right in the end: what was named last, by an alarm or by a second look at one. Rows: from the change to the
right name, the median. A return needs labels before it can be told from a concept that changes: at first it often is
called one, and that trains as well.""",
    goal="95 % named right; broken data never starts a retrain.",
    seeds=SEEDS,
    columns=COLUMNS,
    measure=seeded,
    lines=lines,
)
CREDIT = Table(
    name="triage_credit",
    title="Why something was raised: credit_default",
    meaning="""\
The same on shuffled rows of credit_default, with shifts and drift put into them. Broken data is told at once, shifts
and drift often at a second look only. Its labels follow only weakly from its features. Turned labels then look like
more of the rarer label: what tells them apart is how features and labels go together row by row, of which the weighing
sees the score and no single feature. A shift is made here by drawing some rows more often by their features, which
draws their labels as well; in few rows that is much like a shift of the labels.""",
    goal="95 % named right; broken data never starts a retrain.",
    seeds=SEEDS,
    columns=COLUMNS,
    measure=real,
)
