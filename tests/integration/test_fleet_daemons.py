"""A fleet of real daemons, on a real broker and a real PostgreSQL server, loses and doubles nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest
from fleet_processes import CUT, PATIENCE_SECONDS, Fleet, fleets
from fleet_traffic import Sender, make_topic, served_badly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from databases import Postgresql
    from kafka_broker import Broker

SOAK = os.environ.get("DRIFTD_TEST_PROFILE") == "soak"
SEED = 11
PARTITIONS = 6


@pytest.fixture
def make(kafka: Broker, topic: str, own: Postgresql, tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """Makes fleets that read the same topic, each on a store of its own."""
    asyncio.run(make_topic(kafka, topic, PARTITIONS))
    with fleets(kafka, topic, own, tmp_path) as maker:
        yield maker


def test_what_happens_to_workers_and_servers_changes_nothing(
    make: Callable[..., Fleet], kafka: Broker, topic: str, own: Postgresql
) -> None:
    disturbed = make("disturbed")
    with Sender(kafka, topic, SEED, 400.0) as sender:
        disturbed.start("a", "b")
        disturbed.until(lambda: disturbed.taken() > 1_000, "nothing is read")
        disturbed.end("b", how=signal.SIGKILL)
        disturbed.start("c")
        own.sql(CUT)
        disturbed.begin("b")
        own.server.stop(signal.SIGQUIT)
        disturbed.end("a")  # its partitions are others', who cannot ask where to read them on
        own.server.start()
        disturbed.begin("a")
        disturbed.until_ready("a", "b", "c")
        before = disturbed.taken()
        disturbed.until(lambda: disturbed.taken() > before + 2_000, "it does not go on")
        expected = sender.end()
    disturbed.finish(sender.sent)
    disturbed.outcome().check(expected)

    alone = make("alone")
    alone.start("a")
    alone.finish(sender.sent)
    assert alone.outcome().differs_from(disturbed.outcome()) is None


def test_each_role_on_a_worker_of_its_own_does_what_one_worker_does(make: Callable[..., Fleet], tmp_path: Path) -> None:
    """Events that came by HTTP are judged; a retrain is adopted by a model's owner, though the one before is gone."""
    fleet = make(
        "roles",
        DRIFTD_MODE="auto",
        DRIFTD_RETRAIN__ALGORITHMS="linear",
        DRIFTD_RETRAIN__FOLDS="2",
        DRIFTD_DEPLOY__DIRECTORY=str(tmp_path / "deployed"),
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "manager"))
        fleet.begin("reads", DRIFTD_ROLE="ingest", NOTIFY_SOCKET=str(tmp_path / "manager"))
        fleet.begin("serves", DRIFTD_ROLE="web")
        fleet.begin("judges", DRIFTD_ROLE="detect")
        fleet.begin("trains", DRIFTD_ROLE="train")
        fleet.until_ready("reads", "serves", "judges", "trains")
        manager.settimeout(PATIENCE_SECONDS)
        assert manager.recv(1_000).startswith(b"READY=1")
    lines = list(served_badly(1_500))
    for start in range(0, len(lines), 500):
        fleet.members["serves"].insist(b"\n".join(lines[start : start + 500]))
    fleet.until(lambda: fleet.taken() >= len(lines), "not all events were taken")

    workers = fleet.members["serves"].get("/v1/workers")[1]
    assert sorted(tuple(one["roles"]) for one in workers["workers"]) == [("detect",), ("ingest",), ("train",), ("web",)]
    assert [one for one in workers["workers"] if not one["alive"]] == []
    assert (workers["unread"], workers["unowned"], workers["parcels"]["count"]) == ([], [], 0)
    assert [one["partitions"] != [] for one in workers["workers"]] == [
        one["roles"] == ["ingest"] for one in workers["workers"]
    ]
    assert [one["models"] for one in workers["workers"] if one["roles"] == ["detect"]] == [["loans"]]
    for name in ("reads", "judges", "trains"):
        assert fleet.members[name].get("/v1/status")[0] == 404, name
    said = fleet.members["serves"].driftd("status")
    assert said.returncode == 0
    assert b"nobody" not in said.stdout

    fleet.start("judges too", DRIFTD_ROLE="detect")
    asked = fleet.members["serves"].driftd("retrain", "loans")
    assert asked.returncode == 0, asked.stderr
    fleet.until(lambda: fleet.rows("select 1 from jobs where state = 'running'") != [], "no retrain begins")
    fleet.end("judges", how=signal.SIGKILL if SOAK else signal.SIGTERM)  # a kill is noticed only after 15 s
    fleet.until(
        lambda: fleet.rows("select 1 from versions where version = '2' and adopted is not null") != [],
        "no version is adopted",
    )
    assert fleet.rows("select outcome, attempts from jobs") == [("promote", 1)]
    assert fleet.rows("select version, state from versions order by version") == [("1", "retired"), ("2", "champion")]
    assert fleet.rows("select version from models") == [("2",)]
    assert fleet.rows("select value from counters where name = 'promotions'") == [(1,)]
    assert fleet.rows("select count(*) from changes") == [(0,)]
    assert (tmp_path / "deployed" / "loans" / "current").resolve().name.startswith("2")
    fleet.end("reads", "serves", "judges too", "trains")


def test_a_worker_of_an_earlier_release_goes_on_and_does_not_start_again(make: Callable[..., Fleet]) -> None:
    fleet = make("releases", empty=True)
    fleet.begin("a", "b")  # one of them makes the tables
    fleet.until_ready("a", "b")
    fleet.change("update alembic_version set version_num = 'of a later release'")
    fleet.members["a"].insist(b'{"model": "loans", "prediction": 1}')
    fleet.until(lambda: fleet.taken() == 1, "an event is not taken")
    fleet.begin("c")
    assert fleet.members["c"].wait() == os.EX_CONFIG
    assert "made by a newer driftd" in fleet.members["c"].log.read_text().splitlines()[-1]
    fleet.end("a", "b")
