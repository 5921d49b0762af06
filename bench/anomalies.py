"""Anomaly scores on labelled data, in one pass in stored order, beside what others give.

    python bench/anomalies.py [--data FOLDER]          under a minute
    python bench/anomalies.py [--data FOLDER] --long   with river's trees of height 15, five milliseconds a row

NAB (25 series, 39 labelled windows): the score by `bench/nab.py`, with one threshold for all series. "best" is the
threshold at which the 25 score highest, which NAB chooses with the labels; "own" is set without them, and for random
and windowed Gaussian is NAB's, of all its 58 series. By folder: at the best one; artificialNoAnomaly has no windows,
and what false positives cost there is printed.
kdd_smtp (95,156 rows, 30 of them anomalies): area under the ROC curve, and average precision.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from nab import FOLDERS, Series, best_threshold, load, normalised
from numpy.typing import NDArray
from scipy.special import erfc
from sklearn.metrics import average_precision_score, roc_auc_score

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from detectors.columns import Columns, Stream
from detectors.half_space_trees import HalfSpaceTrees
from detectors.reference import Reference
from detectors.series_scores import OWN_THRESHOLD, SeriesScores
from detectors.tail_scores import TailScores

Scores = NDArray[np.float64]
SEED = 7
BATCH = 5_000
REFERENCE_ROWS = 2_000
FIRST_ROWS = 100
"""The reference of a series."""
BUDGET = 1e6
RARE = float(-np.log(1e-3))
"""Own threshold of a score in nats: what is as rare as one row in a thousand."""
PRINTED_ONE = 1 - 5e-13
"""The threshold 1.0 of NAB for its baseline, whose scores it had printed with twelve digits."""


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=os.environ.get("DRIFTD_TEST_DATA"), help="[$DRIFTD_TEST_DATA]")
    parser.add_argument("--long", action="store_true")
    chosen = parser.parse_args()
    data = chosen.data
    if data is None:
        print("skipped: --data (or DRIFTD_TEST_DATA) is to name the folder that has nab and kdd_smtp in it")
        return
    series(load(data / "nab"))
    rows(pd.read_csv(data / "kdd_smtp" / "smtp.csv.gz"), long=chosen.long)
    wide()


def series(files: list[Series]) -> None:
    """The NAB table."""
    rng = np.random.default_rng(SEED)
    scorers: tuple[tuple[str, Callable[[Series], Scores], float], ...] = (
        ("series_scores", lambda one: by_detector(SeriesScores, one), OWN_THRESHOLD),
        ("tail_scores", lambda one: by_detector(TailScores, one), RARE),
        ("half_space_trees", lambda one: by_detector(HalfSpaceTrees, one), 1.0),
        ("windowed Gaussian", windowed_gaussian, PRINTED_ONE),
        ("random", lambda one: rng.random(len(one.numbers)), 0.9985),
        ("always", lambda one: np.ones(len(one.numbers)), 1.0),
        ("never", lambda one: np.zeros(len(one.numbers)), 1.0),
    )
    print(f"{'NAB, standard profile':<22}{'best':>8}{'own':>10}{'us/row':>8}  {'  '.join(FOLDERS)}")
    for name, score, own in scorers:
        began = time.process_time()
        scores = {one.name: score(one) for one in files}
        micros = (time.process_time() - began) / sum(len(one.numbers) for one in files) * 1e6
        threshold = best_threshold(files, scores)
        parts = [
            f"{normalised([one for one in files if one.name.startswith(folder)], scores, threshold):>{len(folder)}.1f}"
            for folder in FOLDERS
        ]
        best, at_own = (normalised(files, scores, one) for one in (threshold, own))
        print(f"{name:<22}{best:>8.1f}{at_own:>10.1f}{micros:>8.1f}  {'  '.join(parts)}", flush=True)


def by_detector(make: Callable[[Reference, float], Any], one: Series) -> Scores:
    """The scores of a detector that has the first hundred rows as its reference; NAB scores none of them."""
    columns = _columns({"feature:value": one.numbers}, one.ts)
    return _one_pass(make, columns, FIRST_ROWS)


def windowed_gaussian(one: Series) -> Scores:
    """NAB's own baseline: the tail of a normal law of the last 6,400 values, in steps of 100 from then on."""
    window, step = 6_400, 100
    values = one.numbers - one.numbers[0]
    sums, squares = (np.concatenate(([0.0], np.cumsum(part))) for part in (values, values**2))
    row = np.arange(1, len(values))
    last = np.where(row <= window, row, window + (row - window) // step * step)
    first = np.maximum(0, last - window)
    mean = (sums[last] - sums[first]) / (last - first)
    variance = np.maximum((squares[last] - squares[first]) / (last - first) - mean**2, 0.0)
    deviation = np.where(variance > 0, np.sqrt(variance), 1e-6)
    tail = erfc(np.abs(values[1:] - mean) / deviation / np.sqrt(2)) / 2
    return np.concatenate(([0.0], 1 - tail))


def rows(frame: pd.DataFrame, *, long: bool) -> None:
    """The kdd_smtp table."""
    truth = frame.pop("anomaly").to_numpy()
    columns = _columns({f"feature:{name}": frame[name].to_numpy(np.float64) for name in frame})
    rng = np.random.default_rng(SEED)
    limits = {name: (float(frame[name].min()), float(frame[name].max())) for name in frame.columns}
    large = {"n_trees": 25, "height": 15, "limits": limits, "seed": SEED}
    scorers: tuple[tuple[str, Callable[[], Scores]], ...] = (
        ("tail_scores", lambda: _one_pass(TailScores, columns, REFERENCE_ROWS)),
        ("half_space_trees", lambda: _one_pass(HalfSpaceTrees, columns, REFERENCE_ROWS)),
        ("river, defaults", lambda: _river(frame)),
        *([("river, true limits", lambda: _river(frame, **large))] if long else []),
        ("random", lambda: rng.random(len(frame))),
        ("constant", lambda: np.ones(len(frame))),
    )
    print(f"\n{'kdd_smtp':<22}{'AUC':>8}{'AP':>10}{'us/row':>8}")
    for name, score in scorers:
        began = time.process_time()
        scores = score()
        micros = (time.process_time() - began) / len(frame) * 1e6
        area, precision = roc_auc_score(truth, scores), average_precision_score(truth, scores)
        print(f"{name:<22}{area:>8.3f}{precision:>10.4f}{micros:>8.1f}", flush=True)


def wide(features: int = 20, count: int = 50_000) -> None:
    """What a row of many features costs."""
    rng = np.random.default_rng(SEED)
    columns = _columns({f"feature:{i}": rng.normal(size=count) for i in range(features)})
    print(f"\n{features} features, normal{'us/row':>8}")
    for name, make in (("tail_scores", TailScores), ("half_space_trees", HalfSpaceTrees)):
        began = time.process_time()
        _one_pass(make, columns, REFERENCE_ROWS)
        print(f"{name:<19}{(time.process_time() - began) / count * 1e6:>8.1f}", flush=True)


def _river(frame: pd.DataFrame, **parameters: Any) -> Scores:
    from river.anomaly import HalfSpaceTrees as RiverTrees

    trees = RiverTrees(**(parameters or {"seed": SEED}))
    scores = np.zeros(len(frame))
    for i, row in enumerate(frame.to_dict("records")):
        scores[i] = trees.score_one(row)
        trees.learn_one(row)
    return scores


def _one_pass(make: Callable[[Reference, float], Any], columns: Columns, reference_rows: int) -> Scores:
    """Learn from the first rows, which score 0, and go through the others in batches."""
    detector = make(Reference.learn(columns.slice(0, reference_rows)), BUDGET)
    batches = (columns.slice(start, start + BATCH) for start in range(reference_rows, len(columns), BATCH))
    return np.concatenate([np.zeros(reference_rows), *(detector.scores(batch) for batch in batches)])


def _columns(values: dict[str, Scores], ts: Scores | None = None) -> Columns:
    rows = np.arange(len(next(iter(values.values()))))
    return Columns(Stream.FEATURES, rows, rows.astype(np.float64) if ts is None else ts, values)


if __name__ == "__main__":
    main()
