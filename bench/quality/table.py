"""What a table of the bench is: what it says of itself, its columns, and how its rows are measured."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

Amount = TypeVar("Amount")
Value = str | float | int | None
Row = dict[str, Value]
"""A value for each column, by its name. A row with ``NOT_RUN`` says instead why there is none."""
NOT_RUN = "not run"


class NotRun(Exception):
    """What a measurement needs is not there. The text says what, and what to type."""


class Size(StrEnum):
    """How much is measured: ``tiny`` only shows that a table can be measured, its figures mean nothing."""

    TINY = "tiny"
    SHORT = "short"
    LONG = "long"

    def of(self, tiny: Amount, short: Amount, long: Amount) -> Amount:
        """The one of three amounts that is meant."""
        return {Size.TINY: tiny, Size.SHORT: short, Size.LONG: long}[self]


@dataclass(frozen=True, slots=True)
class Run:
    """What a table is measured with: how much of it, and the folder of the data sets.

    ``versions`` takes the release of each peer that was run.
    """

    size: Size
    data: Path | None = None
    versions: dict[str, str] = field(default_factory=dict)

    def folder(self, name: str) -> Path:
        """The folder of a data set. Raises NotRun."""
        if self.data is None:
            raise NotRun(f"needs the data set {name}: --data FOLDER, or DRIFTD_TEST_DATA")
        if not (self.data / name).is_dir():
            raise NotRun(f"no data set {name} in {self.data}")
        return self.data / name


@dataclass(frozen=True, slots=True)
class Column:
    """A column: the name of its values in a row, what stands above it, and how numbers are written.

    ``form`` is a format such as ``,.0f`` or ``.1%``.
    """

    name: str
    head: str
    form: str = ""

    def text(self, row: Row) -> str:
        """What a row has here; ``-`` where there is nothing."""
        value = row.get(self.name)
        if value is None:
            return "-"
        return value if isinstance(value, str) else format(value, self.form).replace("%", " %")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the short table in the README: what was measured, driftd's figure, and those beside it."""

    what: str
    driftd: str
    beside: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    ``meaning`` says in Markdown what is measured and how to read it, ``goal`` what was set out to be reached, ``seeds``
    what random numbers come of. ``measure`` yields rows as they are known. The first ``grouped`` columns are written
    only where they change. ``lines`` makes the README's lines of the rows.
    """

    name: str
    title: str
    meaning: str
    columns: tuple[Column, ...]
    measure: Callable[[Run], Iterator[Row]]
    goal: str = ""
    seeds: str = "none: nothing is drawn"
    grouped: int = 0
    lines: Callable[[Sequence[Row]], list[Line]] = lambda _: []


def find(rows: Sequence[Row], /, **wanted: Value) -> Row:
    """The first row with these values; an empty one where there is none, or where it was not run."""
    for row in rows:
        if NOT_RUN not in row and all(row.get(name) == value for name, value in wanted.items()):
            return row
    return {}


def shown(row: Row, name: str, form: str) -> str:
    """A number of a row as it is written in the README; ``-`` where there is none."""
    return Column(name, "", form).text(row)
