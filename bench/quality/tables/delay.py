"""How soon a change is raised."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.quality import river_detectors
from bench.quality.streams import Generate, errors, joined, normal
from bench.quality.table import Column, Line, Row, Run, Table, find, shown
from bench.quality.watch import BUDGET, REFERENCE_ROWS, verdicts

SEED = 9_001
"""Not one that anything was set by: weights and margins look up to a tenth better on their own seeds."""
CLEAN_ROWS = 1_000
CHANGE = REFERENCE_ROWS + CLEAN_ROWS
FEWER_RUNS = 3
ALWAYS, NEVER = "always fires", "never fires"


@dataclass(frozen=True)
class Change:
    """A change, the mean delay of CUSUM that knows both laws, the goal, and the rows after which it is missed."""

    title: str
    before: Generate
    after: Generate
    limit: float
    goal: float
    rows: int


CHANGES = (
    Change("error .1 to .2", errors(0.1), errors(0.2), 163, 205, 3_000),
    Change("error .2 to .3", errors(0.2), errors(0.3), 244, 300, 3_000),
    Change("error .2 to .25", errors(0.2), errors(0.25), 754, 1_000, 8_000),
    Change("mean + .5 sd", normal(), normal(0.5), 67.5, 85, 2_000),
    Change("mean + 1 sd", normal(), normal(1.0), 19.7, 25, 1_000),
)


@dataclass
class Delays:
    """What a detector did in all runs."""

    rows: list[int] = field(default_factory=list)
    runs: int = 0
    early: int = 0
    missed: int = 0
    placed: list[int] = field(default_factory=list)

    def add(self, row: int | None, change_row: int | None = None) -> None:
        """Count the first alarm of a run, None for none, and where it says that the change began."""
        self.runs += 1
        if row is None:
            self.missed += 1
        elif row < CHANGE:
            self.early += 1
        else:
            self.rows.append(row + 1 - CHANGE)
            if change_row is not None:
                self.placed.append(abs(change_row - CHANGE))

    def row(self, change: Change, detector: str) -> Row:
        """As a row of the table."""
        return {
            "change": change.title,
            "limit": change.limit,
            "goal": change.goal,
            "detector": detector,
            "mean": float(np.mean(self.rows)) if self.rows else None,
            "most": float(np.percentile(self.rows, 90)) if self.rows else None,
            "missed": self.missed / self.runs,
            "early": self.early / self.runs,
            "placed": float(np.median(self.placed)) if self.placed else None,
            "runs": self.runs,
        }


def measure(run: Run) -> Iterator[Row]:
    """A row for each change and detector."""
    runs = run.size.of(6, 300, 3_000)
    for change in CHANGES[: run.size.of(1, None, None)]:
        found = {"driftd": Delays()}
        for seed in range(runs):
            rng = np.random.default_rng([SEED, seed])
            values = joined(change.before(rng, CHANGE), change.after(rng, change.rows))
            first = next(verdicts(values), None)
            found["driftd"].add(*((first.row, first.change_row) if first else (None,)))
            for name in river_detectors.NAMES:
                fewer = FEWER_RUNS * river_detectors.FEWER.get(name, 1)
                if river_detectors.watches(name, values) and seed < max(1, runs // fewer):
                    # what it fired at while it was learning is not held against it here
                    fired = (row for row in river_detectors.fires(name, values) if row >= REFERENCE_ROWS)
                    found.setdefault(name, Delays()).add(next(fired, None))
        for name, delays in found.items():
            yield delays.row(change, name)
        for name, row in ((ALWAYS, REFERENCE_ROWS), (NEVER, None)):
            constant = Delays()
            constant.add(row)
            yield constant.row(change, name) | {"runs": None}


def lines(rows: Sequence[Row]) -> list[Line]:
    """One for each change that the README tells."""
    told = {
        "error .1 to .2": "error rate .1 to .2: mean rows until raised",
        "error .2 to .25": "error rate .2 to .25",
        "mean + 1 sd": "mean shift of 1 sd",
    }
    made = []
    for change, what in told.items():
        ours = find(rows, change=change, detector="driftd")
        beside = [
            f"{name} {_told(find(rows, change=change, detector=name))}"
            for name in river_detectors.NAMES
            if find(rows, change=change, detector=name)
        ]
        made.append(Line(what, _told(ours), ", ".join(beside)))
    return made


def _told(row: Row) -> str:
    notes = [f"{shown(row, name, '.0%')} {name}" for name in ("missed", "early") if float(row.get(name) or 0) >= 0.005]
    return shown(row, "mean", ",.0f") + (f" ({', '.join(notes)})" if notes else "")


TABLE = Table(
    name="delay",
    title="Delay of an alarm",
    meaning=f"""\
Each stream begins with {REFERENCE_ROWS:,} rows from which the reference is learned, and which river's detectors see
as well; then {CLEAN_ROWS:,} rows unchanged, then the change. Delay: rows from the change to the first alarm, the
mean and the 90th percentile over the runs in which nothing fired before the change (early). Missed: nothing fired in
3,000 rows (8,000 for .2 to .25, 2,000 and 1,000 for the means). Placed: rows between the change and where the alarm
says that it began, the median. driftd is promised {BUDGET:,} rows per false alarm and has one signal; river's
detectors are on their defaults and promise none. Optimal: the mean delay of CUSUM that knows both laws, at the same
budget; nobody is faster on average.""",
    goal="at most the rows in the column, at 100,000 rows per false alarm, size unknown, reference learned.",
    seeds=f"{SEED} with the number of the run, which nothing was set by",
    columns=(
        Column("change", "change"),
        Column("limit", "optimal", ".4g"),
        Column("goal", "goal", ",.0f"),
        Column("detector", "detector"),
        Column("mean", "mean delay", ",.1f"),
        Column("most", "90 %", ",.0f"),
        Column("missed", "missed", ".1%"),
        Column("early", "early", ".1%"),
        Column("placed", "placed", ",.0f"),
        Column("runs", "runs", ",.0f"),
    ),
    grouped=3,
    measure=measure,
    lines=lines,
)
