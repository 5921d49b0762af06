"""docs/quality.md and the README's short table are what the kept results say."""

import re
from pathlib import Path

import pytest

from bench.quality import pages
from bench.quality.results import Result, Results
from bench.quality.table import NOT_RUN, Column, Line, Row, Table
from bench.quality.tables import TABLES

WRITE = "run `python bench/quality --write`"
KEPT = Results()


def test_the_page_is_what_the_results_say() -> None:
    assert pages.PAGE.read_text(encoding="utf-8") == pages.page(TABLES, KEPT), WRITE


def test_the_short_table_is_what_the_results_say() -> None:
    written = pages.README.read_text(encoding="utf-8")
    assert written == pages.readme(written, TABLES, KEPT), WRITE


def test_no_result_is_kept_of_a_table_that_is_gone() -> None:
    assert {path.stem for path in KEPT.folder.glob("*")} <= {table.name for table in TABLES}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_what_is_kept_was_measured_in_earnest_and_has_the_columns_of_its_table(table: Table) -> None:
    result = KEPT.of(table.name)
    if result is None:
        assert pages.NOT_MEASURED.capitalize() in pages.page([table], KEPT)
        return
    assert result.size in {"short", "long"}
    assert set().union(*result.rows) <= {NOT_RUN, *(column.name for column in table.columns)}


def test_every_link_into_the_page_leads_to_a_table() -> None:
    anchors = {re.sub(r"[^\w\- ]", "", table.title.lower()).replace(" ", "-") for table in TABLES}
    links = [
        found
        for page in pages.PAGE.parent.glob("*.md")
        for found in re.findall(r"\(quality\.md#([\w-]+)\)", page.read_text(encoding="utf-8"))
    ]
    assert links
    assert set(links) <= anchors


# a table of its own, small enough to see what becomes of it


def lines(rows: object) -> list[Line]:
    return [Line("heat", "3 %", "others 4 %")]


SMALL = Table(
    name="small",
    title="Heat",
    meaning="How hot it is.",
    goal="cold.",
    columns=(Column("place", "place"), Column("by", "measured by"), Column("heat", "heat", ".1%")),
    grouped=1,
    measure=lambda _: iter(()),
    lines=lines,
)


def kept(folder: Path, *rows: Row) -> Results:
    results = Results(folder)
    results.keep(Result("small", "short", "command", "2026-01-02", 3.2, "a machine", {"Python": "3.11"}, list(rows)))
    return results


def test_a_result_is_read_back_as_it_was_kept(tmp_path: Path) -> None:
    results = kept(tmp_path, {"place": "attic", "heat": 0.125, "by": None})

    found = results.of("small")
    assert found is not None
    assert found.rows == [{"place": "attic", "heat": 0.125, "by": None}]
    assert [path.name for path in tmp_path.iterdir()] == ["small.json"]


def test_a_table_says_how_it_came_about(tmp_path: Path) -> None:
    text = pages.page([SMALL], kept(tmp_path, {"place": "attic", "by": "hand", "heat": 0.125}))

    assert "## Heat\n\nHow hot it is.\n\nGoal: cold.\n" in text
    assert "| place | measured by | heat |\n| --- | --- | ---: |\n| attic | hand | 12.5 % |\n" in text
    assert "`command`, 2026-01-02, short form, 3 s on a machine; Python 3.11." in text


def test_what_is_the_same_as_above_is_written_once(tmp_path: Path) -> None:
    rows: list[Row] = [{"place": place, "by": by} for place, by in (("attic", "a"), ("attic", "b"), ("cellar", "b"))]
    text = pages.page([SMALL], kept(tmp_path, *rows))

    assert "| attic | a | - |\n|  | b | - |\n| cellar | b | - |\n" in text


def test_what_was_not_run_says_what_to_type_where_its_figures_would_be(tmp_path: Path) -> None:
    text = pages.page([SMALL], kept(tmp_path, {"place": "attic", NOT_RUN: "make thermometer"}))

    assert "| attic | not run: make thermometer |  |\n" in text


def test_what_was_not_measured_yet_says_what_measures_it(tmp_path: Path) -> None:
    assert "Not measured yet: `python bench/quality --only small`" in pages.page([SMALL], Results(tmp_path))
    readme = pages.readme(f"{pages.BEGIN}{pages.END}", [SMALL], Results(tmp_path))
    assert "Heat" not in readme


def test_only_what_stands_between_the_marks_is_written(tmp_path: Path) -> None:
    text = pages.readme(f"before\n{pages.BEGIN}\nold\n{pages.END}\nafter", [SMALL], kept(tmp_path))

    assert text.startswith(f"before\n{pages.BEGIN}\n")
    assert text.endswith(f"{pages.END}\nafter")
    assert "| heat | 3 % | others 4 % |" in text
    assert "old" not in text


def test_a_readme_without_a_place_for_the_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="begin quality"):
        pages.readme("nothing", [SMALL], Results(tmp_path))
