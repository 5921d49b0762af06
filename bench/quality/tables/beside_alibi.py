"""alibi-detect's detectors beside the e-detector, on the same rows: delay, false alarms and cost."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.quality.streams import Values, errors, joined, normal
from bench.quality.table import NOT_RUN, Column, Line, Row, Run, Size, Table, find, shown
from daemon.alibi.bridge import Bridge
from daemon.alibi.environment import MADE, PREFIX, WITH_TENSORFLOW, Environment
from detectors.columns import Columns, Stream
from detectors.reference import Reference
from detectors.registry import Options, build
from detectors.summary import summarise

SEED = 9_101
REFERENCE_ROWS, WINDOW, BATCH = 2_000, 10, 100
BUDGET = 100_000
CLEAN, CHANGED = 2_000, 1_000
SLOW_CLEAN, SLOW_CHANGED = 500, 300
"""Rows of those with TensorFlow, which take milliseconds a row."""
MEMORY_MB = 3_072
Make = Callable[[np.random.Generator, int, int], Values]
"""A stream of so many rows before the change and so many after it."""


def shift(rng: np.random.Generator, before: int, after: int) -> Values:
    """Ten normal features, of which the first moves by one deviation."""
    values = normal(features=10)(rng, before + after)
    values["feature:0"][before:] += 1.0
    return values


def together(rng: np.random.Generator, before: int, after: int) -> Values:
    """Two of ten features begin to go together."""
    values = normal(features=10)(rng, before + after)
    first, second = values["feature:0"], values["feature:1"]
    second[before:] = 0.9 * first[before:] + np.sqrt(1 - 0.81) * second[before:]
    return values


def pair(rng: np.random.Generator, before: int, after: int) -> Values:
    """These two alone."""
    values = together(rng, before, after)
    return {name: values[name] for name in ("feature:0", "feature:1")}


def doubled(rng: np.random.Generator, before: int, after: int) -> Values:
    """An error rate of .1 that doubles."""
    return joined(errors(0.1)(rng, before), errors(0.2)(rng, after))


OWN = ("e_detector", "joint_drift", "half_space_trees")
"""driftd's own detectors."""
EACH = ("e_detector", "joint_drift", "alibi_cvm", "alibi_mmd", "alibi_lsdd")
JOINT = (*OWN, "alibi_isolation_forest", "alibi_mahalanobis", "alibi_mmd", "alibi_lsdd")
STREAMS: dict[str, tuple[Stream, Make, tuple[str, ...]]] = {
    "error .1 to .2": (Stream.OUTCOME, doubled, ("e_detector", "alibi_fet")),
    "mean of one of ten + 1 sd": (
        Stream.FEATURES,
        shift,
        ("e_detector", "joint_drift", "alibi_cvm", "alibi_mmd", "alibi_lsdd"),
    ),
    "correlation of two of ten 0 to .9": (Stream.FEATURES, together, JOINT),
    "the same, two alone": (Stream.FEATURES, pair, JOINT),
}


@dataclass(frozen=True)
class Found:
    """Rows from the change on at which something was raised; microseconds a row; seconds until it could begin."""

    raised: list[int]
    micros: float
    ready: float


def measure(run: Run) -> Iterator[Row]:
    """A row for each stream and detector."""
    tiny = run.size is Size.TINY
    for title, (stream, make, names) in list(STREAMS.items())[: run.size.of(1, None, None)]:
        for name in names[: run.size.of(1, None, None)]:
            slow = name in WITH_TENSORFLOW
            if name.startswith(PREFIX) and not MADE.is_file():
                yield {"change": title, "detector": _full(name), NOT_RUN: "make alibi"}
                continue
            if slow and run.size is Size.SHORT:
                yield {"change": title, "detector": _full(name), NOT_RUN: "in the long form only"}
                continue
            environment = Environment(MADE, MEMORY_MB, slow)
            bridge = Bridge(environment, answer_seconds=120.0, calibration_seconds=3_600.0, patient=True)
            try:
                runs = 1 if slow or tiny else 3
                found = [_once(name, stream, make, seed, bridge) for seed in range(runs)]
            finally:
                bridge.close()
            yield _row(title, _full(name), found)


def _full(name: str) -> str:
    return f"driftd: {name}" if name in OWN else name


