"""Events that were put aside: sent through again on request, and kept within limits."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, func, select, update

from daemon.events.event import Rejected
from daemon.stores.engine import Store
from daemon.stores.retention import delete_in_parts
from daemon.stores.tables import dead_letters
from daemon.transports.base import TopicPartition

DAY_SECONDS: Final = 86_400.0
AT_ONCE: Final = 500
"""Letters that are read from the store at one time; their bodies are held in memory meanwhile."""

Append = Callable[[bytes, int], Awaitable[object]]
"""Adds a value of so many events to the log, and returns when it is durable."""

_letters: Final = dead_letters.c


def dead_letter(rejected: Rejected, target: TopicPartition, offset: int, at: float) -> dict[str, Any]:
    """A row of the table."""
    return {
        "topic": target.topic,
        "partition": target.partition,
        "offset": offset,
        "line": rejected.line,
        "model": rejected.model,
        "reason": rejected.reason.value,
        "detail": rejected.detail,
        "body": rejected.body,
        "at": at,
    }


async def resend(store: Store, append: Append, letters: Sequence[int] | None, now: float) -> int:
    """Send letters through again, oldest first, and return how many that were.

    ``letters`` are their numbers; None is all that have not been sent again. One that still cannot be used becomes a
    letter again. A crash between the log and the store sends a letter twice: events with an id count once all the same.
    Raises what ``append`` raises; what was sent before that is marked.
    """
    which = _letters.resent.is_(None) if letters is None else _letters.id.in_(letters)
    sent, after = 0, 0
    while True:
        async with store.read() as connection:
            some = (
                await connection.execute(
                    select(_letters.id, _letters.body)
                    .where(which, _letters.id > after)
                    .order_by(_letters.id)
                    .limit(AT_ONCE)
                )
            ).all()
        if not some:
            return sent
        for letter, body in some:
            await append(body, 1)
            async with store.begin() as connection:
                await connection.execute(update(dead_letters).where(_letters.id == letter).values(resent=now))
            sent, after = sent + 1, letter


async def trim(store: Store, *, most_events: int, most_bytes: int, days: float, now: float) -> int:
    """Let the oldest go beyond a limit, and return how many that were."""
    gone = await delete_in_parts(store, dead_letters, _letters.at < now - days * DAY_SECONDS)
    async with store.read() as connection:
        kept = func.row_number().over(order_by=_letters.id.desc())
        size = func.sum(func.length(_letters.body)).over(order_by=_letters.id.desc())
        sized = select(_letters.id, kept.label("kept"), size.label("size")).subquery()
        beyond: ColumnElement[bool] = (sized.c.kept > most_events) | (sized.c.size > most_bytes)
        newest = (await connection.execute(select(func.max(sized.c.id)).where(beyond))).scalar()
    if newest is not None:
        gone += await delete_in_parts(store, dead_letters, _letters.id <= newest)
    return gone
