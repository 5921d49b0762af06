"""Which version is in service follows from what most predictions say, however the log was cut."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from databases import Sqlite
from hypothesis import given
from hypothesis import strategies as st
from pipelines import TARGET, World, batch, batches, dying, small
from seeded_events import label, line, prediction

from daemon.monitoring.monitor import Monitor
from daemon.monitoring.serving import ASKED_EVERY, MOST_MET
from daemon.pipeline import Pipeline
from daemon.stores import tables
from detectors.columns import Stream


@pytest.fixture
async def world(tmp_path: Path, sqlite_databases: Sqlite) -> AsyncIterator[World]:
    world = World.made(
        tmp_path / "data", sqlite_databases, options=small(), now=0.0
    )  # no checkpoint unless it is asked for
    yield world
    await world.close()


def made_by(versions: Sequence[str | None], first: int = 0) -> list[bytes]:
    """Predictions of these versions, one after the other."""
    named = [{} if version is None else {"version": version} for version in versions]
    return [line(**prediction(first + n, Random(first + n), **fields)) for n, fields in enumerate(named)]


async def after(pipeline: Pipeline, versions: Sequence[str | None], first: int = 0) -> Monitor:
    """The monitor once it has seen predictions of these versions."""
    await pipeline.process(batch(*made_by(versions, first), first=first))
    return pipeline.monitors["loans"]


async def test_the_first_version_that_is_ever_named_is_in_service_at_once(world: World) -> None:
    monitor = await after(await world.start(), [None, "7", "8"])
    assert (monitor.version, monitor.findings.served) == ("7", ["7"])


async def test_strays_bring_nothing_into_service_and_count_to_nobody(world: World) -> None:
    pipeline = await world.start()
    monitor = await after(pipeline, (["1"] * 19 + ["test"]) * 50)
    assert (monitor.version, monitor.findings.met, monitor.findings.served) == ("1", ["1", "test"], ["1"])
    watched = [columns.rows for columns in monitor.windows[Stream.PREDICTION].pending()]
    assert all(row % 20 != 19 for rows in watched for row in rows)
    await pipeline.flush()
    assert (await world.counters())["loans", "prediction"] == 1_000  # but they are predictions of the model


@pytest.mark.parametrize(("others", "in_service"), [(ASKED_EVERY // 2, "1"), (ASKED_EVERY // 2 + 1, "2")])
async def test_a_version_takes_over_once_it_made_more_than_half_of_a_hundred(
    world: World, others: int, in_service: str
) -> None:
    pipeline = await world.start()
    mixed = ["1"] * (ASKED_EVERY - others) + ["2"] * others
    before = await after(pipeline, mixed[:-1])
    assert before.version == "1"
    # one that names none is no evidence, and neither is one that was sent before
    again = made_by(["2"], ASKED_EVERY - 2)
    await pipeline.process(batch(*made_by([None], 500), *again, first=ASKED_EVERY - 1))
    assert pipeline.monitors["loans"].version == "1"
    await pipeline.process(batch(*made_by(mixed[-1:], 600), first=ASKED_EVERY + 1))
    assert pipeline.monitors["loans"].version == in_service


async def test_one_that_was_in_service_before_is_again_once_it_makes_nearly_all_predictions(world: World) -> None:
    pipeline = await world.start()
    monitor = await after(pipeline, ["1"] * 100 + ["2"] * 100 + ["1"] * 100)
    assert (monitor.version, monitor.findings.served) == ("1", ["1", "2", "1"])


async def test_two_versions_side_by_side_do_not_go_to_and_fro(world: World) -> None:
    rng = Random(3)
    monitor = await after(await world.start(), ["1"] * 100 + rng.choices("12", k=3_000))
    assert monitor.findings.served in (["1"], ["1", "2"])


async def test_a_service_that_has_not_loaded_what_was_deployed_takes_nothing_back(world: World) -> None:
    pipeline = await world.start()
    monitor = await after(pipeline, ["1"] * 30 + ["2"] * 60)
    await pipeline.change("loans", lambda one: one.adopt("3", {}))
    assert (await after(pipeline, ["1"] * 300, 90)).version == "3"
    await after(pipeline, ["3"] * 200, 390)
    # from now on that it is gone again says that somebody has taken it back
    await after(pipeline, ["1"] * 200, 590)
    assert (monitor.version, monitor.findings.served) == ("1", ["1"])


async def test_a_version_of_the_registry_takes_over_when_it_is_deployed_and_not_for_half_of_the_events(
    world: World,
) -> None:
    pipeline = await world.start()
    monitor = await after(pipeline, ["1"] * 100)
    monitor.know_versions(["2"])
    assert (await after(pipeline, ["2", "2", "2", "1"] * 100, 100)).version == "1"
    await pipeline.change("loans", lambda one: one.adopt("2", {}))
    assert monitor.version == "2"


async def test_a_version_that_events_named_before_the_daemon_stopped_can_still_take_over(world: World) -> None:
    pipeline = await world.start()
    await after(pipeline, ["1"] * 90 + ["2"] * 5)
    await pipeline.flush()
    async with world.stores[-1].begin() as connection:
        seen = {"model": "loans", "version": "2", "state": "seen", "origin": "external", "created": world.now}
        await connection.execute(tables.versions.insert().values(seen))
    pipeline = await world.start()
    monitor = await after(pipeline, ["2"] * 105, 95)
    assert (monitor.version, monitor.findings.met) == ("2", [])


async def test_whoever_names_a_new_version_with_each_event_is_told_of_so_often_only(world: World) -> None:
    monitor = await after(await world.start(), ["1", *(f"x{n}" for n in range(MOST_MET + 200)), *["2"] * 250])
    assert len(monitor.findings.met) == MOST_MET
    assert monitor.version == "2"


def busy(seed: int) -> list[bytes]:
    """Versions that come and go, some rows of none, some sent twice, with labels."""
    rng = Random(seed)
    lines: list[bytes] = []
    for stage in range(4):
        shares = [rng.random() for _ in range(3)]
        for number in range(stage * 120, stage * 120 + 120):
            version = rng.choices([str(stage), "0", None], shares)[0]
            fields = {} if version is None else {"version": version}
            lines.append(line(**prediction(max(0, number - rng.choice([0, 0, 0, 3])), rng, **fields)))
            lines.append(line(**label(max(0, number - rng.randrange(20)), rng.choice([0, 1]))))
    return lines


@given(
    seed=st.integers(0, 10**9),
    sizes=st.lists(st.integers(1, 200), max_size=20),
    lives=st.lists(st.integers(1, 8), max_size=4),
)
def test_batches_and_restarts_change_nothing(
    sqlite_databases: Sqlite, seed: int, sizes: list[int], lives: list[int]
) -> None:
    log = busy(seed)

    async def outcome(folder: Path, sizes: Sequence[int], lives: Sequence[int]) -> dict[str, Any]:
        world = World.made(folder, sqlite_databases, options=small())
        for taken in (*lives, None):
            pipeline = await world.start()
            first = (await pipeline.offsets()).get(TARGET, 0)
            for one in batches(log[first:], sizes, first)[:taken]:
                world.now += 10
                await pipeline.process(one)
            if taken is None:
                await pipeline.flush()
            else:
                await dying(torn=False)
        found = await world.outcome()
        await world.close()
        return found

    with tempfile.TemporaryDirectory() as folder:
        whole = asyncio.run(outcome(Path(folder) / "whole", [], []))
        cut = asyncio.run(outcome(Path(folder) / "cut", sizes, lives))
    for part, found in whole.items():
        assert cut[part] == found, part
