"""What a store has of a model whose performance is estimated, as the daemon would leave it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from seeded_world import CHUNK, NOW, SECONDS_A_ROW
from sqlalchemy import insert

from daemon.checkpoint import ESTIMATE
from daemon.monitoring.charts import rows_of_estimates
from daemon.monitoring.estimate_chunks import EstimatedChunk
from daemon.monitoring.estimate_report import Turn
from daemon.monitoring.estimate_stream import EstimateStream
from daemon.monitoring.options import EstimateOptions
from daemon.monitoring.tasks import Task
from daemon.stores import tables

if TYPE_CHECKING:
    from daemon.stores.engine import Store

CHUNKS = 50
LABELLED = 40


def chunks() -> list[EstimatedChunk]:
    """An error that is estimated to rise a little from the fortieth chunk on, where no labels have come yet."""
    found = []
    for number in range(CHUNKS):
        mean = 0.16 + 0.004 * (number % 3) + (0.03 if number > LABELLED else 0.0)
        labels = CHUNK if number < LABELLED else 0
        first, ts = number * CHUNK, NOW - (2_000 + (48 - number) * CHUNK) * SECONDS_A_ROW
        known = (labels, labels * (mean + 0.005))
        found.append(
            EstimatedChunk(number, first, first + CHUNK - 1, ts, CHUNK, 0, mean, mean - 0.03, mean + 0.03, *known)
        )
    return found


def report(*, distrusted: bool = False, learned: bool = True) -> dict[str, Any]:
    """What is shown of it."""
    stream = EstimateStream(EstimateOptions(), 200_000)
    if not learned:
        return {**stream.report(Task.BINARY), "state": "learning", "learning": [312, 2_000]}
    stream.chunks.chunks = chunks()
    found = stream.report(Task.BINARY)
    if distrusted:
        since = Turn(22_300, NOW - 5_000.0, trusted=False)
        told = {"row": since.row, "ts": since.ts}
        return {**found, "state": "distrusted", "distrusted_since": told, "learning": [312, 2_000]}
    return {**found, "state": "trusted", "trusted": True, "learning": None}


async def seed_estimate(store: Store, model: str, found: dict[str, Any]) -> None:
    """Put it into the store, with its points."""
    async with store.begin() as connection:
        row = {"model": model, "part": ESTIMATE, "data": msgspec.msgpack.encode(found)}
        await connection.execute(insert(tables.states).values(row))
        if found["value"] is not None:
            points = rows_of_estimates([(one, "3") for one in chunks()], model)
            await connection.execute(insert(tables.signals), points)
