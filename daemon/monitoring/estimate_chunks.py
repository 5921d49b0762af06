"""Stretches of rows of which the performance was estimated, until their labels have said what it was."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class EstimatedChunk:
    """The mean loss of ``rows`` rows, ``first_row`` to ``last_row``, as estimated: with an interval of 95 %.

    It rests on ``sampled`` of them. ``labelled`` of them have come to a loss of ``lost`` together.
    """

    number: int
    first_row: int
    last_row: int
    last_ts: float
    rows: int
    sampled: int
    mean: float
    low: float
    high: float
    labelled: int = 0
    lost: float = 0.0

    @property
    def real(self) -> float | None:
        """The mean loss of the rows that have their label."""
        return self.lost / self.labelled if self.labelled else None


def sum_on(total: float, more: NDArray[np.float64]) -> float:
    """The sum of both, one after the other: how it is rounded must not depend on how many come at once."""
    return float(np.cumsum(np.append(total, more))[-1])


class EstimatedChunks:
    """The last ``most`` chunks, with the loss that was expected of each row in their samples."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.chunks: list[EstimatedChunk] = []
        self._firsts: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.rows: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.expected_losses: NDArray[np.float32] = np.empty(0, dtype=np.float32)
        self._fresh: list[int] = []  # numbers of those that the store does not have

    def append(self, chunk: EstimatedChunk, rows: NDArray[np.int64], expected: NDArray[np.float32]) -> None:
        """One more, with the rows of its sample."""
        if len(self.chunks) == self.most:
            gone = self.chunks.pop(0).sampled
            self.rows, self.expected_losses = self.rows[gone:], self.expected_losses[gone:]
        self.chunks.append(chunk)
        self._firsts = np.array([one.first_row for one in self.chunks])
        self._fresh.append(chunk.number)
        self.rows = np.concatenate((self.rows, rows))
        self.expected_losses = np.concatenate((self.expected_losses, expected))

    def count(self, rows: NDArray[np.int64], losses: NDArray[np.float64]) -> None:
        """Take in the losses of rows, as their labels come."""
        if not self.chunks or not len(rows):
            return
        places = np.searchsorted(self._firsts, rows, side="right") - 1
        known = places >= 0
        for place in np.unique(places[known]).tolist():
            chunk = self.chunks[place]
            own = losses[known & (places == place) & (rows <= chunk.last_row)]
            chunk.labelled += len(own)
            chunk.lost = sum_on(chunk.lost, own)

    def expected(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The loss that was expected of each of these rows, NaN where it is in no sample."""
        if not len(self.rows):
            return np.full(len(rows), np.nan)
        places = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        return np.where(self.rows[places] == rows, self.expected_losses[places].astype(np.float64), np.nan)

    def forget_samples(self) -> None:
        """Expect nothing more of the rows so far: what it was said by is no longer believed."""
        self.rows, self.expected_losses = self.rows[:0], self.expected_losses[:0]
        for chunk in self.chunks:
            chunk.sampled = 0

    # --- what is stored

    def state(self) -> list[dict[str, Any]]:
        """As values that msgpack can hold, without the samples."""
        return [asdict(one) for one in self.chunks]

    def take_samples(self) -> dict[str, Any]:
        """The samples of chunks that are new since the last call, each in the place of one that is gone."""
        fresh, self._fresh = self._fresh, []
        ends = np.cumsum([one.sampled for one in self.chunks]).tolist()
        parts = {}
        for chunk, end in zip(self.chunks, ends, strict=True):
            if chunk.number in fresh:
                own = slice(end - chunk.sampled, end)
                parts[str(chunk.number % self.most)] = [self.rows[own].tobytes(), self.expected_losses[own].tobytes()]
        return parts

    @classmethod
    def restored(cls, most: int, state: list[dict[str, Any]], samples: dict[str, Any]) -> Self:
        """Go on from what was stored."""
        chunks = cls(most)
        for one in state:
            chunk = EstimatedChunk(**one)
            rows, expected = samples[str(chunk.number % most)] if chunk.sampled else (b"", b"")
            chunks.append(chunk, np.frombuffer(rows, np.int64), np.frombuffer(expected, np.float32))
        chunks._fresh = []
        return chunks
