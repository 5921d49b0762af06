"""What the status page says, as text."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import aiohttp
from page_server import ODD_PATH, serving
from pipelines import batch, keep
from seeded_events import traffic
from seeded_fleet import seed_fleet
from seeded_store import NOW
from sqlalchemy import delete, insert, update

from daemon.events import event
from daemon.monitoring.monitor import Monitor
from daemon.monitoring.options import MonitorOptions
from daemon.pipeline import Pipeline
from daemon.stores import tables
from daemon.web.words import STATES

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.web.server import Server


async def fetch(server: Server, path: str, accept: str = "text/html") -> tuple[int, str]:
    async with (
        aiohttp.ClientSession(server.url) as client,
        client.get(path, headers={"Accept": accept}) as answer,
    ):
        return answer.status, await answer.text()


class TestText:
    async def test_says_in_one_sentence_how_things_stand(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as (server, store):
            assert "loans is retraining." in (await fetch(server, "/"))[1]
            for state, said in (
                ("alarm", "loans is in alarm."),
                ("held", "loans waits for somebody."),
                ("steady", "churn watches its new version."),
            ):
                async with store.begin() as connection:
                    await connection.execute(
                        update(tables.models).where(tables.models.c.model == "loans").values(state=state)
                    )
                assert said in (await fetch(server, "/"))[1]
            async with store.begin() as connection:
                await connection.execute(update(tables.models).values(state="steady"))
            assert "All 5 models are steady." in (await fetch(server, "/"))[1]

    async def test_an_empty_daemon_says_what_to_type(self, tmp_path: Path) -> None:
        async with serving(tmp_path, seeded=False) as (server, _):
            _, page = await fetch(server, "/")
            assert f"curl {server.url}v1/events" in page
            assert "driftd send" in page
            example = re.search(r"-d &#39;(.*?)&#39;", page) or re.search(r"-d '(.*?)'", page)
            assert example is not None
            assert event.check(example[1].replace("&#34;", '"').encode()).accepted == 1

    async def test_who_shares_the_work_is_shown_and_nothing_where_the_daemon_is_alone(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as (server, store):
            assert "Workers" not in (await fetch(server, "/"))[1]
            await seed_fleet(store)
            for path in ("/", "/fragments/overview"):
                _, page = await fetch(server, path)
                assert page.count('<li class="worker') == 3
                assert page.count('<li class="worker gone"') == 1
                assert "Nobody reads driftd.events 4. See the logs of the workers that ingest" in page
                assert '<a href="http://node-2.example:6066">node-2</a>' in page
                assert "uplift &lt;b&gt;test&lt;/b&gt;" in page.split("Workers</h2>")[1]

    async def test_a_model_that_still_learns_has_a_page(self, tmp_path: Path) -> None:
        async with serving(tmp_path, seeded=False) as (server, store):
            pipeline = Pipeline(
                store,
                None,
                lambda model: Monitor(model, MonitorOptions(), lambda *_: []),
                keep,
                clock=lambda: NOW,
                checkpoint_seconds=1.0,
                most_models=1,
            )
            await pipeline.load()
            await pipeline.process(batch(*traffic(30)))
            await pipeline.flush()
            for path, said in (
                ("/", "It shows once the reference is learned."),
                ("/models/loans", "Performance shows once the reference is learned."),
            ):
                status, page = await fetch(server, path)
                assert status == 200
                assert said in page

    async def test_every_state_has_its_words_and_its_page(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as (server, store):
            for state in (*STATES, "a state of later"):
                async with store.begin() as connection:
                    await connection.execute(
                        update(tables.models).where(tables.models.c.model == "loans").values(state=state)
                    )
                for path in ("/", "/models/loans"):
                    status, page = await fetch(server, path)
                    assert status == 200
                    assert (STATES[state].word if state in STATES else "A state of later") in page

    async def test_names_are_only_text(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as (server, _):
            for path in ("/", ODD_PATH):
                _, page = await fetch(server, path)
                assert "<b>test" not in page
                assert "uplift &lt;b&gt;test&lt;/b&gt;" in page

    async def test_a_model_shows_what_was_measured_raised_decided_trained_and_deployed(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as (server, _):
            _, page = await fetch(server, "/models/loans")
            for said in (
                "error rate 0.16 → 0.31",
                "missing in 38% of the rows",
                "driftd ack loans 1",
                "212 of 500 fresh labels so far",
                "Making version 4: training.",
                "Passed the gate",
                "+6.2% (4.1% to 8.3%)",
                "in service",
                "14.7 points below the reference",
                "AUC</dt><dd>0.874 <span>0.856\N{EN DASH}0.891</span>",
                "F1 <span>of 1</span>",
                "not enough data<span>80 rows, it takes 100</span>",
                "new: 0% → 20%",
            ):
                assert said in page, said

    async def test_rows_of_the_version_before_are_not_held_against_this_one(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as (server, store):
            assert "new: 0% → 20%" in (await fetch(server, "/models/loans"))[1]
            async with store.begin() as connection:
                await connection.execute(
                    update(tables.models).where(tables.models.c.model == "loans").values(version="4")
                )
            _, page = await fetch(server, "/models/loans")
            assert "new: 0% → 20%" not in page
            assert "shows with the first rows of this version" in page

    async def test_a_model_that_is_not_there_is_a_page_that_names_one_that_is(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as (server, _):
            status, page = await fetch(server, "/models/loan")
            assert status == 404
            assert "Did you mean loans?" in page
            status, text = await fetch(server, "/models/loan", accept="application/json")
            assert status == 404
            assert text.startswith("{")

    async def test_those_in_trouble_come_first_and_the_rest_can_be_found(self, tmp_path: Path) -> None:
        async with serving(tmp_path, many=300) as (server, _):
            _, page = await fetch(server, "/")
            states = re.findall(r'class="(?:card|row) tone-(\w+)"', page)
            ranks = [STATES[state].rank for state in states]
            assert ranks == sorted(ranks)
            assert len(states) < 100
            _, page = await fetch(server, "/?q=FRAUD-eu&state=steady")
            assert set(re.findall(r'class="(?:card|row) tone-(\w+)"', page)) == {"steady"}
            assert all("fraud-eu" in name for name in re.findall(r'href="/models/([^"]+)"', page))
            _, page = await fetch(server, "/?show=all")
            assert len(re.findall(r'class="(?:card|row) tone-', page)) == 305
            assert "has “nobody” in its name" in (await fetch(server, "/?q=nobody"))[1]

    async def test_ten_thousand_features_do_not_drown_the_page(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as (server, store):
            row = {
                "model": "fraud",
                "version": "12",
                "row": 30_000,
                "ts": NOW,
                "rows": 500,
                "value": 1.0,
                "effect": 0.3,
            }
            async with store.begin() as connection:
                await connection.execute(
                    insert(tables.signals), [{**row, "signal": f"feature:f{i:05d}"} for i in range(10_000)]
                )
            started = time.perf_counter()
            status, page = await fetch(server, "/fragments/models/fraud")
            assert status == 200
            assert len(page) < 400_000
            assert time.perf_counter() - started < 3

    async def test_a_model_without_anything_measured_has_a_page(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as (server, store):
            async with store.begin() as connection:
                await connection.execute(delete(tables.signals))
                await connection.execute(delete(tables.states))
            for path in ("/", "/models/loans", "/models/prices"):
                assert (await fetch(server, path))[0] == 200
