"""The way of events from bytes to checkpointed verdicts, however the log was cut into batches."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipelines import World, batches, small
from seeded_events import anything

from daemon.stores.engine import sqlite_url
from daemon.stores.migrate import upgrade


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without anything in it."""
    path = tmp_path_factory.mktemp("empty") / "store.db"
    asyncio.run(upgrade(sqlite_url(path)))
    return path


async def run(
    folder: Path, empty: Path, log: Sequence[bytes], sizes: Sequence[int], due: Sequence[bool]
) -> dict[str, Any]:
    """What comes of a log that is cut into batches of these sizes, with a checkpoint begun after those that are due."""
    world = World.made(folder, empty, options=small())
    pipeline = await world.start()
    try:
        for number, one in enumerate(batches(log, sizes)):
            world.now += 10 if number < len(due) and due[number] else 0
            await pipeline.process(one)
        await pipeline.flush()
        return await world.outcome()
    finally:
        await world.close()


@given(
    seed=st.integers(0, 10**9),
    count=st.integers(1, 300),
    sizes=st.lists(st.integers(1, 60), max_size=30),
    due=st.lists(st.booleans(), max_size=30),
)
def test_how_a_log_is_cut_into_batches_and_checkpoints_changes_nothing(
    empty: Path, seed: int, count: int, sizes: list[int], due: list[bool]
) -> None:
    log = anything(seed, count)
    with tempfile.TemporaryDirectory() as folder:
        whole = asyncio.run(run(Path(folder) / "whole", empty, log, [], []))
        cut = asyncio.run(run(Path(folder) / "cut", empty, log, sizes, due))
    for part, outcome in whole.items():
        assert cut[part] == outcome, part
