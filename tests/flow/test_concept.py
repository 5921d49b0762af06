"""An alarm about errors says which features moved with them, however the log was cut."""

import asyncio
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from databases import Sqlite
from hypothesis import given, settings
from hypothesis import strategies as st
from pipelines import World, batches
from seeded_events import label, line, prediction

from daemon.monitoring.findings import FEATURES_MOVED
from daemon.monitoring.options import MonitorOptions
from daemon.stores import tables

CHANGE = 900


def log(*, moves: bool) -> list[bytes]:
    """A model that errs more often from a row on, where the age of the applicants moves or does not."""
    rng, lines = Random(4), []
    for number in range(1_500):
        event = prediction(number, rng)
        changed = number >= CHANGE
        if changed and moves:
            event["features"]["age"] += 15
        lines.append(line(**event))
        wrong = rng.random() < (0.5 if changed else 0.1)
        lines.append(line(**label(number, event["prediction"] ^ wrong)))
    return lines


async def concept(folder: Path, sqlite_databases: Sqlite, lines: list[bytes], sizes: list[int]) -> dict[str, Any]:
    """The first alarm about errors."""
    world = World.made(folder, sqlite_databases, options=MonitorOptions(reference_rows=400))
    pipeline = await world.start()
    for one in batches(lines, sizes):
        world.now += 10
        await pipeline.process(one)
    await pipeline.flush()
    alarms = [row for row in await world.rows(tables.alarms) if row["kind"] == "concept"]
    await world.close()
    return min(alarms, key=lambda row: int(row["row"]))


async def test_the_features_that_moved_with_the_errors_are_ranked(tmp_path: Path, sqlite_databases: Sqlite) -> None:
    alarm = await concept(tmp_path, sqlite_databases, log(moves=True), [])
    assert alarm["signal"] == "error"
    assert CHANGE <= alarm["row"] <= CHANGE + 200
    assert [signal for signal, _ in alarm["ranking"]] == ["feature:age"]
    assert alarm["evidence"][FEATURES_MOVED] == 1


async def test_where_none_moved_that_is_said(tmp_path: Path, sqlite_databases: Sqlite) -> None:
    alarm = await concept(tmp_path, sqlite_databases, log(moves=False), [])
    assert (alarm["ranking"], alarm["evidence"][FEATURES_MOVED]) == ([], 0)


@settings(max_examples=10)
@given(st.lists(st.integers(1, 700), max_size=12), st.booleans())
def test_the_ranking_is_the_same_however_the_log_was_cut(
    sqlite_databases: Sqlite, sizes: list[int], moves: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole = asyncio.run(concept(Path(folder) / "whole", sqlite_databases, log(moves=moves), []))
        cut = asyncio.run(concept(Path(folder) / "cut", sqlite_databases, log(moves=moves), sizes))
    for name in ("row", "change_row", "evidence", "ranking"):
        assert cut[name] == whole[name], name
