"""The scores of predictions, kept until their labels come: what probability each class was given."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

MOST_CLASSES: Final = 20
"""Classes of a model whose probabilities are kept, those that come first: 4 bytes each for every prediction."""

Values = NDArray[np.float32]
Packed = tuple[Sequence[str], bytes]


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of n predictions; NaN where there was none.

    ``values`` (n, 1 + classes) has in its first column scores that came as one number, in the others the probability
    of each of ``classes``. A prediction with probabilities of classes that are not kept has the one number instead, the
    probability of its likeliest class.
    """

    classes: tuple[str, ...]
    values: Values

    @classmethod
    def none(cls, rows: int) -> Self:
        """Of so many predictions without a score."""
        return cls((), np.full((rows, 1), np.nan, dtype=np.float32))

    @classmethod
    def restored(cls, packed: Packed) -> Self:
        """The reverse of ``packed``."""
        classes, values = packed
        return cls(tuple(classes), np.frombuffer(values, dtype=np.float32).reshape(-1, 1 + len(classes)))

    def __len__(self) -> int:
        return len(self.values)

    def at(self, places: Any) -> "Scores":
        """Only those at ``places``, an index of numpy's."""
        return Scores(self.classes, self.values[places])

    def of(self, classes: tuple[str, ...]) -> Values:
        """The values with columns for ``classes``, which hold at least this one's."""
        if classes == self.classes:
            return self.values
        values = np.full((len(self), 1 + len(classes)), np.nan, dtype=np.float32)
        values[:, [0, *(1 + classes.index(one) for one in self.classes)]] = self.values
        return values

    def packed(self) -> Packed:
        """Plain values for msgpack: the classes that a row has, by name, and the values."""
        present = np.any(np.isfinite(self.values), axis=0)
        places = {name: place for place, name in enumerate(self.classes, start=1) if present[place]}
        classes = sorted(places)
        return classes, self.values[:, [0, *(places[one] for one in classes)]].tobytes()


def after_each_other(parts: Sequence[Scores]) -> Scores:
    """All of them, in order."""
    if not parts:
        return Scores.none(0)
    classes = tuple(dict.fromkeys(one for part in parts for one in part.classes))
    return Scores(classes, np.concatenate([part.of(classes) for part in parts]))


class WaitingScores:
    """The scores of the predictions that a label may still come for, oldest first: 4 bytes for one number each.

    For probabilities by class it is 4 more for each of at most ``MOST_CLASSES``, for a model that sends none nothing.
    """

    def __init__(self) -> None:
        self.classes: tuple[str, ...] = ()
        self._without = 0  # predictions that came before any score did
        self._values: array[float] | None = None

    def take(self, plain: NDArray[np.float64], by_class: Sequence[Mapping[str, float | None] | None] | None) -> Scores:
        """Keep the scores of further predictions: one number each, and probabilities by class where they came so."""
        with np.errstate(over="ignore"):
            values = plain.astype(np.float32)[:, None]
        if by_class is not None:
            values = self._by_class(values, by_class)
        values[~np.isfinite(values)] = np.nan
        scores = Scores(self.classes if values.shape[1] > 1 else (), values)
        self.append(scores)
        return scores

    def append(self, scores: Scores) -> None:
        """Keep scores as they are."""
        if not set(scores.classes) <= set(self.classes):
            self._widen((*self.classes, *(one for one in scores.classes if one not in self.classes)))
        if self._values is None:
            if not np.isfinite(scores.values).any():
                self._without += len(scores)
                return
            self._values = _array(np.full(self._without * (1 + len(self.classes)), np.nan, dtype=np.float32))
        self._values.frombytes(scores.of(self.classes).tobytes())

    def at(self, places: Any) -> Scores:
        """Those at ``places``."""
        if self._values is None:
            return Scores.none(len(places))
        return Scores(self.classes, self._table(self._values)[places])

    def forget(self, count: int) -> None:
        """Let go of the oldest."""
        if self._values is None:
            self._without -= count
        else:
            del self._values[: count * (1 + len(self.classes))]

    def know(self, classes: Sequence[str]) -> None:
        """Go on with the classes that were kept, before anything is taken."""
        self.classes = tuple(classes)

    def _by_class(self, values: Values, by_class: Sequence[Mapping[str, float | None] | None]) -> Values:
        known = dict.fromkeys(self.classes)
        keep = [one is not None and self._fits(one, known) for one in by_class]
        self._widen(tuple(known))
        wide = np.full((len(values), 1 + len(known)), np.nan, dtype=np.float32)
        wide[:, 0] = np.where(keep, np.nan, values[:, 0])
        rows = [[one.get(name) for name in known] for one, kept in zip(by_class, keep, strict=True) if one and kept]
        if rows:
            with np.errstate(over="ignore"):
                wide[keep, 1:] = np.array(rows, dtype=np.float64)
        return wide

    @staticmethod
    def _fits(scores: Mapping[str, float | None], known: dict[str, None]) -> bool:
        """Whether the probabilities of a prediction can be kept by class; if so, its classes are known from now on."""
        if not scores:
            return False
        if not scores.keys() <= known.keys():
            new = [name for name in scores if name not in known]
            if len(known) + len(new) > MOST_CLASSES:
                return False
            known.update(dict.fromkeys(new))
        return True

    def _widen(self, classes: tuple[str, ...]) -> None:
        if self._values is not None and classes != self.classes:
            self._values = _array(Scores(self.classes, self._table(self._values)).of(classes))
        self.classes = classes

    def _table(self, values: "array[float]") -> Values:
        return np.frombuffer(values, dtype=np.float32).reshape(-1, 1 + len(self.classes))


def _array(values: Values) -> "array[float]":
    found = array("f")
    found.frombytes(values.tobytes())
    return found
