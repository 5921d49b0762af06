"""Whatever ends the process, or keeps it from its store, the outcome is that of an unbroken run."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipelines import TARGET, World, batches, dying, small
from seeded_events import anything

from daemon.stores.engine import sqlite_url
from daemon.stores.migrate import upgrade


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without anything in it."""
    path = tmp_path_factory.mktemp("empty") / "store.db"
    asyncio.run(upgrade(sqlite_url(path)))
    return path


async def unbroken(folder: Path, empty: Path, log: list[bytes]) -> dict[str, Any]:
    world = World.made(folder, empty, options=small())
    pipeline = await world.start()
    for one in batches(log):
        await pipeline.process(one)
    await pipeline.flush()
    outcome = await world.outcome()
    await world.close()
    return outcome


async def broken(
    folder: Path, empty: Path, log: list[bytes], sizes: list[int], lives: list[tuple[int, int]], *, torn: bool
) -> dict[str, Any]:
    """The same log, through processes that each die: ``lives`` are batches taken, and batches per checkpoint."""
    world = World.made(folder, empty, options=small())
    for taken, every in lives:
        pipeline = await world.start()
        first = (await pipeline.offsets()).get(TARGET, 0)
        for number, one in enumerate(batches(log[first:], sizes, first)[:taken]):
            world.now += 10 if number % every == every - 1 else 0
            await pipeline.process(one)
        await dying(torn=torn)
        await world.close()
    pipeline = await world.start()
    first = (await pipeline.offsets()).get(TARGET, 0)
    for one in batches(log[first:], sizes, first):
        await pipeline.process(one)
    await pipeline.flush()
    outcome = await world.outcome()
    await world.close()
    return outcome


@given(
    seed=st.integers(0, 10**9),
    count=st.integers(1, 300),
    sizes=st.lists(st.integers(1, 60), max_size=30),
    lives=st.lists(st.tuples(st.integers(1, 10), st.integers(1, 4)), min_size=1, max_size=6),
    torn=st.booleans(),
)
def test_a_process_that_dies_anywhere_changes_nothing(
    empty: Path, seed: int, count: int, sizes: list[int], lives: list[tuple[int, int]], torn: bool
) -> None:
    log = anything(seed, count)
    with tempfile.TemporaryDirectory() as folder:
        whole = asyncio.run(unbroken(Path(folder) / "whole", empty, log))
        cut = asyncio.run(broken(Path(folder) / "broken", empty, log, sizes, lives, torn=torn))
    for part, outcome in whole.items():
        assert cut[part] == outcome, part
