"""Segments: does the ranking name the pair that moved, how soon, how many false alarms, and what it costs.

    python bench/segments.py           about eight minutes on one core

Rows go through the monitor that the daemon runs: 20 segments of the same size, labels at once, seeds fixed. Every
stream begins with rows from which the reference is learned. "Raw effect" ranks the same pairs by their stability index
since the change, which it is told, without taking off what chance does. "The model's detectors only" is the same run
without segments.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from daemon.events.rows import Labels, Predictions, Rows
from daemon.monitoring.monitors import make_monitor
from daemon.settings import ModelSettings
from detectors.base import Verdict
from detectors.columns import Stream

SEED = 88_017
"""Not one that anything was set by."""
SEGMENTS = 20
BATCH = 2_500
CHANGE = 10_000


@dataclass(frozen=True)
class Batch:
    """Rows ``first`` and on, as they are drawn: a change is made in place."""

    first: int
    segments: NDArray[np.int64]
    features: NDArray[np.float64]
    wrong: NDArray[np.bool_]
    rng: np.random.Generator

    @property
    def rows(self) -> NDArray[np.int64]:
        return self.first + np.arange(len(self.segments))


Change = Callable[[Batch], None]


def unchanged(_: Batch) -> None:
    """Nothing happens."""


class Watched:
    """A model that is watched: a batch a call."""

    def __init__(self, seed: int, features: int, **settings: Any) -> None:
        self.monitor = make_monitor("bench", ModelSettings(**settings))
        self._rng = np.random.default_rng(seed)
        self._features = features
        self.rows = 0
        self.seconds = 0.0

    def take(self, change: Change = unchanged) -> list[Verdict]:
        rng, ids = self._rng, [str(row) for row in range(self.rows, self.rows + BATCH)]
        drawn = Batch(
            self.rows,
            rng.integers(0, SEGMENTS, BATCH),
            rng.normal(size=(BATCH, self._features)),
            rng.random(BATCH) < 0.1,
            rng,
        )
        change(drawn)
        predictions = rng.integers(0, 2, BATCH)
        order, ts = 2 * np.arange(BATCH), drawn.rows.astype(np.float64)
        columns = {f"f{place}": drawn.features[:, place] for place in range(self._features)}
        segments = [{"channel": f"s{one}"} for one in drawn.segments.tolist()]
        nothing = [None] * BATCH
        made = Predictions(
            order, ids, ts, nothing, segments, predictions.tolist(), np.full(BATCH, np.nan), None, columns, None
        )
        labels = Labels(order + 1, ids, ts, (predictions ^ drawn.wrong).tolist())
        began = time.process_time()
        self.monitor.take(Rows(made, labels, None, float(ts[-1])), 0.0)
        found = self.monitor.take_findings().verdicts
        self.seconds += time.process_time() - began
        self.rows += BATCH
        return [one for one in found if not one.recovered]


def ranking(runs: int = 12, features: int = 50) -> None:
    """One of 50 features moves in one of 20 segments."""
    print(f"one of {features} features moves in one of {SEGMENTS} segments at row {CHANGE:,}: {runs} runs each")
    heads = ("shift", "raised", "in top 3", "first", "delay, rows", "raw: in top 3", "by the model")
    print("  " + "".join(f"{head:>15}" for head in heads))
    for shift in (0.5, 1.0, 2.0):
        raised, three, first, raw, delays, model = 0, 0, 0, 0, [], 0
        for run in range(runs):
            feature, segment = (7 * run) % features, (3 * run) % SEGMENTS
            wanted = [f"channel=s{segment}", f"feature:f{feature}"]
            watched = Watched(SEED + run, features)
            since = np.zeros(0)

            def change(batch: Batch, feature: int = feature, segment: int = segment, shift: float = shift) -> None:
                batch.features[(batch.segments == segment) & (batch.rows >= CHANGE), feature] += shift

            found: list[Verdict] = []
            while watched.rows < CHANGE + 30_000 and not found:
                found = [one for one in watched.take(change) if one.row >= CHANGE and "feature" in one.signal]
            if found:
                raised += 1
                delays.append(found[0].row + 1 - CHANGE)
                pairs = [one[:2] for one in found[0].evidence["segments"]]
                three += wanted in pairs[:3]
                first += wanted in pairs[:1]
                since = _raw_effects(watched, CHANGE)
                raw += wanted in _pairs_of(watched, since)[:3]
            model += any(one.signal == wanted[1] for one in found)
        mean = f"{np.mean(delays):,.0f}" if delays else "-"
        shares = [f"{100 * one / runs:.0f} %" for one in (raised, three, first, raw, model)]
        cells = [f"{shift} sd", *shares[:3], mean, *shares[3:]]
        print("  " + "".join(f"{cell:>15}" for cell in cells), flush=True)


def _raw_effects(watched: Watched, row: int) -> NDArray[np.float64]:
    segments = watched.monitor.windows[Stream.FEATURES].segments
    assert segments is not None
    assert segments.within is not None
    assert segments.detector is not None
    now = segments.detector.counts_since(row).astype(np.float64) + 0.5
    before = segments.within.reference.counts + 0.5
    q, p = now / now.sum(axis=1, keepdims=True), before / before.sum(axis=1, keepdims=True)
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=1))


def _pairs_of(watched: Watched, effects: NDArray[np.float64]) -> list[list[str]]:
    segments = watched.monitor.windows[Stream.FEATURES].segments
    assert segments is not None
    assert segments.within is not None
    return [list(segments.within.pair(int(s))) for s in np.argsort(-effects)[:3]]


def false_alarms(runs: int = 6, rows: int = 150_000) -> None:
    """Nothing changes."""
    budget, features = 20_000, 10
    print(f"nothing changes: {runs} runs of {rows:,} rows, {features} features, budget {budget:,}")
    for name, chosen in (("with segments", ("carried",)), ("the model's detectors only", ())):
        counts = []
        within = 0
        for run in range(runs):
            watched = Watched(SEED + 1_000 + run, features, events_per_false_alarm=budget, segments=chosen)
            found = [one for _ in range(rows // BATCH) for one in watched.take()]
            counts.append(len(found))
            within += sum(one.detector == "segments" for one in found)
        print(
            f"  {name:<27} {sum(counts)} alarms, {within} of them within a segment; "
            f"the budget allows {runs * rows / budget:.0f}, of which segments {runs * rows / budget / 4:.0f}",
            flush=True,
        )


def delay(runs: int = 20) -> None:
    """The error rate of one segment doubles."""
    print(f"the error rate of one of {SEGMENTS} segments goes from .1 to .2, the model's from .1 to .105: {runs} runs")
    for name, chosen in (("with segments", ("carried",)), ("the model's detectors only", ())):
        delays, early, missed = [], 0, 0
        for run in range(runs):
            watched = Watched(SEED + 2_000 + run, 2, segments=chosen)

            def change(batch: Batch) -> None:
                hit = (batch.segments == 3) & (batch.rows >= CHANGE)
                batch.wrong[hit] = batch.rng.random(int(hit.sum())) < 0.2

            found: list[Verdict] = []
            while watched.rows < CHANGE + 60_000 and not found:
                found = [one for one in watched.take(change) if one.signal.startswith("error")]
            if not found:
                missed += 1
            elif found[0].row < CHANGE:
                early += 1
            else:
                delays.append(found[0].row + 1 - CHANGE)
        mean = (
            f"{np.mean(delays):,.0f} rows, of which {np.mean(delays) / SEGMENTS:,.0f} of the segment" if delays else "-"
        )
        print(f"  {name:<27} mean delay {mean}; missed {missed}, early {early}", flush=True)


def cost(features: int = 20, batches: int = 40) -> None:
    """Processor time of the monitor, decoding and storing apart."""
    print(f"processor time of the monitor, {features} features, a prediction and its label, after learning")
    for name, chosen in (("no segments", ()), (f"{SEGMENTS} segments", ("carried",))):
        watched = Watched(SEED, features, segments=chosen)
        for _ in range(6):
            watched.take()
        learning, watched.seconds = watched.seconds, 0.0
        for _ in range(batches):
            watched.take()
        each = watched.seconds / batches / BATCH * 1e6
        print(
            f"  {name:<27} {each:.2f} us a prediction with its label; {learning:.2f} s for the first {6 * BATCH:,} rows"
        )


def main() -> None:
    """Print all of it."""
    cost()
    delay()
    false_alarms()
    ranking()


if __name__ == "__main__":
    main()
