"""Numbers as a person reads them."""

from math import isfinite
from typing import Final, TypeGuard

_LARGE: Final = 1000
_MIDDLE: Final = 10
_SMALL: Final = 0.1


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value out of JSON is a number that can be shown."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def count(value: object) -> str:
    """A number of things: ``20,031``."""
    return f"{value:,.0f}" if is_number(value) else str(value)


def figure(value: float) -> str:
    """A measured value with as many digits as say something: ``0.21``, ``0.0046``, ``12.3``, ``20,031``."""
    size = abs(value)
    if size >= _LARGE:
        return f"{value:,.0f}"
    if size >= _MIDDLE:
        return f"{value:.1f}".removesuffix(".0")
    if size >= _SMALL:
        return f"{value:.2f}"
    return f"{value:.2g}"


def percent(share: float) -> str:
    """A share of 1: ``31 %``."""
    value = 100 * share
    return f"{value:,.0f} %" if abs(value) >= _MIDDLE else f"{value:.2g} %"
