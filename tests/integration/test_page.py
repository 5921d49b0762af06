"""The status page as a person sees it, in Chromium."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from browser import Tab, browse, find_chromium
from page_server import ODD_PATH, serving
from seeded_estimates import report, seed_estimate
from seeded_fleet import seed_fleet
from seeded_store import NOW
from sqlalchemy import insert, update

from daemon.stores import tables

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from daemon.web.server import Server

CHROMIUM = find_chromium()
PHONE, DESK = 390, 1280
POLL = "document.querySelectorAll('[hx-trigger]').forEach((part) => htmx.trigger(part, 'every'))"

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def tab() -> AsyncIterator[Tab]:
    assert CHROMIUM is not None
    async with browse(CHROMIUM) as opened:
        yield opened
        await opened.close()


def blameless(tab: Tab, server: Server) -> None:
    """Nothing was refused or failed, and nobody else was asked for anything."""
    assert tab.complaints == []
    assert [url for url in tab.requests if not url.startswith(server.url)] == []


async def polled(tab: Tab) -> None:
    """Let the page renew itself once."""
    await tab.run("window.seen = 0; document.addEventListener('htmx:after:swap', () => window.seen++, {once: true}); 1")
    await tab.run(POLL)
    await tab.until("window.seen > 0")


class TestSight:
    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    @pytest.mark.parametrize("width", [PHONE, DESK], ids=["phone", "desk"])
    @pytest.mark.parametrize("path", ["/", "/models/loans", "/models/prices", ODD_PATH, "/nothing"])
    async def test_is_whole(self, tmp_path: Path, tab: Tab, path: str, width: int, *, dark: bool) -> None:
        async with serving(tmp_path) as (server, _):
            await tab.open(server.url.rstrip("/") + path, width, dark=dark)
            if path == "/nothing":
                assert "Not Found" in await tab.run("document.querySelector('h1').textContent")
                tab.complaints = [one for one in tab.complaints if "404" not in one]
            else:
                await polled(tab)
            assert await tab.run("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
            back = await tab.run("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, re.findall(r"\d+", back)[:3])) < 200) == dark
            blameless(tab, server)

    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    @pytest.mark.parametrize("width", [PHONE, 800, DESK], ids=["phone", "tablet", "desk"])
    async def test_workers_have_a_line_each_that_follows_the_store(
        self, tmp_path: Path, tab: Tab, width: int, *, dark: bool
    ) -> None:
        async with serving(tmp_path) as (server, store):
            await seed_fleet(store)
            await tab.open(server.url, width, dark=dark)
            lines = "[...document.querySelectorAll('.worker')].map((one) => one.innerText.replace(/\\s+/g, ' '))"
            reader, _, gone = await tab.run(lines)
            unit = "" if width == DESK else " behind"
            assert f"1,240{unit}" in reader
            assert "Gone 7 min ago" in gone
            async with store.begin() as connection:
                await connection.execute(update(tables.partitions).values(behind=0))
            await polled(tab)
            assert f" 0{unit}" in (await tab.run(lines))[0]
            assert await tab.run("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
            blameless(tab, server)

    async def test_charts_are_drawn_and_outlive_the_renewal(self, tmp_path: Path, tab: Tab) -> None:
        async with serving(tmp_path) as (server, store):
            await tab.open(f"{server.url}models/loans")
            await tab.until("document.querySelectorAll('.plot canvas').length === 2")
            await tab.run("document.querySelectorAll('.plot canvas').forEach((one) => { one.mine = true })")
            async with store.begin() as connection:
                await connection.execute(
                    insert(tables.signals).values(
                        model="loans",
                        signal="error",
                        row=26_499,
                        ts=NOW + 9,
                        rows=500,
                        value=0.25,
                        low=0.21,
                        high=0.3,
                        reference=0.15,
                    )
                )
            tab.requests.clear()
            await polled(tab)
            await tab.until("document.querySelector('#performance-chart .readout').textContent.includes('26,499')")
            assert await tab.run("[...document.querySelectorAll('.plot canvas')].every((one) => one.mine)")
            assert [url for url in tab.requests if "since_row=26000" in url], "only what is new is asked for"
            assert "75.0%" in await tab.run("document.querySelector('#performance-chart .readout').textContent")
            blameless(tab, server)

    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    @pytest.mark.parametrize("width", [PHONE, DESK], ids=["phone", "desk"])
    async def test_estimates_are_drawn_with_what_the_labels_say(
        self, tmp_path: Path, tab: Tab, width: int, *, dark: bool
    ) -> None:
        async with serving(tmp_path) as (server, store):
            await seed_estimate(store, "loans", report(distrusted=True))
            await tab.open(f"{server.url}models/loans", width, dark=dark)
            await tab.until("document.querySelectorAll('.plot canvas').length === 3")
            readout = "document.querySelector('#estimate-chart .readout').textContent"
            await tab.until(f"{readout}.includes('by labels')")
            assert "row 24,999" in await tab.run(readout)
            assert await tab.run("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
            blameless(tab, server)

    async def test_follows_the_store_without_a_jump(self, tmp_path: Path, tab: Tab) -> None:
        async with serving(tmp_path) as (server, store):
            await tab.open(server.url)
            await tab.run(
                "window.shift = 0; new PerformanceObserver((list) => { for (const one of list.getEntries()) "
                "window.shift += one.value }).observe({type: 'layout-shift', buffered: true}); 1"
            )
            async with store.begin() as connection:
                await connection.execute(
                    update(tables.counters)
                    .where(tables.counters.c.model == "fraud", tables.counters.c.name == "prediction")
                    .values(value=26_123)
                )
                await connection.execute(
                    update(tables.models).where(tables.models.c.model == "fraud").values(version="13")
                )
            await polled(tab)
            card = await tab.run("document.getElementById('m-fraud').textContent")
            assert "26,123" in card
            assert "version 13" in card
            assert await tab.run("window.shift") == 0
            blameless(tab, server)

    async def test_another_signal_is_chosen_by_keyboard_and_stays_chosen(self, tmp_path: Path, tab: Tab) -> None:
        async with serving(tmp_path) as (server, _):
            await tab.open(f"{server.url}models/loans")
            await tab.until("document.querySelectorAll('.plot canvas').length === 2")
            first = await tab.run("document.querySelector('.chosen h3').textContent")
            await tab.run("document.querySelector('[name=signal]:checked').focus()")
            await tab.press("ArrowDown", 40)
            await tab.until(f"document.querySelector('.chosen h3').textContent !== '{first}'")
            second = await tab.run("document.querySelector('.chosen h3').textContent")
            await polled(tab)
            assert await tab.run("document.querySelector('.chosen h3').textContent") == second
            assert await tab.run("document.activeElement === document.querySelector('[name=signal]:checked')")
            blameless(tab, server)

    async def test_three_hundred_models_are_searched_as_one_types(self, tmp_path: Path, tab: Tab) -> None:
        async with serving(tmp_path, many=300) as (server, _):
            await tab.open(server.url)
            await tab.run("document.querySelector('[name=q]').focus()")
            await tab.type("fraud-eu")
            await tab.until(
                "[...document.querySelectorAll('main h2, main .name')]"
                ".every((one) => one.textContent.includes('fraud-eu'))"
            )
            assert await tab.run("document.activeElement.name") == "q"
            await tab.run("document.querySelector('[name=state][value=alarm]').click()")
            await tab.until("!document.querySelector('#overview .tone-steady:is(.card, .row)')")
            await polled(tab)
            assert await tab.run("document.querySelector('[name=state][value=alarm]').checked")
            blameless(tab, server)

    async def test_says_when_nobody_answers_any_more(self, tmp_path: Path, tab: Tab) -> None:
        async with serving(tmp_path) as (server, _):
            await tab.open(server.url)
            await polled(tab)
            assert await tab.run("document.getElementById('live').textContent.trim()") == "Live"
            await server.stop(1)
            await tab.run(POLL)
            await tab.until("document.getElementById('live').textContent.trim() === 'No answer'")

    async def test_has_headings_in_order_and_a_name_for_everything(self, tmp_path: Path, tab: Tab) -> None:
        async with serving(tmp_path) as (server, store):
            await seed_fleet(store)
            for path in ("", "models/loans"):
                await tab.open(server.url + path)
                levels: Any = await tab.run("[...document.querySelectorAll('h1,h2,h3')].map((one) => +one.tagName[1])")
                assert levels.count(1) == 1
                assert all(after <= before + 1 for before, after in pairwise(levels))
                unnamed = await tab.run(
                    "[...document.querySelectorAll('svg:not([aria-hidden]), input, progress, [role=img]')]"
                    ".filter((one) => "
                    "!one.getAttribute('aria-label') && !one.closest('label') && one.type !== 'hidden').length"
                )
                assert unnamed == 0
