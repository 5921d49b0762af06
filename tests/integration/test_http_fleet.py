"""What is answered of several workers, by any of them, on each database that this machine offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from http_daemon import Daemon, running
from seeded_fleet import ALL_ROUND, seed_fleet
from seeded_store import NOW
from sqlalchemy import insert, update

from daemon.stores import tables

if TYPE_CHECKING:
    from pathlib import Path

    from databases import Database


async def test_any_node_says_who_does_what(tmp_path: Path, database: Database) -> None:
    async with running(tmp_path, url=database.store(tmp_path), lag=lambda: 7) as daemon:
        await seed_fleet(daemon.store)
        status, answer = await daemon.get("/v1/workers")
        assert status == 200
        reader, all_round, gone = answer["workers"]
        assert reader["partitions"][2] == {"topic": "driftd.events", "partition": 2, "behind": 1_200}
        assert (reader["alive"], reader["roles"], reader["models"]) == (True, ["ingest", "detect"], ["churn", "loans"])
        assert (all_round["host"], all_round["url"]) == ("node-2", ALL_ROUND.url)
        assert all_round["roles"] == ["ingest", "detect", "web", "train"]
        assert (gone["alive"], gone["seen"], gone["partitions"], gone["models"]) == (False, NOW - 420, [], [])
        assert answer["unread"] == [{"topic": "driftd.events", "partition": 4, "behind": 77}]
        assert answer["unowned"] == ["newcomer"]
        assert answer["parcels"] == {"count": 2, "events": 310}
        assert [one["text"] for one in answer["troubles"]] == [
            "nobody reads driftd.events 4",
            "nobody watches newcomer",
        ]


async def test_a_daemon_alone_answers_that_nobody_is_beside_it(tmp_path: Path, database: Database) -> None:
    async with running(tmp_path, url=database.store(tmp_path), lag=lambda: 7) as daemon:
        _, answer = await daemon.get("/v1/workers")
        nobody = {"workers": [], "unread": [], "unowned": [], "parcels": {"count": 0, "events": 0}, "troubles": []}
        assert answer == {**nobody, "lag": 7, "time": NOW}
        assert (await daemon.get("/v1/status"))[1]["fleet"] == nobody


async def test_the_lag_is_the_fleets_whichever_node_is_asked(tmp_path: Path, database: Database) -> None:
    async with running(tmp_path, url=database.store(tmp_path), lag=lambda: 7) as daemon:
        async with daemon.store.begin() as connection:
            await connection.execute(insert(tables.models).values(model="loans", state="steady", created=NOW))
        assert (await daemon.get("/v1/models/loans"))[1]["lag"] == 7
        await seed_fleet(daemon.store)
        _, status = await daemon.get("/v1/status")
        _, workers = await daemon.get("/v1/workers")
        _, models = await daemon.get("/v1/models")
        _, model = await daemon.get("/v1/models/loans")
        assert {status["lag"], workers["lag"], model["lag"], models["items"][0]["lag"]} == {1_632}
        assert status["models"][0]["lag"] == 1_632


async def gauges(daemon: Daemon) -> dict[str, float]:
    async with daemon.client.get("/metrics") as answer:
        lines = [line.split() for line in (await answer.text()).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


async def test_every_worker_tells_the_same_of_a_model_whoever_owns_it(tmp_path: Path, database: Database) -> None:
    async with running(tmp_path, url=database.store(tmp_path)) as daemon:
        performance = {"metric": "accuracy", "value": 0.81, "low": 0.79, "high": 0.83, "reference": 0.84}
        async with daemon.store.begin() as connection:
            row = {"model": "loans", "state": "steady", "created": NOW, "performance": performance}
            await connection.execute(insert(tables.models).values(row))
            await connection.execute(insert(tables.counters).values(model="loans", name="waiting", value=12))
        found = await gauges(daemon)
        assert found['driftd_waiting_labels{model="loans"}'] == 12
        assert found['driftd_performance{metric="accuracy",model="loans"}'] == 0.81, "as an older release stored it"


def measured(**values: float | None) -> dict[str, Any]:
    """Performance as a checkpoint stores it."""
    figures = [
        {"metric": name, "value": value, "low": value and value - 0.1, "high": value and value + 0.1}
        for name, value in values.items()
    ]
    return {**figures[0], "reference": None, "metrics": figures}


async def test_every_figure_of_performance_has_a_series_as_long_as_there_is_one(
    tmp_path: Path, database: Database
) -> None:
    async with running(tmp_path, url=database.store(tmp_path)) as daemon:
        row = {"model": "loans", "state": "steady", "created": NOW}
        async with daemon.store.begin() as connection:
            await connection.execute(
                insert(tables.models).values(row | {"performance": measured(accuracy=0.8, auc=0.9, f1=None)})
            )
        found = {name: value for name, value in (await gauges(daemon)).items() if "performance" in name}
        assert found == {
            'driftd_performance{metric="accuracy",model="loans"}': 0.8,
            'driftd_performance{metric="auc",model="loans"}': 0.9,
            'driftd_performance_bound{bound="low",metric="accuracy",model="loans"}': pytest.approx(0.7),
            'driftd_performance_bound{bound="high",metric="accuracy",model="loans"}': pytest.approx(0.9),
            'driftd_performance_bound{bound="low",metric="auc",model="loans"}': pytest.approx(0.8),
            'driftd_performance_bound{bound="high",metric="auc",model="loans"}': pytest.approx(1.0),
        }
        async with daemon.store.begin() as connection:
            await connection.execute(update(tables.models).values(performance=None))
        assert not [name for name in await gauges(daemon) if "performance" in name]


async def test_prometheus_is_told_of_the_whole_fleet(tmp_path: Path, database: Database) -> None:
    names = (
        "workers_alive",
        "partitions_unread",
        "models_unowned",
        "parcels_waiting",
        "parcel_events_waiting",
        "lag_events",
    )
    async with running(tmp_path, url=database.store(tmp_path), lag=lambda: 7) as daemon:
        assert [(await gauges(daemon))[f"driftd_{name}"] for name in names] == [0, 0, 0, 0, 0, 7]
        await seed_fleet(daemon.store)
        assert [(await gauges(daemon))[f"driftd_{name}"] for name in names] == [2, 1, 1, 2, 310, 1_632]


async def test_only_the_topics_that_are_read_count(tmp_path: Path, database: Database) -> None:
    async with running(tmp_path, url=database.store(tmp_path), topics=("other",)) as daemon:
        await seed_fleet(daemon.store)
        _, answer = await daemon.get("/v1/workers")
        assert (answer["unread"], answer["lag"]) == ([], 310)


async def test_a_worker_that_serves_no_pages_still_answers_probes_and_prometheus(tmp_path: Path) -> None:
    async with running(tmp_path, health_only=True) as daemon:
        for path in ("/livez", "/readyz", "/metrics"):
            assert (await daemon.client.get(path)).status == 200, path
        for path in ("/", "/v1/status", "/v1/workers"):
            assert (await daemon.client.get(path)).status == 404, path
        assert (await daemon.client.post("/v1/events", json={"prediction": 1})).status == 404
