"""Ten of 500 features move: whether they are found, and whether others are accused."""

from collections.abc import Iterator, Sequence

import numpy as np

from bench.quality.streams import joined, normal
from bench.quality.table import Column, Line, Row, Run, Table, find, shown
from bench.quality.watch import BUDGET, REFERENCE_ROWS, verdicts

SEED = 9_003
FEATURES, MOVED = 500, 10
CLEAN_ROWS, CHANGED_ROWS = 1_000, 5_000
CHANGE = REFERENCE_ROWS + CLEAN_ROWS
SHIFTS = (0.5, 1.0)
NULL_SEED, NULL_ROWS = 9_005, 50_000


def measure(run: Run) -> Iterator[Row]:
    """A row for each size of the shift, and one for none."""
    yield _null(run.size.of(1, 10, 60), run.size.of(2_000, NULL_ROWS, NULL_ROWS))
    runs = run.size.of(1, 20, 60)
    for shift in SHIFTS[-run.size.of(1, 2, 2) :]:
        alarms, false, found, delays = 0, 0, 0, []
        for seed in range(runs):
            rng = np.random.default_rng([SEED, seed])
            moved = {f"feature:{i}" for i in rng.choice(FEATURES, MOVED, replace=False)}
            before, after = normal(features=FEATURES)(rng, CHANGE), normal(features=FEATURES)(rng, CHANGED_ROWS)
            values = joined(before, {name: column + shift * (name in moved) for name, column in after.items()})
            first: dict[str, int] = {}
            for one in verdicts(values):
                alarms += 1
                false += one.signal not in moved or one.row < CHANGE
                if one.row >= CHANGE:
                    first.setdefault(one.signal, one.row + 1 - CHANGE)
            found += len(moved & set(first))
            delays += [rows for name, rows in first.items() if name in moved]
        yield {
            "shift": f"mean + {f'{shift:g}'.removeprefix('0')} sd",
            "found": found / (MOVED * runs),
            "false": false / alarms if alarms else None,
            "alarms": alarms / runs,
            "delay": float(np.mean(delays)) if delays else None,
            "runs": runs,
        }
    for name, share in (("raises all 500, always", 1.0), ("raises nothing", 0.0)):
        yield {"shift": name, "found": share, "false": 1 - MOVED / FEATURES if share else None}


def _null(runs: int, rows: int) -> Row:
    """Nothing moves."""
    alarms = 0
    for seed in range(runs):
        rng = np.random.default_rng([NULL_SEED, seed])
        alarms += sum(1 for _ in verdicts(normal(features=FEATURES)(rng, REFERENCE_ROWS + rows)))
    return {"shift": "none moves", "alarms": alarms / runs, "allowed": rows / BUDGET, "runs": runs}


def lines(rows: Sequence[Row]) -> list[Line]:
    """Of the smaller shift."""
    row = find(rows, shift="mean + .5 sd")
    found, false = (shown(row, name, ".0%") for name in ("found", "false"))
    what = f"{MOVED} of {FEATURES} features move by .5 sd: found, share of alarms that are false"
    return [Line(what, f"{found}, {false}" if row else "-")]


TABLE = Table(
    name="many_features",
    title="Ten of 500 features move",
    meaning=f"""\
{FEATURES} normal features that share one budget of {BUDGET:,} rows per false alarm: {REFERENCE_ROWS:,} rows of
reference, {CLEAN_ROWS:,} unchanged, then {CHANGED_ROWS:,} in which the means of {MOVED} differ. Found: how many of
the {MOVED} were raised, each by its own name. False: the share of all alarms that are of another feature, or from
before the change. None moves: {NULL_ROWS:,} rows after the reference, alarms in a run, and how many the budget
allows.""",
    goal="the budget holds where none moves; all ten found, at most 5 % of the alarms false.",
    seeds=f"{SEED} and {NULL_SEED} with the number of the run",
    columns=(
        Column("shift", "the ten"),
        Column("found", "found", ".1%"),
        Column("false", "false", ".1%"),
        Column("alarms", "alarms a run", ",.1f"),
        Column("allowed", "allowed", ",.2g"),
        Column("delay", "mean delay, rows", ",.0f"),
        Column("runs", "runs", ",.0f"),
    ),
    measure=measure,
    lines=lines,
)
