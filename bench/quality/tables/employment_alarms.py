"""Real traffic whose changes are known: what is raised, and when."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.quality import employment, river_detectors
from bench.quality.peers.environment import ask
from bench.quality.table import NOT_RUN, Column, Line, NotRun, Row, Run, Size, Table, find, shown
from daemon.events.tabular import Layout
from daemon.replay import Replay, Source
from daemon.settings import load

CHUNK = 5_000
SHIFT, COLLAPSE, RETURN = employment.CHANGES
NUMBERS = ["AGEP"]


def measure(run: Run) -> Iterator[Row]:
    """A row for each detector, on the errors and then on RELP."""
    folder = run.folder(employment.NAME)
    if run.size is Size.TINY:
        raise NotRun("is not measured in tiny form")
    data = employment.Employment.read(folder)
    ours = asyncio.run(_replayed(folder))
    yield _row("error", "driftd", _of(ours, lambda signal: signal == "error"))
    errors = {"error": np.concatenate([employment.losses(frame) for frame in (data.reference, data.live)])}
    for name in _river(run):
        yield _row("error", name, _live(river_detectors.fires(name, errors), len(data.reference)))
    yield from _constant("error", len(data.live))
    yield _row("RELP", "driftd", _of(ours, lambda signal: signal == "feature:RELP"))
    values = {"RELP": np.concatenate([frame.RELP.to_numpy(np.float64) for frame in (data.reference, data.live)])}
    for name in _river(run):
        if river_detectors.watches(name, values):
            yield _row("RELP", name, _live(river_detectors.fires(name, values), len(data.reference)))
    reports = list(_reports(run, data))
    yield from (row for row in reports if row["signal"] == "RELP")
    yield from _constant("RELP", len(data.live))
    yield _row("any feature", "driftd", _of(ours, lambda signal: signal.startswith("feature:")))
    yield from (row for row in reports if row["signal"] != "RELP")


def _river(run: Run) -> list[str]:
    slow = () if run.size is Size.LONG else ("KSWIN", "HDDM_W")
    return [name for name in river_detectors.NAMES if name not in slow]


def _live(fired: Iterator[int], reference_rows: int) -> list[int]:
    return [row - reference_rows for row in fired if row >= reference_rows]


async def _replayed(folder: Any) -> list[dict[str, Any]]:
    """What the daemon's own pipeline raises with its own settings."""
    layout = Layout("id", None, "prediction", "predicted_probability", "employed", None, ("year",))
    files = (folder / "analysis.csv.gz",)
    source = Source(
        files, "default", layout, reference=folder / "reference.csv.gz", labels=folder / "analysis_target.csv.gz"
    )
    return [one async for one in Replay(load({}), source).alarms()]


def _of(alarms: list[dict[str, Any]], wanted: Callable[[str], bool]) -> list[int]:
    return [one["row"] for one in alarms if wanted(one["signal"])]


def _reports(run: Run, data: employment.Employment) -> Iterator[Row]:
    """Reports on chunks: an alarm is at the end of its chunk."""

    def table(frame: pd.DataFrame) -> dict[str, Any]:
        return {name: frame[name].to_numpy(np.float64) for name in data.features}

    categories = [one for one in data.features if one not in NUMBERS]
    question = {"ask": "drift", "chunk_rows": CHUNK, "categories": categories}
    whole = len(data.live) // CHUNK * CHUNK
    for name in ("Evidently", "NannyML"):
        try:
            told = ask(name.lower(), question, reference=table(data.reference), live=table(data.live.head(whole)))
        except NotRun as reason:
            yield {"signal": "RELP", "detector": name, NOT_RUN: str(reason)}
            continue
        run.versions[name.lower()] = told["version"]
        for signal, wanted in (("RELP", {"RELP"}), ("any feature", set(data.features))):
            drifted = [(i + 1) * CHUNK - 1 for i, found in enumerate(told["columns"]) if wanted & set(found)]
            yield _row(signal, f"{name}, chunks of {CHUNK:,}", drifted)


def _constant(signal: str, rows: int) -> Iterator[Row]:
    yield _row(signal, "always fires", list(range(rows)))
    yield _row(signal, "never fires", [])


def _row(signal: str, name: str, raised: list[int]) -> Row:
    """Alarms before the first change that this signal has, rows from each change to the first alarm, and all alarms."""
    first = COLLAPSE if signal == "error" else SHIFT

    def after(change: int, end: int) -> int | None:
        return next((row + 1 - change for row in raised if change <= row < end), None)

    return {
        "signal": signal,
        "detector": name,
        "before": sum(row < first for row in raised),
        "shift": None if signal == "error" else after(SHIFT, COLLAPSE),
        "collapse": after(COLLAPSE, RETURN),
        "all": len(raised),
    }


def lines(rows: Sequence[Row]) -> list[Line]:
    """Of the collapse of accuracy."""

    def told(row: Row) -> str:
        return f"{shown(row, 'collapse', ',.0f')} ({shown(row, 'before', ',.0f')} before it)" if row else "-"

    beside = [
        f"{name} {told(row)}"
        for name in ("ADWIN", "DDM", "PageHinkley")
        if (row := find(rows, signal="error", detector=name))
    ]
    what = "employment_ma, accuracy falls by .07: rows until the error is raised"
    return [Line(what, told(find(rows, signal="error", detector="driftd")), ", ".join(beside))]


TABLE = Table(
    name="employment_alarms",
    title="Real traffic whose changes are known: employment_ma",
    meaning=f"""\
A frozen model's real predictions, 208,892 live rows after a year of reference. The share of group quarters (feature
RELP) falls to none at row {SHIFT:,}, is all there is from {COLLAPSE:,} to {RETURN - 1:,}, where accuracy falls from
.831 to .764, and none again from {RETURN:,} on. Rows until an alarm after each of the first two, and alarms before
the first that shows in the signal: nothing is known to change in the errors before {COLLAPSE:,}, and in the features
before {SHIFT:,}, but real rows may change for all that. driftd is `driftd replay` with its own settings: all
features, predictions, scores and errors together, one false alarm in 1,000,000 events; an alarm of a signal is not
repeated while it is open. river's detectors are on their defaults and see the reference first. Evidently's and
NannyML's reports on chunks of {CHUNK:,} rows are on their defaults; they can raise at the end of a chunk only.""",
    goal=f"""\
nothing of the errors before {COLLAPSE:,}, then within 300 rows; RELP is named within 300 rows of {SHIFT:,} and
within 30 of {COLLAPSE:,}.""",
    columns=(
        Column("signal", "signal"),
        Column("detector", "detector"),
        Column("before", "alarms before the first change", ",.0f"),
        Column("shift", f"rows after {SHIFT:,}", ",.0f"),
        Column("collapse", f"rows after {COLLAPSE:,}", ",.0f"),
        Column("all", "all alarms", ",.0f"),
    ),
    grouped=1,
    measure=measure,
    lines=lines,
)
