"""The scoring rules of the Numenta Anomaly Benchmark, standard profile.

Lavin and Ahmad (2015), "Evaluating real-time anomaly detection algorithms: the Numenta Anomaly Benchmark". In a
labelled window the earliest detection counts, up to 1 for the first row of the window and 0 for the last; a window
without one counts -1. Every other detection counts -0.11, less where it is not far behind a window. The first 15 % of a
series (750 rows at most) are not scored. 0 is the score of a detector that never fires, 100 that of a perfect one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FOLDERS = ("artificialNoAnomaly", "artificialWithAnomaly", "realKnownCause", "realTraffic")
FALSE_POSITIVE = 0.11
MISSED = -1.0
PROBATION, MOST_PROBATION_ROWS = 0.15, 750
FAR_BEHIND = 3.0
"""In widths of the window: what is farther behind it counts as any other false positive."""


@dataclass(frozen=True)
class Series:
    """A series, and the first and last row of each of its windows, in order."""

    name: str
    ts: NDArray[np.float64]
    numbers: NDArray[np.float64]
    windows: tuple[tuple[int, int], ...]

    @property
    def probation(self) -> int:
        return min(int(PROBATION * len(self.numbers)), MOST_PROBATION_ROWS)

    @property
    def scored_windows(self) -> int:
        return sum(last >= self.probation for _, last in self.windows)


def load(folder: Path) -> list[Series]:
    """All series of ``FOLDERS``."""
    windows = json.loads((folder / "labels" / "combined_windows.json").read_text())
    found = []
    for path in sorted(path for one in FOLDERS for path in (folder / "data" / one).glob("*.csv")):
        frame = pd.read_csv(path, parse_dates=["timestamp"])
        name, ts = f"{path.parent.name}/{path.name}", frame.timestamp.to_numpy()
        rows = tuple(
            (int(np.flatnonzero(ts == np.datetime64(first))[0]), int(np.flatnonzero(ts == np.datetime64(last))[0]))
            for first, last in windows[name]
        )
        seconds = ts.astype("datetime64[s]").astype(np.float64)
        found.append(Series(name, seconds, frame.value.to_numpy(np.float64), rows))
    return found


def worth(rows: int, windows: tuple[tuple[int, int], ...]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What a detection at each row counts, and the window in which the row is, -1 for none."""
    place, counts, of = np.arange(rows), np.full(rows, -FALSE_POSITIVE), np.full(rows, -1)
    for w, (first, last) in enumerate(windows):
        inside = slice(first, last + 1)
        counts[inside] = _sigmoid((place[inside] - last - 1) / (last - first + 1)) / _sigmoid(-1.0)
        of[inside] = w
        behind = slice(last + 1, windows[w + 1][0] if w + 1 < len(windows) else rows)
        widths = (place[behind] - last) / max(last - first, 1)
        counts[behind] = FALSE_POSITIVE * np.where(widths > FAR_BEHIND, -1.0, _sigmoid(np.minimum(widths, FAR_BEHIND)))
    return counts, of


def best_threshold(series: list[Series], scores: Mapping[str, NDArray[np.float64]]) -> float:
    """The one threshold for all series at which their score is highest; infinite where it is best never to fire."""
    parts, first_window = [], 0
    for one in series:
        counts, of = worth(len(one.numbers), one.windows)
        kept = slice(one.probation, None)
        parts.append((scores[one.name][kept], counts[kept], np.where(of >= 0, of + first_window, -1)[kept]))
        first_window += len(one.windows)
    score, counts, of = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(-score, kind="stable")
    score, counts, of = score[order], counts[order], of[order]
    best = dict.fromkeys(of[of >= 0].tolist(), MISSED)
    gained = np.where(of < 0, counts, 0.0)
    for i in np.flatnonzero(of >= 0).tolist():
        gained[i] = max(0.0, counts[i] - best[of[i]])
        best[of[i]] += gained[i]
    ends = np.append(score[1:] != score[:-1], True)  # rows of the same score fire together
    totals = np.cumsum(gained)[ends]
    return float(score[ends][totals.argmax()]) if len(totals) and totals.max() > 0 else np.inf


def normalised(series: list[Series], scores: Mapping[str, NDArray[np.float64]], threshold: float) -> float:
    """From 0 for never firing to 100 for perfection; of series without windows what false positives cost, below 0."""
    total = 0.0
    for one in series:
        counts, of = worth(len(one.numbers), one.windows)
        fires = scores[one.name] >= threshold
        fires[: one.probation] = False
        total += counts[fires & (of < 0)].sum()
        for w, (_, last) in enumerate(one.windows):
            if last >= one.probation:
                total += max(counts[fires & (of == w)], default=MISSED)
    windows = sum(one.scored_windows for one in series)
    return float(100 * (total + windows) / (2 * windows)) if windows else float(total)


def _sigmoid(position: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray(2 / (1 + np.exp(5 * np.asarray(position))) - 1)
