"""A Summary is counts, and counts add up."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.columns import Stream


@dataclass(frozen=True, slots=True)
class Summary:
    """A stack of W consecutive windows of one stream.

    ``counts[w, s, b]`` is how many of the rows of window w had signal s in bin b; the bins are those of the stream's
    reference (B of them, padded to the widest signal). ``sizes[w]`` is the number of rows of window w,
    ``first_rows[w]`` and ``last_rows[w]`` its first and last row, ``last_ts[w]`` the time of the last.
    """

    stream: Stream
    signals: tuple[str, ...]
    counts: NDArray[np.int32]
    sizes: NDArray[np.int64]
    first_rows: NDArray[np.int64]
    last_rows: NDArray[np.int64]
    last_ts: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.sizes)

    def slice(self, start: int, stop: int) -> "Summary":
        """Windows ``start`` to ``stop``, as views."""
        part = slice(start, stop)
        return Summary(
            self.stream,
            self.signals,
            self.counts[part],
            self.sizes[part],
            self.first_rows[part],
            self.last_rows[part],
            self.last_ts[part],
        )

    def __add__(self, other: "Summary") -> "Summary":
        """The summary of both sets of rows, window by window: for parts of one window that were counted apart."""
        return Summary(
            self.stream,
            self.signals,
            self.counts + other.counts,
            self.sizes + other.sizes,
            np.minimum(self.first_rows, other.first_rows),
            np.maximum(self.last_rows, other.last_rows),
            np.maximum(self.last_ts, other.last_ts),
        )


SIGNALS_PER_WINDOW_ROW: Final = 4
MOST_WINDOW_ROWS: Final = 50


def window_rows(signals: int) -> int:
    """Rows of a window for a stream of ``signals`` signals: 1 for a few, more for many, at most 50.

    A change is seen at the end of a window, so that short ones see it sooner; a window costs as much as it has signals,
    so that the cost of a row stays the same.
    """
    return min(MOST_WINDOW_ROWS, max(1, -(-signals // SIGNALS_PER_WINDOW_ROW)))


def summarise(
    stream: Stream,
    signals: tuple[str, ...],
    codes: NDArray[np.int16],
    width: int,
    rows: NDArray[np.int64],
    ts: NDArray[np.float64],
    window_rows: int,
) -> Summary:
    """Count ``codes`` (n rows, S signals, a bin index each) in windows of ``window_rows`` rows.

    ``n`` must be a multiple of ``window_rows``; ``width`` is the number of bins B.
    """
    n, s = codes.shape
    windows = n // window_rows
    # one bincount over (window, signal, bin) flattened is the fastest way numpy has
    flat = codes.astype(np.int64)
    flat += np.arange(s, dtype=np.int64) * width
    flat += (np.arange(n, dtype=np.int64) // window_rows * (s * width))[:, None]
    counts = np.bincount(flat.ravel(), minlength=windows * s * width).astype(np.int32)
    last = slice(window_rows - 1, n, window_rows)
    return Summary(
        stream,
        signals,
        counts.reshape(windows, s, width),
        np.full(windows, window_rows, dtype=np.int64),
        rows[0:n:window_rows],
        rows[last],
        ts[last],
    )