def _once(name: str, stream: Stream, make: Make, seed: int, bridge: Bridge) -> Found:
    clean, changed = (SLOW_CLEAN, SLOW_CHANGED) if name in WITH_TENSORFLOW else (CLEAN, CHANGED)
    rng = np.random.default_rng((SEED, seed))
    n = REFERENCE_ROWS + clean + changed
    rows = np.arange(n)
    columns = Columns(stream, rows, rows.astype(np.float64), make(rng, REFERENCE_ROWS + clean, changed))
    reference = Reference.learn(columns.slice(0, REFERENCE_ROWS))
    detector = build(name, reference, Options(BUDGET, alibi=bridge))
    assert detector is not None
    raised: list[int] = []
    before, spent, ready = time.monotonic(), 0.0, 0.0
    window = 1 if stream is Stream.OUTCOME else WINDOW
    for start in range(REFERENCE_ROWS, n, BATCH):
        part = columns.slice(start, start + BATCH)
        codes = reference.encode(part)
        counted = summarise(stream, reference.signals, codes, reference.width, part.rows, part.ts, window)
        began = _processor_seconds(bridge)
        verdicts = detector.update(counted, part)
        if start == REFERENCE_ROWS:
            ready = time.monotonic() - before
        else:
            spent += _processor_seconds(bridge) - began
        raised += [verdict.row - REFERENCE_ROWS - clean for verdict in verdicts if not verdict.recovered]
    return Found(raised, 1e6 * spent / (n - REFERENCE_ROWS - BATCH), ready)


def _processor_seconds(bridge: Bridge) -> float:
    """Of this process and of alibi-detect's."""
    own = time.process_time()
    if bridge.pid is None:
        return own
    spent = Path(f"/proc/{bridge.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return own + sum(map(int, spent)) / os.sysconf("SC_CLK_TCK")


def _row(title: str, name: str, found: list[Found]) -> Row:
    first = [min((row for row in one.raised if row >= 0), default=None) for one in found]
    delays = [row + 1 for row in first if row is not None]
    return {
        "change": title,
        "detector": name,
        "raised": len(delays) / len(found),
        "delay": float(np.mean(delays)) if delays else None,
        "false": sum(row < 0 for one in found for row in one.raised),
        "micros": float(np.median([one.micros for one in found])),
        "ready": float(np.median([one.ready for one in found])),
        "runs": len(found),
    }


def lines(rows: Sequence[Row]) -> list[Line]:
    """Delay and cost of a doubled error rate."""

    def told(row: Row) -> str:
        return f"{shown(row, 'delay', ',.0f')} rows, {shown(row, 'micros', ',.0f')} µs a row" if row else "-"

    ours, theirs = (find(rows, change="error .1 to .2", detector=name) for name in ("driftd: e_detector", "alibi_fet"))
    beside = f"alibi-detect's Fisher's exact test {told(theirs)}" if theirs else ""
    return [Line("error rate .1 to .2, rows until raised and processor time", told(ours), beside)]


TABLE = Table(
    name="beside_alibi",
    title="Beside alibi-detect's detectors",
    meaning=f"""\
driftd runs alibi-detect's detectors by name, in a process of their own (docs/alibi.md). {REFERENCE_ROWS:,} rows of
reference, {CLEAN:,} unchanged, {CHANGED:,} after the change ({SLOW_CLEAN} and {SLOW_CHANGED} for MMD and LSDD, which
take milliseconds a row and are in the long form only), a budget of {BUDGET:,} rows per false alarm. Delay: rows from
the change to the first alarm after it, the mean over the runs that raise it. Cost: processor time a row, of this
process and alibi-detect's, without calibration, which takes the seconds in the last column but one. A few runs say
little of seldom things: false alarms have not been counted over more rows than these.""",
    seeds=f"{SEED} with the number of the run",
    columns=(
        Column("change", "change"),
        Column("detector", "detector"),
        Column("raised", "raised", ".0%"),
        Column("delay", "delay, rows", ",.0f"),
        Column("false", "false alarms", ",.0f"),
        Column("micros", "µs a row", ",.0f"),
        Column("ready", "s until ready", ",.1f"),
        Column("runs", "runs", ",.0f"),
    ),
    grouped=1,
    measure=measure,
    lines=lines,
)
