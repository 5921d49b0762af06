"""One model's rows of one stream, a column per signal."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

INVALID: Final = "\0invalid"
"""Stands in a text column for a value of the wrong type; in a column of numbers it is an infinity."""


class Stream(StrEnum):
    """The three sequences of rows that a model's events make."""

    FEATURES = "features"
    PREDICTION = "prediction"
    OUTCOME = "outcome"


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows of one stream, in the order in which they came.

    ``rows`` are prediction row numbers, ``ts`` epoch seconds, both of length n. ``values`` maps a signal to n values:
    float64 (NaN is missing, an infinity is invalid) or an object array of ``str``, ``None`` and ``INVALID``.
    ``segments`` says which segments each row is of, n numbers that only their maker can read, or None.
    """

    stream: Stream
    rows: NDArray[np.int64]
    ts: NDArray[np.float64]
    values: dict[str, NDArray[Any]]
    segments: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def slice(self, start: int, stop: int) -> "Columns":
        """Rows ``start`` to ``stop``, as views."""
        return self._part(slice(start, stop))

    def at(self, places: NDArray[np.int64]) -> "Columns":
        """The rows at ``places``."""
        return self._part(places)

    def _part(self, part: Any) -> "Columns":
        values = {name: column[part] for name, column in self.values.items()}
        segments = None if self.segments is None else self.segments[part]
        return Columns(self.stream, self.rows[part], self.ts[part], values, segments)


def concatenate(parts: list[Columns]) -> Columns:
    """The rows of ``parts`` one after the other; a signal that a part lacks is missing there.

    A column that is numbers in one part and text in another becomes text.
    """
    if len(parts) == 1:
        return parts[0]
    signals = dict.fromkeys(name for part in parts for name in part.values)
    values: dict[str, NDArray[Any]] = {}
    for name in signals:
        present = [part.values[name] for part in parts if name in part.values]
        as_text = any(column.dtype == object for column in present)
        values[name] = np.concatenate([_column(part, name, as_text=as_text) for part in parts])
    return Columns(
        parts[0].stream,
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.ts for part in parts]),
        values,
        _segments(parts),
    )


def _segments(parts: list[Columns]) -> NDArray[np.int64] | None:
    if all(part.segments is None for part in parts):
        return None
    none = [np.zeros(len(part), dtype=np.int64) if part.segments is None else part.segments for part in parts]
    return np.concatenate(none)


def _column(part: Columns, name: str, *, as_text: bool) -> NDArray[Any]:
    column = part.values.get(name)
    if column is None:
        return np.full(len(part), None, dtype=object) if as_text else np.full(len(part), np.nan)
    if as_text and column.dtype != object:
        return np.array([number_as_text(value) for value in column.tolist()], dtype=object)
    return column


def number_as_text(value: float) -> str | None:
    """A number as the category it would be: 3.0 is ``3``, NaN is missing."""
    if value != value:  # noqa: PLR0124 (only NaN differs from itself)
        return None
    if value in (np.inf, -np.inf):
        return INVALID
    return str(int(value)) if value == int(value) else repr(value)
