"""One feature moves in one segment: whether the ranking names the pair."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.quality.segmented import CHANGE, SEED, SEGMENTS, Batch, Watched
from bench.quality.table import Column, Line, Row, Run, Table, find, shown
from detectors.base import Verdict
from detectors.columns import Stream
from detectors.e_detector import EDetector

FEATURES = 50
ROWS = 30_000
PAIRS = FEATURES * SEGMENTS


def measure(run: Run) -> Iterator[Row]:
    """A row for each size of the shift and way to rank."""
    runs = run.size.of(1, 24, 60)
    for shift in (2.0,) if runs == 1 else (0.5, 1.0, 2.0):
        title = f"mean + {f'{shift:g}'.removeprefix('0')} sd"
        ours, raw, alone, delays = [], [], 0, []
        for seed in range(runs):
            wanted = [f"channel=s{3 * seed % SEGMENTS}", f"feature:f{7 * seed % FEATURES}"]
            watched, found = _until_raised(seed, shift)
            alone += any(one.signal == wanted[1] for one in found)
            if found:
                delays.append(found[0].row + 1 - CHANGE)
                ours.append(_place(wanted, [one[:2] for one in found[0].evidence["segments"]]))
                raw.append(_place(wanted, _by_raw_effect(watched)))
        delay = float(np.mean(delays)) if delays else None
        yield _row(title, "driftd", ours, runs) | {"raised": len(delays) / runs, "delay": delay, "runs": runs}
        yield _row(title, "raw effect since the change", raw, runs)
        yield {"shift": title, "ranks": "the model's detectors only", "raised": alone / runs}
        yield {"shift": title, "ranks": "at random", "three": 3 / PAIRS, "first": 1 / PAIRS}


def _until_raised(seed: int, shift: float) -> tuple[Watched, list[Verdict]]:
    feature, segment = 7 * seed % FEATURES, 3 * seed % SEGMENTS
    watched = Watched(SEED + seed, FEATURES)

    def change(batch: Batch) -> None:
        batch.features[(batch.segments == segment) & (batch.rows >= CHANGE), feature] += shift

    found: list[Verdict] = []
    while watched.rows < CHANGE + ROWS and not found:
        found = [one for one in watched.take(change) if one.row >= CHANGE and "feature" in one.signal]
    return watched, found


def _place(wanted: list[str], pairs: list[list[str]]) -> int:
    """From 0 on; beyond any that counts where it is not among them."""
    return pairs.index(wanted) if wanted in pairs else PAIRS


def _row(shift: str, name: str, places: list[int], runs: int) -> Row:
    three, first = (sum(place < most for place in places) / runs for most in (3, 1))
    return {"shift": shift, "ranks": name, "three": three, "first": first}


def _by_raw_effect(watched: Watched) -> list[list[str]]:
    """The pairs by their stability index since the change, without taking off what chance does."""
    segments = watched.monitor.windows[Stream.FEATURES].segments
    assert segments is not None
    assert segments.within is not None
    assert segments.detector is not None
    effects = _effects(segments.detector, segments.within.reference.counts)
    return [list(segments.within.pair(int(one))) for one in np.argsort(-effects)[:3]]


def _effects(detector: EDetector, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    now, before = detector.counts_since(CHANGE).astype(np.float64) + 0.5, counts + 0.5
    q, p = now / now.sum(axis=1, keepdims=True), before / before.sum(axis=1, keepdims=True)
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=1))


def lines(rows: Sequence[Row]) -> list[Line]:
    """Of the shift of one deviation."""
    title = "mean + 1 sd"
    ours, raw = (find(rows, shift=title, ranks=name) for name in ("driftd", "raw effect since the change"))
    three, beside = (shown(one, "three", ".0%") for one in (ours, raw))
    what = "one of 50 features moves by 1 sd in one of 20 segments: the pair is in the top three of the ranking"
    return [Line(what, three, f"ranked by raw effect, told of the row of the change: {beside}" if raw else "")]


TABLE = Table(
    name="ranking",
    title="Which segment and feature: the ranking",
    meaning=f"""\
One of {FEATURES} features moves in one of {SEGMENTS} segments of the same size at row {CHANGE:,}; {ROWS:,} rows
more. The daemon's own monitor with its own settings, labels at once. Raised: something is said of a feature after
the change; in the top three, first: where the pair of segment and feature is in that alarm's ranking, of all runs.
Raw effect ranks the same pairs by their stability index since the change, which it is told, without taking off what
chance does. The model's detectors only: whether they raise that feature in the same run, which does without a
segment.""",
    goal="the pair is in the top three in 90 % of the runs.",
    seeds=f"{SEED} plus the number of the run, which nothing was set by",
    columns=(
        Column("shift", "in the segment"),
        Column("ranks", "ranks"),
        Column("raised", "raised", ".0%"),
        Column("three", "top three", ".1%"),
        Column("first", "first", ".1%"),
        Column("delay", "delay, rows", ",.0f"),
        Column("runs", "runs", ",.0f"),
    ),
    grouped=1,
    measure=measure,
    lines=lines,
)
