"""The command: measure tables, keep what came out, write the docs of it."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.quality import pages
from bench.quality.machine import machine, versions
from bench.quality.results import KEPT, Result, Results
from bench.quality.table import NOT_RUN, NotRun, Row, Run, Size, Table
from bench.quality.tables import TABLES

ABOUT = """\
Measures the tables of docs/quality.md and prints them as they grow. What was measured is kept in bench/results, a file
a table, as soon as the table is done: a run that was broken off goes on with --missing. --write makes docs/quality.md
and the short table of the README of what is kept; alone, it measures nothing.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; 1 where something could not be measured."""
    given = _options().parse_args(arguments)
    by_name = {table.name: table for table in TABLES}
    unknown = [name for name in given.only or () if name not in by_name]
    if unknown:
        print(f"no table is called {', '.join(unknown)}; there are {', '.join(by_name)}", file=sys.stderr)
        return os.EX_USAGE
    results = Results(given.results)
    if given.list:
        for table in TABLES:
            print(f"{table.name:<22}{table.title}: {_state(results.of(table.name))}")
        return 0
    chosen = [by_name[name] for name in given.only] if given.only else list(TABLES)
    if given.missing:
        chosen = [table for table in chosen if not _is_done(results.of(table.name), given.size)]
    only_write = given.write and given.size is Size.SHORT and not (given.only or given.missing)
    complete = True
    for place, table in enumerate([] if only_write else chosen, 1):
        print(f"[{place}/{len(chosen)}] {table.name}", file=sys.stderr, flush=True)
        complete &= _measure(table, Run(given.size, given.data), results)
    if given.write:
        for path in pages.write(TABLES, results):
            print(f"wrote {path.relative_to(pages.ROOT)}", file=sys.stderr)
    return 0 if complete else 1


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("bench/quality", description=ABOUT)
    parser.add_argument("--list", action="store_true", help="name the tables, and what is known of each")
    parser.add_argument("--only", nargs="+", metavar="TABLE", help="measure these")
    parser.add_argument("--missing", action="store_true", help="measure those without a result in this form")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--long", dest="size", action="store_const", const=Size.LONG, default=Size.SHORT)
    form.add_argument("--tiny", dest="size", action="store_const", const=Size.TINY, help="to see that it runs")
    parser.add_argument("--write", action="store_true", help="write the docs of what is kept")
    parser.add_argument("--results", type=Path, default=KEPT, help="folder that keeps the results")
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("DRIFTD_TEST_DATA"), help="folder of data sets [$DRIFTD_TEST_DATA]"
    )
    return parser


def _measure(table: Table, run: Run, results: Results) -> bool:
    """Print the table as it grows and keep it; whether all of it could be measured."""
    print(f"\n{table.title}\n{pages.heading(table)}", flush=True)
    rows: list[Row] = []
    began = time.perf_counter()
    try:
        for row in table.measure(run):
            rows.append(row)
            print(pages.line(table, row), flush=True)
    except NotRun as reason:
        print(f"  {NOT_RUN}: {reason}", flush=True)
        return False
    seconds = time.perf_counter() - began
    print(f"  {seconds:.0f} s", flush=True)
    results.keep(
        Result(
            table.name,
            run.size.value,
            " ".join(["python bench/quality", *_long(run.size), "--only", table.name]),
            datetime.now(UTC).date().isoformat(),
            seconds,
            machine(),
            versions() | run.versions,
            rows,
        )
    )
    return not any(NOT_RUN in row for row in rows)


def _long(size: Size) -> list[str]:
    return [] if size is Size.SHORT else [f"--{size.value}"]


def _is_done(result: Result | None, size: Size) -> bool:
    return result is not None and result.size == size.value and not any(NOT_RUN in row for row in result.rows)


def _state(result: Result | None) -> str:
    return pages.NOT_MEASURED if result is None else f"{result.size} form, {result.date}, {result.seconds:.0f} s"
