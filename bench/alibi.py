"""alibi-detect's detectors beside the e-detector, on the same rows in the same run: cost, delay and false alarms.

    python bench/alibi.py         needs `make alibi`; some ten minutes, most of them MMD and LSDD

Every stream begins with 2,000 rows from which the reference is learned; then ``CLEAN`` rows unchanged, in which what is
raised is false, then the change. Ten features that are normal, of which the first moves by one standard deviation; an
error rate that rises from .1 to .2; or two features that begin to go together, with eight more and alone.
Seeds are fixed, and nothing was set by them. Delay: rows from the change to the first alarm after it, the mean over
the runs that raise it. Cost: processor time a row, of this process and of alibi-detect's, without calibration.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from daemon.alibi.bridge import Bridge
from daemon.alibi.environment import MADE, Environment
from detectors.columns import Columns, Stream
from detectors.reference import Reference
from detectors.registry import Options, build
from detectors.summary import summarise

REFERENCE_ROWS, WINDOW = 2_000, 10
BUDGET = 100_000
SEED = 9_101
CLEAN = {"alibi_mmd": 500, "alibi_lsdd": 500}
CLEAN_ROWS, CHANGED_ROWS = 2_000, 1_000
RUNS = {"alibi_mmd": 1, "alibi_lsdd": 1}
MOST_RUNS = 3
FEWER = {"alibi_mmd": 300, "alibi_lsdd": 300}

Values = dict[str, NDArray[np.float64]]
Make = Callable[[np.random.Generator, int, bool], Values]


def shift(rng: np.random.Generator, n: int, changed: bool) -> Values:
    return {f"feature:{i}": rng.normal(1.0 if changed and not i else 0.0, 1, n) for i in range(10)}


def together(rng: np.random.Generator, n: int, changed: bool) -> Values:
    values = shift(rng, n, changed=False)
    if changed:
        values["feature:1"] = 0.9 * values["feature:0"] + np.sqrt(1 - 0.81) * values["feature:1"]
    return values


def pair(rng: np.random.Generator, n: int, changed: bool) -> Values:
    values = together(rng, n, changed)
    return {name: values[name] for name in ("feature:0", "feature:1")}


def errors(rng: np.random.Generator, n: int, changed: bool) -> Values:
    return {"error": (rng.random(n) < (0.2 if changed else 0.1)).astype(np.float64)}


JOINT = ("e_detector", "half_space_trees", "alibi_isolation_forest", "alibi_mahalanobis", "alibi_mmd", "alibi_lsdd")
STREAMS: tuple[tuple[str, Stream, Make, tuple[str, ...]], ...] = (
    ("error .1 to .2", Stream.OUTCOME, errors, ("e_detector", "alibi_fet")),
    ("mean + 1 sd", Stream.FEATURES, shift, ("e_detector", "alibi_cvm", "alibi_mmd", "alibi_lsdd")),
    ("correlation 0 to .9", Stream.FEATURES, together, JOINT),
    ("the same, two alone", Stream.FEATURES, pair, JOINT),
)


def run(name: str, stream: Stream, make: Make, seed: int, bridge: Bridge) -> tuple[list[int], float, float]:
    """Rows at which something is raised, from the change on; microseconds a row; seconds until it could begin."""
    clean = CLEAN.get(name, CLEAN_ROWS)
    rng = np.random.default_rng((SEED, seed))
    sizes = ((REFERENCE_ROWS + clean, False), (FEWER.get(name, CHANGED_ROWS), True))
    parts = [make(rng, rows, changed) for rows, changed in sizes]
    values = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    n = len(next(iter(values.values())))
    columns = Columns(stream, np.arange(n), np.arange(n) * 1.0, values)
    reference = Reference.learn(columns.slice(0, REFERENCE_ROWS))
    detector = build(name, reference, Options(BUDGET, alibi=bridge))
    assert detector is not None
    raised: list[int] = []
    before, spent, ready = time.monotonic(), 0.0, 0.0
    window = 1 if stream is Stream.OUTCOME else WINDOW
    for start in range(REFERENCE_ROWS, n, 100):
        part = columns.slice(start, start + 100)
        codes = reference.encode(part)
        counted = summarise(stream, reference.signals, codes, reference.width, part.rows, part.ts, window)
        began = processor_seconds(bridge)
        verdicts = detector.update(counted, part)
        if start == REFERENCE_ROWS:
            ready = time.monotonic() - before
        else:
            spent += processor_seconds(bridge) - began
        raised += [verdict.row - REFERENCE_ROWS - clean for verdict in verdicts if not verdict.recovered]
    return raised, 1e6 * spent / (n - REFERENCE_ROWS - 100), ready


def processor_seconds(bridge: Bridge) -> float:
    own = time.process_time()
    if bridge.pid is None:
        return own
    spent = Path(f"/proc/{bridge.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return own + sum(map(int, spent)) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    if not MADE.is_file():
        print(f"no alibi-detect at {MADE}: make alibi")
        return
    line = "{:<20} {:<24} {:>4} {:>6} {:>6} {:>5} {:>7} {:>7}"
    print(line.format("stream", "detector", "runs", "raised", "delay", "false", "us/row", "ready s"))
    for label, stream, make, names in STREAMS:
        for name in names:
            with_tensorflow = name in {"alibi_mmd", "alibi_lsdd"}
            environment = Environment(MADE, 3_072, with_tensorflow)
            bridge = Bridge(environment, answer_seconds=120.0, calibration_seconds=3_600.0, patient=True)
            found = [run(name, stream, make, seed, bridge) for seed in range(RUNS.get(name, MOST_RUNS))]
            bridge.close()
            first = [min((row for row in rows if row >= 0), default=None) for rows, _, _ in found]
            delays = [row for row in first if row is not None]
            false = sum(row < 0 for rows, _, _ in found for row in rows)
            delay = f"{np.mean(delays):.0f}" if delays else "-"
            cost, ready = np.median([one[1] for one in found]), np.median([one[2] for one in found])
            told = len(found), len(delays), delay, false, f"{cost:.0f}", f"{ready:.1f}"
            print(line.format(label, name, *told), flush=True)


if __name__ == "__main__":
    main()
