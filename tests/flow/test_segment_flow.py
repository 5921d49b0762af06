"""Segments through the whole pipeline: neither a crash, nor how the log is cut, nor how many work changes them."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from databases import Database, Sqlite
from fleets import Fleet, partitioned
from numpy.typing import NDArray
from pipelines import START, World
from seeded_segments import events, watching

from daemon.checkpoint import SEGMENTS
from daemon.cli import main
from daemon.monitoring.monitor import Monitor
from daemon.stores import tables

ROWS, CHANGE = 8_500, 5_000


def moved(rows: NDArray[np.int64], segments: NDArray[np.object_], columns: dict[str, NDArray[np.generic]]) -> None:
    columns["age"][(segments == "c2") & (rows >= CHANGE)] += 12


@pytest.fixture(scope="module")
def log() -> list[bytes]:
    return list(events(21, ROWS, channels=12, change=moved))


def loans(_: str) -> Monitor:
    return watching(reference_rows=1_000, segments=("carried", "feature:age"), max_gap=0.2)


async def outcome(world: World) -> dict[str, Any]:
    found = await world.outcome()
    report = [row["data"] for row in await world.rows(tables.states) if row["part"] == SEGMENTS]
    return {"alarms": found["alarms"], "segments": msgspec.msgpack.decode(report[0])}


async def through(folder: Path, database: Database, log: list[bytes], size: int, deaths: int = 0) -> dict[str, Any]:
    """What comes of a log that is read so."""
    world = World.made(folder, database, make=loans)
    await world.read(log, size, deaths)
    found = await outcome(world)
    await world.close()
    return found


async def test_neither_batches_nor_crashes_nor_workers_change_what_is_found(
    tmp_path: Path, sqlite_databases: Sqlite, log: list[bytes]
) -> None:
    expected = await through(tmp_path / "whole", sqlite_databases, log, 3_000)
    assert any("feature:age[channel=c2]" in alarm for alarm in expected["alarms"])
    assert [one["field"] for one in expected["segments"]["fields"]] == ["feature:age", "channel"]
    assert await through(tmp_path / "cut", sqlite_databases, log, 700) == expected
    assert await through(tmp_path / "broken", sqlite_databases, log, 900, deaths=3) == expected

    world = World.made(tmp_path / "fleet", sqlite_databases, make=loans, now=START + 1e6)
    fleet = Fleet(world, partitioned(log, 2, [number % 2 for number in range(len(log))], START))
    for name in ("a", "b"):
        await fleet.join(name)
    await fleet.assign({"a": [0], "b": [1]})
    while await fleet.read("a", 0, 1_000) | await fleet.read("b", 1, 1_000):
        world.now += 3.0
        await fleet.flush("a")
        await fleet.flush("b")
        await fleet.judge("a")
    await fleet.finish()
    assert await outcome(world) == expected
    await world.close()


def test_a_replay_prints_the_segment_and_the_ranking(tmp_path: Path, log: list[bytes]) -> None:
    history = tmp_path / "history.ndjson"
    history.write_bytes(b"\n".join(log) + b"\n")
    result = CliRunner().invoke(
        main, ["replay", str(history), "--reference-rows", "1000", "--json"], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    *alarms, _ = [json.loads(line) for line in result.stdout.splitlines()]
    alarm = next(one for one in alarms if one["signal"] == "feature:age[channel=c2]")
    assert alarm["evidence"]["segment"] == "channel=c2"
    assert alarm["evidence"]["segments"][0][:2] == ["channel=c2", "feature:age"]
