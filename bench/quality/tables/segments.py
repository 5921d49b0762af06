"""What watching segments gives, and what it costs."""

from collections.abc import Iterator, Sequence

import numpy as np

from bench.quality.segmented import BATCH, CHANGE, CHOSEN, SEED, SEGMENTS, WITH, WITHOUT, Batch, Watched
from bench.quality.table import Column, Line, Row, Run, Table, find, shown
from detectors.base import Verdict

SEGMENT = 3
MISSED_ROWS = 60_000
CALM_BUDGET, CALM_FEATURES = 20_000, 10
COST_FEATURES, COST_BATCHES = 20, 40
ERROR = "error of one segment .1 to .2"
CALM = "nothing changes"


def measure(run: Run) -> Iterator[Row]:
    """Delay, false alarms and cost, with segments and without."""
    for name, chosen in CHOSEN.items():
        yield _delay(name, chosen, run.size.of(1, 20, 60))
    for name, chosen in CHOSEN.items():
        yield _false_alarms(name, chosen, run.size.of(1, 6, 20), run.size.of(10_000, 150_000, 150_000))
    for name, chosen in CHOSEN.items():
        watched = Watched(SEED, COST_FEATURES, segments=chosen)
        for _ in range(6):
            watched.take()
        watched.seconds = 0.0
        batches = run.size.of(1, COST_BATCHES, COST_BATCHES)
        for _ in range(batches):
            watched.take()
        yield {
            "happens": f"{COST_FEATURES} features",
            "watches": name,
            "micros": watched.seconds / batches / BATCH * 1e6,
        }


def _delay(name: str, chosen: tuple[str, ...], runs: int) -> Row:
    delays, early, missed = [], 0, 0
    for seed in range(runs):
        watched = Watched(SEED + 2_000 + seed, 2, segments=chosen)

        def change(batch: Batch) -> None:
            hit = (batch.segments == SEGMENT) & (batch.rows >= CHANGE)
            batch.wrong[hit] = batch.rng.random(int(hit.sum())) < 0.2

        found: list[Verdict] = []
        while watched.rows < CHANGE + MISSED_ROWS and not found:
            found = [one for one in watched.take(change) if one.signal.startswith("error")]
        if not found:
            missed += 1
        elif found[0].row < CHANGE:
            early += 1
        else:
            delays.append(found[0].row + 1 - CHANGE)
    return {
        "happens": ERROR,
        "watches": name,
        "delay": float(np.mean(delays)) if delays else None,
        "missed": missed / runs,
        "early": early / runs,
        "runs": runs,
    }


def _false_alarms(name: str, chosen: tuple[str, ...], runs: int, rows: int) -> Row:
    found: list[Verdict] = []
    for seed in range(runs):
        watched = Watched(SEED + 1_000 + seed, CALM_FEATURES, events_per_false_alarm=CALM_BUDGET, segments=chosen)
        found += [one for _ in range(rows // BATCH) for one in watched.take()]
    return {
        "happens": CALM,
        "watches": name,
        "alarms": len(found),
        "within": sum(one.detector == "segments" for one in found),
        "allowed": runs * rows / CALM_BUDGET,
        "runs": runs,
    }


def lines(rows: Sequence[Row]) -> list[Line]:
    """The delay of an error in one segment."""

    def told(row: Row) -> str:
        missed = shown(row, "missed", ".0%")
        return f"{shown(row, 'delay', ',.0f')} ({missed} missed)" if row else "-"

    ours, without = (find(rows, happens=ERROR, watches=name) for name in (WITH, WITHOUT))
    what = f"error rate of one of {SEGMENTS} segments .1 to .2, the model's .1 to .105: mean rows until raised"
    return [Line(what, told(ours), f"without segments {told(without)}" if without else "")]


TABLE = Table(
    name="segments",
    title="What watching segments gives, and costs",
    meaning=f"""\
{SEGMENTS} segments of the same size, labels at once. The error rate of one segment goes from .1 to .2 at row
{CHANGE:,}, and so the model's from .1 to .105; missed: not raised in {MISSED_ROWS:,} rows, early: raised before.
Nothing changes: {CALM_FEATURES} features, a budget of {CALM_BUDGET:,} rows per false alarm; alarms in all runs,
those of them within a segment, and how many the budget allows, a quarter of them to segments. Cost: the monitor's
processor time for a prediction with its label, decoding and storing apart.""",
    seeds=f"{SEED} plus the number of the run, which nothing was set by",
    columns=(
        Column("happens", "what happens"),
        Column("watches", "watches"),
        Column("delay", "delay, rows", ",.0f"),
        Column("missed", "missed", ".0%"),
        Column("early", "early", ".0%"),
        Column("alarms", "false alarms", ",.0f"),
        Column("within", "in a segment", ",.0f"),
        Column("allowed", "allowed", ",.0f"),
        Column("micros", "µs", ",.1f"),
        Column("runs", "runs", ",.0f"),
    ),
    grouped=1,
    measure=measure,
    lines=lines,
)
