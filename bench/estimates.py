"""Performance without labels on real rows: how far the estimates are from what the labels say.

    python bench/estimates.py [--data FOLDER]

The rows are NannyML's `employment_MA` (Apache-2.0, from the American Community Survey): 2015 as the reference, then
three years in chunks of 5,000. Beside ours: confidence-based estimation (how often a prediction with such a score was
wrong in the reference, in 50 bins), and the reference's own accuracy.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from detectors.columns import Columns, Stream
from detectors.estimate_check import EstimateCheck
from detectors.loss_estimate import LossEstimate

CHUNK = 5_000
BINS = 50
NO_FEATURES = ("id", "year", "prediction", "predicted_probability", "employed")
FLIPPED = 0.15
"""Share of labels that are flipped, for how soon labels show that estimates are wrong."""


def main() -> None:
    """Print the mean absolute error of the accuracy, how many intervals hold, and the rows until wrong is said."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=os.environ.get("DRIFTD_TEST_DATA"), help="[$DRIFTD_TEST_DATA]")
    data = parser.parse_args().data
    if data is None:
        print("skipped: --data (or DRIFTD_TEST_DATA) is to name the folder that has employment_ma in it")
        return
    folder = data / "employment_ma"
    reference = pd.read_csv(folder / "reference.csv.gz")
    live = pd.read_csv(folder / "analysis.csv.gz").merge(pd.read_csv(folder / "analysis_target.csv.gz"), on="id")
    losses, real = (_losses(frame) for frame in (reference, live))
    began = time.perf_counter()
    estimate = LossEstimate.learn(_columns(reference), losses, chunk_rows=CHUNK)
    learned = time.perf_counter() - began
    began = time.perf_counter()
    expected = estimate.expected(_columns(live))
    micros = (time.perf_counter() - began) / len(live) * 1e6
    chunks = [slice(start, start + CHUNK) for start in range(0, len(live) - CHUNK + 1, CHUNK)]
    print(f"{len(live):,} rows, {len(chunks)} chunks; learned in {learned:.1f} s, {micros:.1f} us a row")
    by_score = _by_score(reference.predicted_probability, losses, live.predicted_probability)
    for name, rows in (
        ("driftd", expected.mean),
        ("confidence-based, 50 bins", by_score),
        ("the reference's accuracy", np.full(len(live), losses.mean())),
    ):
        missed = [abs(rows[one].mean() - real[one].mean()) for one in chunks]
        print(f"  {name:<26} mean absolute error of accuracy {np.mean(missed):.5f}")
    held = []
    for one in chunks:
        found = estimate.over(type(expected)(expected.mean[one], expected.variance[one]))
        held.append(found.low <= real[one].mean() <= found.high)
    print(f"  intervals of 95 % that held: {np.mean(held):.1%}")
    print(f"  called wrong in {len(live):,} rows: {len(EstimateCheck(binary=True).update(expected.mean, real))} times")
    rng = np.random.default_rng(1)
    late = []
    for one in chunks:
        flipped = np.where(rng.random(CHUNK) < FLIPPED, 1 - real[one], real[one])
        late += EstimateCheck(binary=True).update(expected.mean[one], flipped)[:1] or [CHUNK]
    print(f"  {FLIPPED:.0%} of labels flipped: called wrong after {np.mean(late):.0f} labels (longest {max(late):,})")


def _losses(frame: pd.DataFrame) -> NDArray[np.float64]:
    return (frame.prediction != frame.employed).to_numpy(dtype=np.float64)


def _columns(frame: pd.DataFrame) -> Columns:
    values = {f"feature:{name}": frame[name].to_numpy(np.float64) for name in frame if name not in NO_FEATURES}
    values["prediction"] = frame.prediction.astype(str).to_numpy(object)
    values["score"] = frame.predicted_probability.to_numpy(np.float64)
    rows = np.arange(len(frame))
    return Columns(Stream.FEATURES, rows, rows.astype(np.float64), values)


def _by_score(scores: "pd.Series[float]", losses: NDArray[np.float64], live: "pd.Series[float]") -> NDArray[np.float64]:
    edges = np.quantile(scores, np.linspace(0, 1, BINS + 1)[1:-1])
    known = np.searchsorted(edges, scores)
    rates = np.bincount(known, losses, BINS) / np.bincount(known, minlength=BINS)
    return np.asarray(rates[np.searchsorted(edges, live)])


if __name__ == "__main__":
    main()
