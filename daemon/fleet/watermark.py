"""Up to when all events have been handed over."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.stores.tables import parcels, partitions

UNREAD_SECONDS: Final = 60.0
"""A partition that nobody has read for so long, while others are read, is waited for no more."""


async def watermark(connection: AsyncConnection, now: float) -> float:
    """The time before which no event is still to come: none that counts as having arrived before it.

    Where there is one partition only its own order is all there is to go by, and nothing has to be waited for. A topic
    that was deleted, or is read no more, holds nobody up.
    """
    said = await _watermarks(connection, now)
    return float("inf") if len(said) == 1 else min(said, default=0.0)


async def heard_until(connection: AsyncConnection, models: Sequence[str], now: float) -> dict[str, float]:
    """Of each model the time up to which all that has arrived has been judged; while a backlog is read, it is past."""
    read = min(await _watermarks(connection, now), default=now)
    waiting = select(parcels.c.model, func.min(parcels.c.first).label("first"))
    waiting = waiting.where(parcels.c.model.in_(models), parcels.c.taken < parcels.c.events)
    firsts = {row.model: row.first for row in await connection.execute(waiting.group_by(parcels.c.model))}
    return {model: min(now, read, firsts.get(model, now)) for model in models}


async def _watermarks(connection: AsyncConnection, now: float) -> list[float]:
    """Of the partitions that somebody reads; of all of them, where nobody does."""
    rows = (await connection.execute(select(partitions.c.seen, partitions.c.watermark))).all()
    read = [row for row in rows if row.seen is not None and row.seen >= now - UNREAD_SECONDS] or rows
    return [0.0 if row.watermark is None else float(row.watermark) for row in read]
