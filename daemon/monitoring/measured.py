"""A figure of performance."""

from dataclasses import dataclass
from typing import Any, Final, Self

NOT_ENOUGH: Final = "not enough data: "


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure over ``rows`` rows with its interval of 95 %.

    ``classes``: it is the mean over so many classes, each of the same weight; None where it is of one or of all rows.
    ``why_not``: why there is none; its value and interval are None then.
    """

    metric: str
    rows: int
    value: float | None
    low: float | None
    high: float | None
    classes: int | None = None
    why_not: str | None = None

    @classmethod
    def missing(cls, metric: str, rows: int, why: str) -> Self:
        """What cannot be said, because there is not enough data."""
        return cls(metric, rows, None, None, None, why_not=NOT_ENOUGH + why)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}
