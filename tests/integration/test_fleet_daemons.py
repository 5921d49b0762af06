"""A fleet of real daemons, on a real broker and a real PostgreSQL server, loses and doubles nothing."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from databases import Postgresql
from fleet_processes import Fleet, Outcome
from fleet_traffic import DRIFTS, MODELS, Sender, make_topic
from postgresql_server import NoServer, server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kafka_broker import Broker

PARTITIONS = 6
SEED = 11


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

    def fleet(name: str, **settings: str) -> Fleet:
        (tmp_path / name).mkdir()
        made.append(Fleet(tmp_path / name, kafka.address(), topic, own.store(tmp_path / name), **settings))
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
    assert (outcome.parcels, outcome.leases) == (0, [])


def test_what_happens_to_workers_and_servers_changes_nothing(
    make: Callable[..., Fleet], kafka: Broker, topic: str, own: Postgresql
) -> None:
    disturbed = make("disturbed")
    with Sender(kafka, topic, SEED, 400.0) as sender:
        disturbed.start("a", "b")
        disturbed.until(lambda: disturbed.taken() > 1_000, "nothing is read")
        disturbed.end("b", how=signal.SIGKILL)
        disturbed.start("c")
        own.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'driftd'")
        disturbed.begin("b")
        disturbed.end("a")
        own.server.stop(signal.SIGQUIT)
        time.sleep(1.0)
        own.server.start()
        disturbed.begin("a")
        disturbed.end("c", how=signal.SIGKILL)
        before = disturbed.taken()
        disturbed.until(lambda: disturbed.taken() > before + 2_000, "it does not go on")
        expected = sender.end()
    disturbed.finish(sender.sent)
    check(disturbed.outcome(), expected)

    alone = make("alone")
    alone.start("a")
    alone.finish(sender.sent)
    assert alone.outcome() == disturbed.outcome()
