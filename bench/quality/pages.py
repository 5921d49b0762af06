"""Tables as text for a terminal, and as the pages of the docs: docs/quality.md and the short table in the README."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import fill

from bench.quality.results import Result, Results
from bench.quality.table import NOT_RUN, Column, Row, Table

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "quality.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- begin quality -->", "<!-- end quality -->"
MADE = "<!-- made by `python bench/quality --write` of bench/results: measure again instead of editing -->"
NOT_MEASURED = "not measured yet"
WIDTH = 9
PAGE_WIDTH = 120

INTRODUCTION = """\
Every table is measured by `python bench/quality`, and is written here as it came out: driftd as it is set up by default
unless said otherwise, and beside it what others do with the same rows in the same run. All seeds are fixed. What a
detector does that always fires, or never, is told wherever that could look good. Goals were set before anything was
measured; one that was missed stays as it is.

`python bench/quality --list` names the tables, `--only NAME` measures one, `--long` takes more of everything. Data sets
are looked for in the folder that `--data` or `DRIFTD_TEST_DATA` names; Evidently and NannyML run in the environment
that `make peers` makes, alibi-detect in that of `make alibi`. What was not there is said where its figures would be."""


def heading(table: Table) -> str:
    """The line above the rows on a terminal."""
    return _aligned(table.columns, [one.head for one in table.columns])


def line(table: Table, row: Row) -> str:
    """A row on a terminal."""
    return _aligned(table.columns, _cells(table, row))


def _aligned(columns: Sequence[Column], cells: Sequence[str]) -> str:
    padded = [
        cell.rjust(max(WIDTH, len(one.head))) if one.form else cell.ljust(max(20, len(one.head)))
        for one, cell in zip(columns, cells, strict=True)
    ]
    return "  " + "  ".join(padded).rstrip()


def _cells(table: Table, row: Row) -> list[str]:
    reason = row.get(NOT_RUN)
    if reason is None:
        return [one.text(row) for one in table.columns]
    cells = [one.text(row) if one.name in row else "" for one in table.columns]
    free = next((place for place, one in enumerate(table.columns) if one.name not in row), len(cells) - 1)
    cells[free] = f"{NOT_RUN}: {reason}"
    return cells


def page(tables: Iterable[Table], results: Results) -> str:
    """docs/quality.md."""
    head = f"{MADE}\n\n# How good it is\n\n{_wrapped(INTRODUCTION)}\n"
    return "\n".join([head, *(_section(table, results.of(table.name)) for table in tables)])


def _section(table: Table, result: Result | None) -> str:
    goal = f"\n\nGoal: {table.goal}" if table.goal else ""
    head = f"## {table.title}\n\n{_wrapped(table.meaning + goal)}\n"
    if result is None:
        return f"{head}\n{NOT_MEASURED.capitalize()}: `python bench/quality --only {table.name}`\n"
    return f"{head}\n{_markdown(table, result.rows)}\n{_footnote(table, result)}\n"


def _wrapped(text: str) -> str:
    """Paragraphs of the page's width, whatever figures were put into them."""
    return "\n\n".join(fill(part, PAGE_WIDTH, break_on_hyphens=False) for part in text.split("\n\n"))


def _markdown(table: Table, rows: Sequence[Row]) -> str:
    lines = [[one.head for one in table.columns], [_rule(one) for one in table.columns]]
    above: list[str] | None = None
    for row in rows:
        cells = _cells(table, row)
        same = table.grouped if above is not None and cells[: table.grouped] == above else 0
        above = cells[: table.grouped]
        lines.append(["" if place < same else cell for place, cell in enumerate(cells)])
    return _rows(lines)


def _rule(column: Column) -> str:
    return "---:" if column.form else "---"


def _rows(lines: Iterable[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _footnote(table: Table, result: Result) -> str:
    versions = ", ".join(f"{name} {release}" for name, release in result.versions.items())
    seconds = f"{result.seconds:,.0f} s" if result.seconds >= 1 else "under a second"
    return _wrapped(
        f"`{result.command}`, {result.date}, {result.size} form, {seconds} on {result.machine}; {versions}. "
        f"Seeds: {table.seeds}."
    )


def readme(text: str, tables: Iterable[Table], results: Results) -> str:
    """The README with its short table. Raises ValueError where it has no place for one."""
    before, begun, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not begun or not ended:
        raise ValueError(f"{README.name} has no {BEGIN} and {END} for the table to stand between")
    lines = [["what", "driftd", "beside"], ["---"] * 3]
    for table in tables:
        result = results.of(table.name)
        if result is not None:
            lines += [[one.what, one.driftd, one.beside] for one in table.lines(result.rows)]
    return f"{before}{BEGIN}\n{MADE}\n\n{_rows(lines)}\n{END}{after}"


def write(tables: Sequence[Table], results: Results) -> list[Path]:
    """Write both pages; answers those that have changed."""
    made = {PAGE: page(tables, results), README: readme(README.read_text(encoding="utf-8"), tables, results)}
    changed = [path for path, text in made.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in changed:
        path.write_text(made[path], encoding="utf-8")
    return changed
