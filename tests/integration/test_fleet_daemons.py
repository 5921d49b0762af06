"""A fleet of real daemons, on a real broker and a real PostgreSQL server, loses and doubles nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import pytest
from databases import Postgresql
from fleet_processes import PATIENCE_SECONDS, Fleet, Outcome
from fleet_traffic import DRIFTS, MODELS, Sender, make_topic, served_badly
from postgresql_server import NoServer, server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kafka_broker import Broker

log = logging.getLogger(__name__)

SOAK = os.environ.get("DRIFTD_TEST_PROFILE") == "soak"
ROUNDS = 40
PARTITIONS = 6
SEED = 11
NAMES = ("a", "b", "c", "d")
CUT = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'driftd'"
SLEEP_SECONDS = 25.0  # longer than Kafka's session and the leases last


@pytest.fixture(scope="module")
def own() -> Iterator[Postgresql]:
    """Stores on a server that a test may stop."""
    try:
        with server() as running:
            yield Postgresql(running)
    except NoServer as absent:
        pytest.skip(str(absent))


@pytest.fixture
def make(kafka: Broker, topic: str, own: Postgresql, tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """Makes fleets that read the same topic, each on a store of its own."""
    made: list[Fleet] = []

    def fleet(name: str, *, empty: bool = False, **settings: str) -> Fleet:
        (tmp_path / name).mkdir()
        store = own.nothing(tmp_path) if empty else own.store(tmp_path)
        made.append(Fleet(tmp_path / name, kafka.address(), topic, store, **settings))
        return made[-1]

    asyncio.run(make_topic(kafka, topic, PARTITIONS))
    yield fleet
    for one in made:
        one.__exit__()
    own.drop()


def check(outcome: Outcome, expected: Counter[str]) -> None:
    """Everything that was sent has come to what it should, once."""
    totals: Counter[str] = Counter()
    for (_, name), value in outcome.counters.items():
        totals[name] += value
    for name in ("prediction", "label", "joined", "duplicates", "revised"):
        assert totals[name] == expected[name], name
    assert totals["waiting"] == 0
    assert len(outcome.dead) == expected["dead_letters"]
    for model in MODELS:
        rows = [row for row, _, _ in outcome.archive[model, "events"]]
        assert rows == list(range(outcome.counters[model, "prediction"])), model
        ids = {one for _, one, _ in outcome.archive[model, "events"]}
        assert len(ids) == len(rows), model
    kinds = {(model, kind) for model, kind, *_ in outcome.alarms}
    assert {(DRIFTS, "drift"), (DRIFTS, "concept")} <= kinds
    assert max(Counter(outcome.open_alarms).values()) == 1
    assert outcome.parcels == 0


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
    check(disturbed.outcome(), expected)

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


class Disturbances:
    """What befalls a fleet and its servers, one thing after the other, at random."""

    def __init__(self, fleet: Fleet, kafka: Broker, own: Postgresql, rng: Random) -> None:
        self._fleet, self._kafka, self._own, self._rng = fleet, kafka, own, rng
        self._running: set[str] = set()

    def next(self) -> str:
        """Do one thing, and say what it was."""
        often = [self.kill] * 5 + [self.start] * 6 + [self.stop] * 3
        servers = [self.cut, self.restart_store, self.freeze_broker, self.kill_broker]
        what = self._rng.choice([*often, self.sleep, *servers]) if self._running else self.start
        what()
        self._wait(5.0)
        for name in self._running:
            assert self._fleet.members[name].is_running(), f"{name} has ended by itself\n{self._fleet.logs()}"
        return what.__name__

    def _one(self) -> str:
        return self._rng.choice(sorted(self._running))

    def _wait(self, seconds: float) -> None:
        time.sleep(self._rng.uniform(0.0, seconds))

    def start(self) -> None:
        for name in sorted(set(NAMES) - self._running)[:1]:
            self._fleet.start(name)
            self._running.add(name)

    def kill(self) -> None:
        name = self._one()
        self._running.remove(name)
        self._fleet.end(name, how=signal.SIGKILL)

    def stop(self) -> None:
        name = self._one()
        self._running.remove(name)
        self._fleet.end(name)

    def sleep(self) -> None:
        """A worker stands still for so long that others take over."""
        one = self._fleet.members[self._one()]
        one.signal(signal.SIGSTOP)
        time.sleep(SLEEP_SECONDS)
        one.signal(signal.SIGCONT)

    def cut(self) -> None:
        """Every connection to the store is gone."""
        self._own.sql(CUT)

    def restart_store(self) -> None:
        self._own.server.stop(self._rng.choice((signal.SIGINT, signal.SIGQUIT)))
        self._wait(20.0)
        self._own.server.start()

    def freeze_broker(self) -> None:
        self._kafka.freeze()
        time.sleep(40.0)
        self._kafka.thaw()

    def kill_broker(self) -> None:
        self._kafka.kill()
        self._wait(10.0)
        self._kafka.start()


@pytest.mark.skipif(not SOAK, reason="takes a quarter of an hour: make soak")
def test_whatever_happens_for_a_quarter_of_an_hour_changes_nothing(
    make: Callable[..., Fleet], kafka: Broker, topic: str, own: Postgresql
) -> None:
    seed = int(os.environ.get("DRIFTD_TEST_SEED") or Random().randrange(10**6))
    disturbed = make("disturbed")
    disturbances = Disturbances(disturbed, kafka, own, Random(seed))
    done = []
    with Sender(kafka, topic, seed, 400.0) as sender:
        for _ in range(ROUNDS):
            done.append(disturbances.next())
            log.warning("seed %d: %s", seed, done[-1])
        expected = sender.end()
    disturbances.start()
    disturbed.finish(sender.sent)
    check(disturbed.outcome(), expected)
    for workers in (("a",), ("a", "b", "c")):
        unbroken = make(f"of-{len(workers)}")
        unbroken.start(*workers)
        unbroken.finish(sender.sent)
        assert unbroken.outcome().differs_from(disturbed.outcome()) is None, f"seed {seed}: {done}"
