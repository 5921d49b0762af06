"""Classes as text, the same however they were written: 1, 1.0, true and "1" are one class."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_EXACT = 2.0**53
"""Beyond this a float no longer tells whole numbers apart."""


def class_text(value: object) -> str | None:
    """The class that ``value`` (a JSON scalar) names; None for what names none: null and NaN."""
    if value is None or isinstance(value, str):
        return value
    number = float(value)  # type: ignore[arg-type]
    if not np.isfinite(number):
        return None
    return str(int(number)) if number.is_integer() and abs(number) < MOST_EXACT else repr(number)


def class_texts(values: Iterable[object]) -> NDArray[Any]:
    """The same for many, as an object array."""
    return np.array([class_text(value) for value in values], dtype=object)


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Distinct classes, whole numbers by size and anything else by name."""
    distinct = set(names)
    return tuple(sorted(distinct, key=int if all_whole(distinct) else str))


def all_whole(names: Iterable[str]) -> bool:
    """Whether all of these classes are whole numbers, so that a model should predict numbers and not text."""
    return all(_is_whole(name) for name in names)


def _is_whole(name: str) -> bool:
    digits = name.removeprefix("-")
    return digits.isascii() and digits.isdigit() and name == str(int(name)) and abs(int(name)) < MOST_EXACT


def one_positive(classes: tuple[str, ...], predictions: NDArray[Any], scores: NDArray[np.float64]) -> str:
    """Of two classes the one whose probability ``scores`` is.

    It is the class that goes with the higher scores; where the rows do not tell, the greater one, as everywhere.
    """
    known = np.isfinite(scores)
    means = {name: scores[known & (predictions == name)] for name in classes}
    told = {name: float(values.mean()) for name, values in means.items() if len(values)}
    if len(told) > 1 and len(set(told.values())) > 1:
        return max(told, key=told.__getitem__)
    return classes[-1]
