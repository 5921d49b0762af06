"""However many workers share the work, it comes to what one log in the order of arrival would have come to."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from databases import Database, Sqlite
from fleets import Fleet, partitioned
from hypothesis import given
from hypothesis import strategies as st
from pipelines import START, World, batches, keep, small
from seeded_events import anything, line, prediction, traffic
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.checkpoint import MonitorSnapshot
from daemon.events.rows import Rows
from daemon.fleet import leases
from daemon.fleet.ingest import BRAKE_SECONDS
from daemon.monitoring.monitor import Monitor
from daemon.stores import tables

PATIENCE = 30.0
LOGS = {"anything": anything(7, 250), "traffic": traffic(300, drift_at=150)}


async def alone(folder: Path, database: Database, log: list[bytes]) -> dict[str, Any]:
    """What comes of a log where one daemon does it all."""
    world = World.made(folder, database, options=small())
    pipeline = await world.start()
    for one in batches(log, [30] * 20):
        await pipeline.process(one)
    await pipeline.flush()
    outcome = await world.outcome()
    await world.close()
    return outcome


@pytest.mark.parametrize("log", LOGS.values(), ids=LOGS)
async def test_one_partition_comes_to_what_one_daemon_alone_comes_to(
    tmp_path: Path, database: Database, log: list[bytes]
) -> None:
    expected = await alone(tmp_path / "alone", database, log)
    world = World.made(tmp_path / "fleet", database, options=small(), now=START + 1e6)
    fleet = Fleet(world, partitioned(log, 1, [0] * len(log), START))
    await fleet.join("a")
    await fleet.assign({"a": [0]})
    await fleet.finish()
    outcome = await world.outcome()
    await world.close()
    for part, one in expected.items():
        assert outcome[part] == one, part


async def test_a_checkpoint_that_no_waiting_mends_ends_the_worker(tmp_path: Path, database: Database) -> None:
    async def clumsy(connection: AsyncConnection, _: object, __: float) -> None:
        await connection.execute(insert(tables.slots), [{"job": "twice", "slot": 1.0}] * 2)

    world = World.made(tmp_path, database, options=small(), now=START + 1e6)
    fleet = Fleet(world, partitioned(LOGS["traffic"], 1, [0] * len(LOGS["traffic"]), START))
    member = await fleet.join("a", clumsy)
    await fleet.assign({"a": [0]})
    await fleet.read("a", 0, 100)
    await member.ingest.flush()
    judging = asyncio.create_task(member.owners.run())
    async with asyncio.timeout(PATIENCE):
        while not judging.done():
            world.now += 1.0
            await asyncio.sleep(0.01)
    with pytest.raises(IntegrityError):
        judging.result()
    assert await fleet.waiting() == 1
    await world.close()


async def test_an_owner_that_is_busy_for_long_stays_the_owner(tmp_path: Path, sqlite_databases: Sqlite) -> None:
    world = World.made(tmp_path, sqlite_databases, options=small(), now=START + 1e6)
    models = [f"model-{number}" for number in range(10)]

    class Slow(Monitor):
        def take(self, rows: Rows, arrival: float) -> None:
            world.now += 2.0
            super().take(rows, arrival)

    log = [line(**prediction(number, Random(number), model=models[number % 10])) for number in range(300)]
    fleet = Fleet(world, partitioned(log, 1, [0] * len(log), START), monitor=Slow)
    member = await fleet.join("a")
    await fleet.assign({"a": [0]})
    await fleet.read("a", 0, len(log))
    await member.ingest.flush()
    while await member.owners.step():
        async with member.store.read() as connection:
            assert set(await leases.holders(connection, world.now)) == {leases.MODEL + model for model in models}
    await fleet.flush("a")
    assert await fleet.waiting() == 0
    await world.close()


async def test_after_a_long_pause_nobody_is_passed_over_because_another_reads_first(
    tmp_path: Path, sqlite_databases: Sqlite
) -> None:
    log = LOGS["traffic"]
    expected = await alone(tmp_path / "alone", sqlite_databases, log)
    world = World.made(tmp_path / "fleet", sqlite_databases, options=small(), now=START + 1e6)
    fleet = Fleet(world, partitioned(log, 2, [number % 2 for number in range(len(log))], START))
    for name in ("before", "first", "second"):
        await fleet.join(name)
    await fleet.assign({"before": [0, 1]})
    await fleet.read("before", 0, 10)
    await fleet.go("before")
    world.now += 10_000.0
    for name, partition in (("first", 0), ("second", 1)):
        await fleet.beat(fleet.members[name])
        await fleet.assign({name: [partition]})
        await fleet.read(name, partition, 100)
        await fleet.flush(name)
        await fleet.members[name].ingest.tell()
        await fleet.judge("first")
    await fleet.finish()
    outcome = await world.outcome()
    await world.close()
    assert comparable(outcome) == comparable(expected)


async def test_a_checkpoint_that_waited_while_its_model_was_another_s_is_never_stored(
    tmp_path: Path, database: Database
) -> None:
    log = LOGS["traffic"]
    expected = await alone(tmp_path / "alone", database, log)
    world = World.made(tmp_path / "fleet", database, options=small(), now=START + 1e6)
    fleet = Fleet(world, partitioned(log, 1, [0] * len(log), START))
    has_failed, is_back = asyncio.Event(), asyncio.Event()

    async def respond(connection: AsyncConnection, snapshot: MonitorSnapshot, now: float) -> None:
        if not has_failed.is_set():
            has_failed.set()
            raise ConnectionRefusedError("the store is away")
        await keep(connection, snapshot, now)

    waits = await fleet.join("waits", respond)
    world.during_wait = is_back.wait
    await fleet.assign({"waits": [0]})
    await fleet.read("waits", 0, 100)
    await waits.ingest.flush()
    world.now += 5.0
    await waits.owners.step()
    world.now += 1.0
    await waits.owners.step()  # begins a checkpoint
    await has_failed.wait()
    world.now += leases.LEASE_SECONDS + 1.0
    await fleet.join("takes over")
    await fleet.judge("takes over")
    await fleet.flush("takes over")
    world.now += 3.0
    await fleet.beat(waits)
    await fleet.judge("waits")  # has lost the model
    await fleet.go("takes over")
    world.now += 3.0
    again = asyncio.create_task(fleet.judge("waits"))
    await asyncio.sleep(0.1)
    is_back.set()
    await again
    await fleet.finish()
    outcome = await world.outcome()
    await world.close()
    for part, one in expected.items():
        assert outcome[part] == one, part


async def test_a_checkpoint_that_is_cancelled_anywhere_loses_nothing(tmp_path: Path, sqlite_databases: Sqlite) -> None:
    log = LOGS["traffic"]
    for steps in range(12):
        world = World.made(tmp_path / str(steps), sqlite_databases, options=small(), now=START + 1e6)
        fleet = Fleet(world, partitioned(log, 1, [0] * len(log), START))
        member = await fleet.join("a")
        await fleet.assign({"a": [0]})
        await fleet.read("a", 0, 100)
        flushing = asyncio.create_task(member.ingest.flush())
        for _ in range(steps):
            await asyncio.sleep(0)
        flushing.cancel()
        await asyncio.wait({flushing})
        await member.ingest.flush()
        assert sum(row["events"] for row in await world.rows(tables.parcels)) == 100, steps
        await world.close()


def comparable(outcome: dict[str, Any]) -> dict[str, Any]:
    """All but where in the log things were, and whether a model was known already when its bad event was read."""
    dead = sorted((reason, detail, model, body) for _, _, reason, detail, model, body in outcome["dead"])
    counters = {key: value for key, value in outcome["counters"].items() if key[1] != "dead_letters"}
    return {**outcome, "offsets": None, "dead": dead, "counters": counters}


@given(data=st.data())
def test_partitions_workers_kills_and_rebalances_change_nothing(sqlite_databases: Sqlite, data: st.DataObject) -> None:
    log = anything(data.draw(st.integers(0, 10**9), "seed"), data.draw(st.integers(1, 200), "events"))
    partitions = data.draw(st.integers(1, 4), "partitions")
    of = data.draw(st.lists(st.integers(0, partitions - 1), min_size=len(log), max_size=len(log)), "partition of each")

    async def shared(folder: Path) -> dict[str, Any]:
        world = World.made(folder, sqlite_databases, options=small(), now=START + 1e6)
        fleet = Fleet(world, partitioned(log, partitions, of, START))
        names = iter(f"worker-{number}" for number in range(1_000))
        await rebalance(fleet, [next(names)])
        for _ in range(data.draw(st.integers(0, 25), "steps")):
            await anything_happens(fleet, names, data)
        await fleet.finish()
        outcome = await world.outcome()
        await world.close()
        return outcome

    with tempfile.TemporaryDirectory() as folder:
        expected = asyncio.run(alone(Path(folder) / "alone", sqlite_databases, log))
        outcome = asyncio.run(shared(Path(folder) / "fleet"))
    assert comparable(outcome) == comparable(expected)


async def rebalance(fleet: Fleet, new: list[str]) -> None:
    for name in new:
        await fleet.join(name)
    names = sorted(fleet.members)
    partitions = range(len(fleet.logs))
    await fleet.assign({name: partitions[number :: len(names)] for number, name in enumerate(names)})


async def anything_happens(fleet: Fleet, names: Iterator[str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(fleet.members)), "worker")
    match data.draw(st.sampled_from(("read", "read", "judge", "flush", "wait", "join", "kill", "go")), "what"):
        case "read":
            for partition in fleet.members[name].reads:
                await fleet.read(name, partition, data.draw(st.integers(1, 40), "records"))
        case "judge":
            await fleet.judge(name)
        case "flush":
            await fleet.flush(name)
        case "wait":
            fleet.world.now += data.draw(st.sampled_from((0.5, 1.0, 5.0, 20.0)), "seconds")
            for one in fleet.members.values():
                await one.ingest.tell()
        case "join":
            await rebalance(fleet, [next(names)])
        case "kill":
            await fleet.kill(name)
            await rebalance(fleet, [] if fleet.members else [next(names)])
        case "go":
            await fleet.go(name)
            await rebalance(fleet, [] if fleet.members else [next(names)])


async def test_readers_go_slowly_while_owners_are_behind(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.fleet.ingest.MOST_READY", 50)
    world = World.made(tmp_path, database, options=small(), now=START + 1e6)
    fleet = Fleet(world, partitioned(traffic(150), 1, [0] * 295, START))
    member = await fleet.join("a")
    await fleet.assign({"a": [0]})
    await fleet.read("a", 0, 100)
    await member.ingest.flush()
    world.now += 1.0
    await member.ingest.tell()
    await fleet.read("a", 0, 50)
    assert world.waits == [BRAKE_SECONDS], "100 events wait, and that is more than 50"
    await fleet.judge("a")
    await fleet.flush("a")
    world.now += 1.0
    await member.ingest.tell()
    await fleet.read("a", 0, 50)
    assert world.waits == [BRAKE_SECONDS], "they are judged"
    await world.close()
