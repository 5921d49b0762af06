"""Up to when all events have been handed over."""

from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.stores.tables import partitions

UNREAD_SECONDS: Final = 60.0
"""A partition that nobody has read for so long, while others are read, is waited for no more."""


async def watermark(connection: AsyncConnection, now: float) -> float:
    """The time before which no event is still to come: none that counts as having arrived before it.

    Where there is one partition only its own order is all there is to go by, and nothing has to be waited for. A topic
    that was deleted, or is read no more, holds nobody up.
    """
    rows = (await connection.execute(select(partitions.c.seen, partitions.c.watermark))).all()
    read = [row for row in rows if row.seen is not None and row.seen >= now - UNREAD_SECONDS] or rows
    if len(read) == 1:
        return float("inf")
    return min((row.watermark if row.watermark is not None else 0.0 for row in read), default=0.0)
