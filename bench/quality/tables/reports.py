"""Alarms as they come, beside reports on chunks: Evidently's and NannyML's."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from bench.quality.peers.environment import ask
from bench.quality.streams import Values, joined, normal
from bench.quality.table import NOT_RUN, Column, Line, NotRun, Row, Run, Table, find, shown
from bench.quality.watch import BUDGET, verdicts

SEED = 9_004
CHUNK = 1_000
REFERENCE_ROWS, CLEAN, CHANGED = 10_000, 10, 5
"""Chunks before and after the change."""
FEATURES, MOVED = 10, "feature:0"
SHIFTS = {"nothing changes": 0.0, "mean of one + .25 sd": 0.25, "mean of one + .5 sd": 0.5}
REAL = "credit_default, shuffled"

Alarm = tuple[int, bool]
"""The row since the reference, and whether it is of the feature that moves."""


@dataclass
class Found:
    """Of all runs: chunks in which nothing had changed, those of them with an alarm, and rows until the first alarm."""

    clean: int = 0
    false: int = 0
    runs: int = 0
    delays: list[int] = field(default_factory=list)
    seconds: float = 0.0
    """Processor time."""

    def add(self, raised: Sequence[Alarm], clean: int, *, changed: bool) -> None:
        """Count a run's alarms."""
        self.runs += 1
        self.clean += clean
        self.false += len({row // CHUNK for row, _ in raised if row < clean * CHUNK})
        first = next((row + 1 - clean * CHUNK for row, true in raised if true and row >= clean * CHUNK), None)
        if changed and first is not None:
            self.delays.append(first)

    def row(self, rows: str, name: str, *, changed: bool) -> Row:
        """As a row of the table."""
        micros = self.seconds / self.runs / (CLEAN + CHANGED) / CHUNK * 1e6
        return {
            "rows": rows,
            "detector": name,
            "false": self.false / self.clean,
            "delay": float(np.mean(self.delays)) if self.delays else None,
            "missed": 1 - len(self.delays) / self.runs if changed else None,
            "micros": micros or None,
            "clean": self.clean,
        }


def measure(run: Run) -> Iterator[Row]:
    """A row for each stream and detector."""
    runs = run.size.of(1, 3, 20)
    for title, shift in list(SHIFTS.items())[-run.size.of(1, 3, 3) :]:
        streams = []
        for seed in range(runs):
            rng = np.random.default_rng([SEED, seed])
            before = normal(features=FEATURES)(rng, REFERENCE_ROWS + CLEAN * CHUNK)
            after = normal(features=FEATURES)(rng, CHANGED * CHUNK)
            after[MOVED] += shift
            streams.append(joined(before, after))
        yield from _rows(run, title, streams, CLEAN if shift else CLEAN + CHANGED, changed=shift > 0)
    try:
        path = run.folder("credit_default") / "credit_default.csv.gz"
    except NotRun as reason:
        yield {"rows": REAL, NOT_RUN: str(reason)}
        return
    frame = pd.read_csv(path).drop(columns="ID")
    streams = []
    for seed in range(run.size.of(1, 1, 10)):
        order = np.random.default_rng([SEED, seed]).permutation(len(frame))[: REFERENCE_ROWS + 15 * CHUNK]
        streams.append({f"feature:{name}": frame[name].to_numpy(np.float64)[order] for name in frame})
    yield from _rows(run, REAL, streams, 15, changed=False)


def _rows(run: Run, title: str, streams: list[Values], clean: int, *, changed: bool) -> Iterator[Row]:
    ours = Found()
    for values in streams:
        began = time.process_time()
        raised = [(one.row - REFERENCE_ROWS, one.signal == MOVED) for one in verdicts(values, BUDGET, REFERENCE_ROWS)]
        ours.seconds += time.process_time() - began
        ours.add(raised, clean, changed=changed)
    yield ours.row(title, "driftd", changed=changed)
    for name in ("Evidently", "NannyML"):
        try:
            found = _reports(run, name, streams, clean, changed=changed)
        except NotRun as reason:
            yield {"rows": title, "detector": name, NOT_RUN: str(reason)}
        else:
            yield from (one.row(title, each, changed=changed) for each, one in found.items())
    rows = len(next(iter(streams[0].values()))) - REFERENCE_ROWS
    for name, fired in (("always fires", rows), ("never fires", 0)):
        constant = Found()
        constant.add([(row, True) for row in range(fired)], clean, changed=changed)
        yield constant.row(title, name, changed=changed)


def _reports(run: Run, name: str, streams: list[Values], clean: int, *, changed: bool) -> dict[str, Found]:
    """An alarm is at the end of a chunk in which any column is called drifted, or all of it."""
    found: dict[str, Found] = {}
    for values in streams:
        reference, live = (
            {signal: column[part] for signal, column in values.items()}
            for part in (slice(REFERENCE_ROWS), slice(REFERENCE_ROWS, None))
        )
        question = {"ask": "drift", "chunk_rows": CHUNK, "categories": []}
        told = ask(name.lower(), question, reference=reference, live=live)
        run.versions[name.lower()] = told["version"]
        ends = [(i + 1) * CHUNK - 1 for i in range(len(told["columns"]))]
        drifted = zip(ends, told["columns"], strict=True)
        said = {f"{name}, any column": [(end, MOVED in columns) for end, columns in drifted if columns]}
        if "whole" in told:
            said[f"{name}, half of the columns"] = [
                (end, True) for end, whole in zip(ends, told["whole"], strict=True) if whole
            ]
        for each, raised in said.items():
            one = found.setdefault(each, Found())
            one.add(raised, clean, changed=changed)
            one.seconds += told["seconds"]
    return found


def lines(rows: Sequence[Row]) -> list[Line]:
    """Rows until a shift is raised, and false alarms."""

    def told(row: Row) -> str:
        if not row:
            return "-"
        missed = f", {shown(row, 'missed', '.0%')} missed" if row["missed"] else ""
        return f"{shown(row, 'delay', ',.0f')}{missed} ({shown(row, 'false', '.0%')})"

    title = "mean of one + .25 sd"
    names = ("Evidently, any column", "NannyML, any column")
    beside = [f"{name} {told(row)}" for name in names if (row := find(rows, rows=title, detector=name))]
    what = "one of 10 means moves by .25 sd: rows until raised (unchanged chunks with an alarm)"
    return [Line(what, told(find(rows, rows=title, detector="driftd")), ", ".join(beside))]


TABLE = Table(
    name="reports",
    title="Beside reports on chunks: Evidently and NannyML",
    meaning=f"""\
Evidently and NannyML compare a chunk of rows with the reference, as a daily job does. {FEATURES} normal features, or
the 24 of credit_default in random order: {REFERENCE_ROWS:,} rows of reference, {CLEAN} chunks of {CHUNK:,} rows
unchanged, then {CHANGED} in which the mean of one feature differs (nothing differs: 15 chunks). False alarms: the
share of unchanged chunks in which anything is raised. Delay: rows from the change to the first alarm after it that
names the feature, which for a report is at the end of a chunk at the earliest. driftd has a budget of {BUDGET:,}
rows per false alarm, so that one chunk in 100 may have one; an alarm is not repeated while it is open. Evidently and
NannyML are on their defaults, every column a number; Evidently's report calls all of it drifted when half of the
columns are.""",
    seeds=f"{SEED} with the number of the run",
    columns=(
        Column("rows", "rows"),
        Column("detector", "detector"),
        Column("false", "false alarms", ".1%"),
        Column("delay", "delay, rows", ",.0f"),
        Column("missed", "missed", ".0%"),
        Column("micros", "µs a row", ",.1f"),
        Column("clean", "unchanged chunks", ",.0f"),
    ),
    grouped=1,
    measure=measure,
    lines=lines,
)
