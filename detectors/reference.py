"""The fixed law of one stream: how often each signal fell into each of its bins."""

from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.bins import FIRST_BIN, INVALID_BIN, MISSING, NEW, Bins, NumberBins, bins_from_dict, learn_bins
from detectors.columns import Columns, Stream
from detectors.correlation import correlation_time

__all__ = ["FIRST_BIN", "INVALID_BIN", "MISSING", "NEW", "Reference"]

VERSION: Final = 1
SAMPLE_ROWS: Final = 1_000
SAMPLE_VALUES: Final = 400_000
LARGEST_KEPT: Final = 3e38
MOST_BY_BIN: Final = 1_000
"""With more signals than this, bursts of single values are not looked for."""
"""A reference keeps up to so many of its rows, and at most so many values, for detectors that look at whole rows."""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What the rows of one stream looked like when all was well.

    ``counts[s, b]`` is how many of the ``rows`` rows had signal s in bin b, padded with zeros to ``width`` bins.
    ``temper[s]`` is what a row's evidence is worth beside that of an independent row, between 0 and 1, and
    ``bin_temper[s, b]`` the same for evidence that rests on one value only, which may come in bursts. ``sample`` holds
    some of the rows, evenly spread (k rows, S signals), in the form of ``points``; ``sample_rows`` are their numbers,
    by which samples of several streams are joined.
    """

    stream: Stream
    signals: tuple[str, ...]
    bins: tuple[Bins, ...]
    counts: NDArray[np.int64]
    rows: int
    temper: NDArray[np.float64]
    bin_temper: NDArray[np.float64]
    sample: NDArray[np.float32]
    sample_rows: NDArray[np.int64]

    @classmethod
    def learn(cls, columns: Columns, *, bins: int = 20, categories: int = 20) -> "Reference":
        """Learn from ``columns``, in their order. Raises ValueError where there is no row or no signal.

        A number gets about ``bins`` bins (one for each value where it has no more values than that), a category one for
        each of its ``categories`` most frequent values.
        """
        if not len(columns):
            raise ValueError(f"a reference needs at least one row, and there is none of stream {columns.stream}")
        if not columns.values:
            raise ValueError(f"a reference needs at least one signal, and stream {columns.stream} has none")
        signals = tuple(columns.values)
        learned = tuple(learn_bins(columns.values[name], bins=bins, categories=categories) for name in signals)
        width = max(one.width for one in learned)
        counts = np.zeros((len(signals), width), dtype=np.int64)
        temper, bin_temper = np.ones(len(signals)), np.ones((len(signals), width))
        kept = np.linspace(0, len(columns) - 1, min(len(columns), SAMPLE_ROWS, SAMPLE_VALUES // len(signals) + 1))
        picked = np.unique(kept.astype(np.int64))
        for s, (name, one) in enumerate(zip(signals, learned, strict=True)):
            codes = one.encode(columns.values[name])
            counts[s] = np.bincount(codes, minlength=width)
            bin_temper[s] = _bin_temper(codes, one, counts[s]) if len(signals) <= MOST_BY_BIN else 1.0
            temper[s] = _temper(codes, one, counts[s])
        values = {name: column[picked] for name, column in columns.values.items()}
        sample = _points(learned, signals, Columns(columns.stream, columns.rows[picked], columns.ts[picked], values))
        rows = columns.rows[picked].astype(np.int64)
        return cls(columns.stream, signals, learned, counts, len(columns), temper, bin_temper, sample, rows)

    @property
    def width(self) -> int:
        """Number of bins B of the widest signal."""
        return int(self.counts.shape[1])

    @property
    def kinds(self) -> tuple[str, ...]:
        """``number`` or ``category``, for each signal."""
        return tuple(one.kind for one in self.bins)

    def labels(self, signal: str) -> list[str]:
        """What a person reads for each bin of ``signal``."""
        return self.bins[self.signals.index(signal)].labels()

    def encode(self, columns: Columns) -> NDArray[np.int16]:
        """The bin of every value: n rows by S signals. A signal that ``columns`` lacks is missing in every row."""
        # one row of memory for each signal: each is written in one go, and what follows reads it in any order
        codes = np.zeros((len(self.signals), len(columns)), dtype=np.int16)
        for s, (name, one) in enumerate(zip(self.signals, self.bins, strict=True)):
            column = columns.values.get(name)
            if column is not None:
                codes[s] = one.encode(column)
        return codes.T

    def points(self, columns: Columns) -> NDArray[np.float32]:
        """All values as numbers, n rows by S signals: a number as it is, a category as the index of its bin.

        NaN stands for a missing number, an infinity for an invalid one. A signal that ``columns`` lacks is missing.
        """
        return _points(self.bins, self.signals, columns)

    def codes(self, points: NDArray[np.float32]) -> NDArray[np.int64]:
        """The bin of every value of what ``points`` gave: n rows by S signals."""
        codes = np.empty(points.shape, dtype=np.int64)
        for s, one in enumerate(self.bins):
            column = points[:, s].astype(np.float64)
            codes[:, s] = one.encode(column) if one.kind == "number" else column
        return codes

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for msgpack and JSON."""
        return {
            "version": VERSION,
            "stream": str(self.stream),
            "signals": list(self.signals),
            "bins": [one.to_dict() for one in self.bins],
            "counts": [row[: one.width].tolist() for row, one in zip(self.counts, self.bins, strict=True)],
            "rows": self.rows,
            "temper": self.temper.tolist(),
            "bin_temper": [row[: one.width].tolist() for row, one in zip(self.bin_temper, self.bins, strict=True)],
            "sample": b64encode(self.sample.astype("<f4").tobytes()).decode(),  # JSON has no bytes, and no NaN
            "sample_rows": self.sample_rows.tolist(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Reference":
        """The reverse of ``to_dict``. Raises ValueError where it was written by another version."""
        if data.get("version") != VERSION:
            raise ValueError(f"reference of version {data.get('version')}, this is version {VERSION}: learn it again")
        bins = tuple(bins_from_dict(one) for one in data["bins"])
        counts = np.zeros((len(bins), max(one.width for one in bins)), dtype=np.int64)
        bin_temper = np.ones(counts.shape)
        for s, (row, tempers) in enumerate(zip(data["counts"], data["bin_temper"], strict=True)):
            counts[s, : len(row)] = row
            bin_temper[s, : len(row)] = tempers
        sample = np.frombuffer(b64decode(data["sample"], validate=True), dtype="<f4").reshape(-1, len(bins))
        return cls(
            Stream(data["stream"]),
            tuple(data["signals"]),
            bins,
            counts,
            int(data["rows"]),
            np.array(data["temper"], dtype=np.float64),
            bin_temper,
            sample.astype(np.float32),
            # of references that were stored without, no row is known
            np.array(data.get("sample_rows", [-1] * len(sample)), dtype=np.int64),
        )


def _points(bins: tuple[Bins, ...], signals: tuple[str, ...], columns: Columns) -> NDArray[np.float32]:
    found = np.full((len(columns), len(signals)), np.nan, dtype=np.float32)
    for s, (name, one) in enumerate(zip(signals, bins, strict=True)):
        if name not in columns.values:
            found[:, s] = MISSING if one.kind == "category" else np.nan
            continue
        points = one.points(columns.values[name])
        found[:, s] = np.where(np.isfinite(points), np.clip(points, -LARGEST_KEPT, LARGEST_KEPT), points)
    return found


def _temper(codes: NDArray[np.int16], bins: Bins, counts: NDArray[np.int64]) -> float:
    """What a row of one signal is worth: of a number by its rank, of a category by its most frequent values.

    A number may resemble its neighbours in its size, or only in how far it is from the middle: calm and restless times.
    """
    if bins.kind == "number":
        rank = (np.cumsum(counts) - counts / 2) / counts.sum()
        scores = [rank[codes], np.abs(rank - 0.5)[codes], (codes < FIRST_BIN).astype(np.float64)]
    else:
        scores = [(codes == b).astype(np.float64) for b in np.argsort(-counts)[:3]]
    return 1 / max(correlation_time(score) for score in scores)


def _bin_temper(codes: NDArray[np.int16], bins: Bins, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """What a row in each bin is worth, for bins that are a single value, and for those of what is broken."""
    temper = np.ones(len(counts))
    single = bins.kind == "category" or (isinstance(bins, NumberBins) and bins.exact)
    for b in np.flatnonzero(counts if single else counts[:FIRST_BIN]):
        temper[b] = 1 / correlation_time((codes == b).astype(np.float64))
    return temper
