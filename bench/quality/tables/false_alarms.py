"""How many rows pass between false alarms, at three budgets."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bench.quality.streams import Generate, autoregression, errors, normal, restless, season, shuffled
from bench.quality.table import NOT_RUN, Column, Line, NotRun, Row, Run, Size, Table
from bench.quality.watch import REFERENCE_ROWS, verdicts

SEED = 9_002
SOON, SOON_RUNS, GOAL_RUNS = 2_000, 400, 2_000
"""Rows, runs, and runs at the budget that the goal is of: a share of 2 % is seen in many runs only."""
BUDGETS = ((1_000, 120, 5_000), (10_000, 60, 40_000), (100_000, 40, 300_000))
"""Rows per false alarm, runs, and rows of a run after the reference."""
STREAMS: dict[str, Generate] = {
    "errors .1": errors(0.1),
    "errors .3": errors(0.3),
    "normal": normal(),
    "AR(1) .5": autoregression(0.5),
    "AR(1) .9": autoregression(0.9),
    "restless .9": restless(0.9),
    "20 normal features": normal(features=20),
}
MORE_STREAMS: dict[str, Generate] = {
    "errors .01": errors(0.01),
    "season of 500 rows": season(500),
    "season of 1,440 rows": season(1_440),
    "500 normal features": normal(features=500),
}
SINGLE = {name for name in {**STREAMS, **MORE_STREAMS} if "features" not in name}
FEWER_RUNS = 4
"""Streams of many features have so many times fewer."""
SHUFFLED = ("credit_default", "covertype100k")


def measure(run: Run) -> Iterator[Row]:
    """A row for each stream and budget."""
    streams = dict(list(STREAMS.items())[: run.size.of(1, None, None)])
    if run.size is Size.LONG:
        streams |= MORE_STREAMS
    for title, generate in streams.items():
        yield from _rows(run, title, generate)
    for name in SHUFFLED[: run.size.of(0, 1, None)]:
        title = f"{name}, shuffled"
        try:
            table = _only_table(run.folder(name))
        except NotRun as reason:
            yield {"stream": title, NOT_RUN: str(reason)}
        else:
            yield from _rows(run, title, shuffled(table))


def _only_table(folder: Path) -> Path:
    (table,) = folder.glob("*.csv.gz")
    return table


def _rows(run: Run, title: str, generate: Generate) -> Iterator[Row]:
    fewer = 1 if title in SINGLE else FEWER_RUNS
    for budget, runs, rows in BUDGETS[: run.size.of(1, None, None)]:
        many = max(4, run.size.of(1, runs, 10 * runs) // fewer)
        firsts = _firsts(generate, budget, rows, [(SEED, seed) for seed in range(many)])
        alarms = sum(first is not None for first in firsts)
        seen = sum(rows if first is None else first for first in firsts)
        short = GOAL_RUNS if budget == BUDGETS[-1][0] else SOON_RUNS
        soon_runs = max(4, run.size.of(1, short, 10 * short) // fewer)
        soon = _firsts(generate, budget, SOON, [(SEED, 1, seed) for seed in range(soon_runs)])
        yield {
            "stream": title,
            "budget": budget,
            "multiple": seen / alarms / budget if alarms else f"over {seen / budget:,.0f}",
            "within": sum(first is not None and first <= budget for first in firsts) / many,
            "runs": many,
            "soon": sum(first is not None for first in soon) / soon_runs,
            "soon_runs": soon_runs,
        }


def _firsts(generate: Generate, budget: int, rows: int, seeds: Sequence[tuple[int, ...]]) -> list[int | None]:
    """Of each run so many rows after the reference until the first alarm; None where there is none in ``rows``."""
    found: list[int | None] = []
    for seed in seeds:
        first = next(verdicts(generate(np.random.default_rng(seed), REFERENCE_ROWS + rows), budget), None)
        found.append(None if first is None else first.row + 1 - REFERENCE_ROWS)
    return found


def lines(rows: Sequence[Row]) -> list[Line]:
    """The least multiple of the budget, and where it was."""
    known = [(float(one), str(row["stream"])) for row in rows if isinstance(one := row.get("multiple"), float)]
    least = "{:.1f} ({})".format(*min(known)) if known else "-"
    streams = len({row["stream"] for row in rows if NOT_RUN not in row})
    return [Line(f"rows per false alarm over the budget, the least of {streams} streams at 3 budgets", least)]


TABLE = Table(
    name="false_alarms",
    title="False alarms where nothing changes",
    meaning=f"""\
Streams whose law never changes; the reference is learned from the first {REFERENCE_ROWS:,} rows. Rows per alarm over
the budget: 1 or more keeps what `DRIFTD_EVENTS_PER_FALSE_ALARM` promises ("over" where no run raised anything).
Within the budget: the share of runs that alarm within so many rows, .63 for one that alarms at random. Within 2,000
rows: the same of other, shorter runs, and of more of them. A detector that never fires would be perfect here; what it
misses is in the table above. Restless: values independent of each other but for their spread, the logarithm of which is
AR(1) of deviation 1: calm and restless times.""",
    goal="at least 1 everywhere; at a budget of 100,000 at most 2 % of the runs within the first 2,000 rows.",
    seeds=f"{SEED} with the number of the run, which nothing was set by",
    columns=(
        Column("stream", "stream"),
        Column("budget", "budget, rows", ",.0f"),
        Column("multiple", "rows per alarm / budget", ",.1f"),
        Column("within", "within the budget", ".1%"),
        Column("runs", "runs", ",.0f"),
        Column("soon", "within 2,000 rows", ".1%"),
        Column("soon_runs", "runs", ",.0f"),
    ),
    grouped=1,
    measure=measure,
    lines=lines,
)
