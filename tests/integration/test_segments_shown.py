"""Segments as they are shown: by HTTP as the description says, and in words on the model's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from http_daemon import running
from page_server import serving
from seeded_segments import watch, watching
from sqlalchemy import insert
from test_page_text import fetch

from daemon.checkpoint import SEGMENTS
from daemon.stores import tables
from daemon.web.segments import shown

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from daemon.stores.engine import Store


def moved(rows: NDArray[np.int64], segments: NDArray[np.object_], columns: dict[str, NDArray[np.generic]]) -> None:
    columns["age"][(segments == "c1") & (rows >= 3_000)] += 15
    segments[7] = "few"


def measured() -> dict[str, Any]:
    monitor = watching()
    watch(monitor, 31, 8_000, change=moved)
    report = monitor.segment_report()
    assert report is not None
    return report


async def seed(store: Store, report: dict[str, Any]) -> None:
    async with store.begin() as connection:
        row = {"model": "loans", "part": SEGMENTS, "data": msgspec.msgpack.encode(report)}
        await connection.execute(insert(tables.states).values(row))


async def test_the_route_answers_what_was_measured_and_nothing_where_there_are_no_segments(tmp_path: Path) -> None:
    report = measured()
    async with running(tmp_path, seeded=True) as daemon:
        assert await daemon.get("/v1/models/loans/segments") == (
            200,
            {"model": "loans", "least_rows": 100, "learning": False, "fields": []},
        )
        await seed(daemon.store, report)
        status, found = await daemon.get("/v1/models/loans/segments")
        assert (status, found) == (200, {"model": "loans", **report})
        status, problem = await daemon.get("/v1/models/loan/segments")
        assert (status, problem["hint"]) == (404, "did you mean loans?")


async def test_the_page_has_a_table_of_segments(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, store):
        assert "segments-title" not in (await fetch(server, "/models/loans"))[1]
        await seed(store, measured())
        _, page = await fetch(server, "/models/loans")
        assert '<th scope="row">c1</th>' in page
        assert "not enough data" in page
        assert "Gap: says yes: " in page


def test_what_moved_is_named_with_its_segment_and_few_rows_are_not_enough() -> None:
    (field,) = shown(measured())
    assert field.heads == ("Says yes", "Errs")
    rows = {row.segment: row for row in field.rows}
    assert rows["c1"].drift.startswith("age ")
    assert rows["c0"].drift == ""
    assert rows["few"].figures == ("not enough data", "not enough data")
    assert shown(None) == []
