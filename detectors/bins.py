"""How the values of one signal fall into bins.

Every signal has three special bins first, then its own: ``MISSING`` (absent or null), ``INVALID_BIN`` (of the wrong
type, or not a number) and ``NEW`` (a number out of the reference's range, a category that the reference never had).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.columns import INVALID, number_as_text
from detectors.grid import Grid

MISSING: Final = 0
INVALID_BIN: Final = 1
NEW: Final = 2
FIRST_BIN: Final = 3
SPECIAL_LABELS: Final = ("missing", "invalid", "new")

OTHER_LABEL: Final = "(other)"
RANGE_MARGIN: Final = 0.25
"""A number counts as new when it lies further outside the reference's range than this share of that range."""
KNOWN_RARE: Final = 1_000
"""How many rare categories are remembered by name, so that they are told apart from new ones."""
UNSEEN_MASS: Final = 0.01
"""Above this estimated chance of a category never seen (Good and Turing), an unseen one is nothing new."""
TAIL_SCORE: Final = 2.33
"""The outermost bins of a number hold what lies beyond this normal score: one row in a hundred each."""


@dataclass(frozen=True, slots=True)
class NumberBins:
    """Bins of a number: ``edges`` (k + 1 of them for k bins), each bin closed below and open above.

    ``values`` holds the mean of the reference's numbers in each bin; ``exact`` says that each bin is a single value.
    """

    edges: NDArray[np.float64]
    values: NDArray[np.float64]
    exact: bool

    kind: str = "number"
    _grid: Grid = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_grid", Grid(self.edges))

    @property
    def width(self) -> int:
        """Number of bins, the special ones among them."""
        return FIRST_BIN + len(self.values)

    def encode(self, column: NDArray[Any]) -> NDArray[np.int16]:
        """The bin of each value. Text that reads as a number is one, other text is invalid."""
        column = as_numbers(column)
        # position 0 is below every edge, position k + 1 above: both are new until looked at
        codes = self._grid(column)
        outside = (codes == 0) | (codes == len(self.edges)) if len(self.edges) else np.ones(len(column), dtype=bool)
        codes += FIRST_BIN - 1
        if outside.any():
            where = np.flatnonzero(outside)
            odd = column[where]
            codes[where] = np.where(np.isnan(odd), MISSING, np.where(np.isinf(odd), INVALID_BIN, NEW))
        return codes

    def points(self, column: NDArray[Any]) -> NDArray[np.float64]:
        """The numbers themselves."""
        return as_numbers(column)

    def labels(self) -> list[str]:
        """What a person reads for each bin."""
        if self.exact:
            own = [_short(value) for value in self.values]
        else:
            own = [
                f"{_short(low)} to {_short(high)}" for low, high in zip(self.edges[:-1], self.edges[1:], strict=True)
            ]
        return [*SPECIAL_LABELS, *own]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for msgpack."""
        return {
            "kind": self.kind,
            "edges": self.edges.tolist(),
            "values": self.values.tolist(),
            "exact": self.exact,
        }


class _Codes(dict[str | None, int]):
    """Text to bin; what is not in it is ``unseen``."""

    def __init__(self, known: Iterable[tuple[str | None, int]], unseen: int) -> None:
        super().__init__(known)
        self.unseen = unseen

    def __missing__(self, key: str | None) -> int:
        return self.unseen


@dataclass(frozen=True, slots=True)
class CategoryBins:
    """Bins of a category: one for each frequent value, one for the others if there were any.

    ``rare`` are values that the reference had and that share the bin of the others; ``open`` says that values never
    seen before are nothing unusual (ids, free text) and go there too.
    """

    frequent: tuple[str, ...]
    rare: tuple[str, ...]
    open: bool

    kind: str = "category"
    _codes: _Codes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        other = FIRST_BIN + len(self.frequent)
        codes = _Codes(((value, FIRST_BIN + i) for i, value in enumerate(self.frequent)), other if self.open else NEW)
        codes.update((value, other) for value in self.rare)
        codes[None] = MISSING
        codes[INVALID] = INVALID_BIN
        object.__setattr__(self, "_codes", codes)

    @property
    def width(self) -> int:
        """Number of bins, the special ones among them."""
        return FIRST_BIN + len(self.frequent) + bool(self.rare or self.open)

    def encode(self, column: NDArray[Any]) -> NDArray[np.int16]:
        """The bin of each value. A number is taken as its text."""
        values = column.tolist()
        if column.dtype != object:
            values = [number_as_text(value) for value in values]
        if len(values) > 1:
            return np.array(itemgetter(*values)(self._codes), dtype=np.int16)
        return np.array([self._codes[value] for value in values], dtype=np.int16)

    def points(self, column: NDArray[Any]) -> NDArray[np.float64]:
        """The index of each value's bin, as a number."""
        return self.encode(column).astype(np.float64)

    def labels(self) -> list[str]:
        """What a person reads for each bin."""
        return [*SPECIAL_LABELS, *self.frequent, *([OTHER_LABEL] if self.rare or self.open else [])]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for msgpack."""
        return {"kind": self.kind, "frequent": list(self.frequent), "rare": list(self.rare), "open": self.open}


Bins = NumberBins | CategoryBins


def bins_from_dict(data: dict[str, Any]) -> Bins:
    """The reverse of ``to_dict``."""
    if data["kind"] == "number":
        return NumberBins(np.array(data["edges"], dtype=np.float64), np.array(data["values"]), bool(data["exact"]))
    return CategoryBins(tuple(data["frequent"]), tuple(data["rare"]), bool(data["open"]))


def learn_bins(column: NDArray[Any], *, bins: int, categories: int) -> Bins:
    """Bins for the values of ``column``: of a number for an array of floats, of a category for one of objects."""
    if column.dtype == object:
        return _learn_categories(column, categories)
    return _learn_numbers(column[np.isfinite(column)].astype(np.float64), bins)


def _learn_numbers(numbers: NDArray[np.float64], bins: int) -> NumberBins:
    if not len(numbers):
        return NumberBins(np.empty(0), np.empty(0), exact=True)
    distinct, counts = np.unique(numbers, return_counts=True)
    if np.isin(distinct, (0.0, 1.0)).all():
        # a flag, or whether a prediction was wrong: the value that has not been seen yet is no stranger
        return NumberBins(np.array([-0.25, 0.5, 1.25]), np.array([0.0, 1.0]), exact=True)
    starts = np.arange(len(distinct)) if len(distinct) <= bins else _cuts(counts, bins)
    totals = np.add.reduceat(counts, starts)
    sizes = np.diff(np.append(starts, len(counts)))
    # each as a share of its bin before they are added, because the sum of large numbers may be none
    values = np.add.reduceat(distinct * (counts / np.repeat(totals, sizes)), starts)
    inner = distinct[starts[1:] - 1] + (distinct[starts[1:]] - distinct[starts[1:] - 1]) / 2
    # halfway between neighbours that are next to each other in floating point is the lower one
    inner = np.where(inner > distinct[starts[1:] - 1], inner, distinct[starts[1:]])
    low, high = float(distinct[0]), float(distinct[-1])
    with np.errstate(over="ignore"):
        margin = RANGE_MARGIN * (high - low) or 1e-6 * abs(low) or 1e-6
    limit = np.finfo(np.float64).max
    edges = np.concatenate(([max(low - margin, -limit)], inner, [min(high + margin, limit)]))
    return NumberBins(edges, values, exact=len(distinct) <= bins)


def _cuts(counts: NDArray[np.int64], bins: int) -> NDArray[np.int64]:
    """First index of each bin over sorted distinct values: cuts evenly apart in normal score, heavy values alone.

    Evenly apart in normal score rather than in probability, because what tells a shift or a change of scale from
    chance lies in the tails, and the index of a bin of one row in twenty forgets it.
    """
    total = int(counts.sum())
    normal = NormalDist()
    shares = [normal.cdf(score) for score in np.linspace(-TAIL_SCORE, TAIL_SCORE, bins - 1)]
    cumulative = np.cumsum(counts)
    middle = cumulative - counts / 2
    starts = np.searchsorted(middle, np.array(shares) * total)
    heavy = np.flatnonzero(counts >= total / bins)
    return np.unique(np.clip(np.concatenate(([0], starts, heavy, heavy + 1)), 0, len(counts) - 1))


def _learn_categories(column: NDArray[Any], categories: int) -> CategoryBins:
    counts: dict[str, int] = {}
    for value in column.tolist():
        if value is not None and value != INVALID:
            counts[value] = counts.get(value, 0) + 1
    ordered = sorted(counts, key=lambda value: (-counts[value], value))
    total = sum(counts.values())
    unseen = sum(count == 1 for count in counts.values()) / max(total, 1)
    rare = ordered[categories:]
    return CategoryBins(
        tuple(ordered[:categories]),
        tuple(rare[:KNOWN_RARE]),
        open=len(rare) > KNOWN_RARE or (unseen > UNSEEN_MASS and len(ordered) > categories),
    )


def as_numbers(column: NDArray[Any]) -> NDArray[np.float64]:
    """The numbers of a column. Text that reads as a number is one; missing is NaN, any other text is infinite."""
    if column.dtype != object:
        return column
    return np.array([_text_as_number(value) for value in column.tolist()], dtype=np.float64)


def _text_as_number(value: str | None) -> float:
    if value is None:
        return np.nan
    try:
        number = float(value)
    except ValueError:
        return np.inf
    return number if np.isfinite(number) else np.inf


def _short(value: float) -> str:
    return f"{value:.6g}"
