"""What a model is held against, and how much its rows resemble each other: by HTTP and on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
import numpy as np
from http_daemon import running
from page_server import serving
from sqlalchemy import update
from test_page_text import fetch

from daemon.stores import tables
from detectors.columns import Columns, Stream
from detectors.reference import Reference

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.stores.engine import Store

ALIKE = "Rows resemble their neighbours"


def slow(n: int = 2_000) -> Reference:
    """Of two features, of which one hardly moves from row to row (its correlation is .95)."""
    rng = np.random.default_rng(1)
    steps, slow = rng.normal(size=n), np.zeros(n)
    for row in range(1, n):
        slow[row] = 0.95 * slow[row - 1] + steps[row]
    values = {"feature:age": slow, "feature:income": rng.normal(size=n)}
    return Reference.learn(Columns(Stream.FEATURES, np.arange(n), np.arange(n) * 1.0, values))


async def learn(store: Store, reference: Reference) -> None:
    data = msgspec.msgpack.encode(reference.to_dict())
    row = tables.states.c
    async with store.begin() as connection:
        await connection.execute(
            update(tables.states).where(row.model == "loans", row.part == "reference:features").values(data=data)
        )


async def test_the_route_says_what_was_learned_and_how_much_rows_resemble_each_other(tmp_path: Path) -> None:
    reference = slow()
    async with running(tmp_path, seeded=True) as daemon:
        await learn(daemon.store, reference)
        status, found = await daemon.get("/v1/models/loans/reference")
        assert status == 200
        signals = {one["signal"]: one for one in found["signals"]}
        age, income = signals["feature:age"], signals["feature:income"]
        assert (age["rows"], age["kind"], age["stream"]) == (2_000, "number", "features")
        assert len(age["bins"]) == len(age["counts"])
        assert sum(age["counts"]) == 2_000
        assert 20 < age["correlation_rows"] < 80, "of an autoregression of .95 it is 39"
        assert income["correlation_rows"] == 1.0
        status, problem = await daemon.get("/v1/models/loan/reference")
        assert (status, problem["hint"]) == (404, "did you mean loans?")


async def test_while_it_is_learned_there_is_none_yet(tmp_path: Path) -> None:
    async with running(tmp_path, seeded=True) as daemon:
        _, models = await daemon.get("/v1/models")
        [learning] = [one["model"] for one in models["items"] if one["state"] == "learning"]
        assert await daemon.get(f"/v1/models/{quote(learning, safe='')}/reference") == (
            200,
            {"model": learning, "signals": []},
        )


async def test_the_page_says_so_of_the_signal_whose_course_is_drawn(tmp_path: Path) -> None:
    async with serving(tmp_path, seeded=True) as (server, store):
        assert ALIKE not in (await fetch(server, "/models/loans?signal=feature:age"))[1]
        await learn(store, slow())
        assert ALIKE in (await fetch(server, "/models/loans?signal=feature:age"))[1]
        assert ALIKE not in (await fetch(server, "/models/loans?signal=feature:income"))[1]
