"""However many workers share the work, it comes to what one log in the order of arrival would have come to."""

from pathlib import Path
from typing import Any

import pytest
from databases import Database
from fleets import Fleet, partitioned
from pipelines import START, World, batches, small
from seeded_events import anything, traffic

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
