"""The sender's side of the outbox: claim a row, say what it asks for, and write down what came of it.

A row is marked as possibly sent before it leaves, so that a sender that dies on the way leaves a trace: whoever sends
the row next tells the reader that it may be a repeat.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import RowMapping, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.alerts.briefing import alarms_by_id, load
from daemon.alerts.outbox import DropReason, News, RowKind, RowState, Subject, tell
from daemon.alerts.wording import compose, compose_alone, compose_detail, compose_news
from daemon.notifiers.base import Delivery, Failed, Manner, Outcome, RetryLater, Sent
from daemon.stores.tables import incidents, outbox

LEASE_SECONDS: Final = 30.0
"""A claimed row belongs to its sender for so long; longer than any notifier takes for one try."""
MOST_ROWS: Final = 200
"""Rows looked at for the next one to send."""
LONGEST_WAIT: Final = 3700.0
"""No row is told to wait longer: one that seems to was stored before the clock was set back."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One row that is being sent. ``attempts`` counts this try; ``in_doubt`` says that an earlier one got no answer."""

    row: int
    model: str
    incident: int | None
    kind: RowKind
    attempts: int
    in_doubt: bool
    news: News
    delivery: Delivery


async def waiting(connection: AsyncConnection) -> Sequence[RowMapping]:
    """The rows to send, oldest first."""
    query = select(outbox).where(outbox.c.state == RowState.WAITING).order_by(outbox.c.id).limit(MOST_ROWS)
    return (await connection.execute(query)).mappings().all()


async def count_waiting(connection: AsyncConnection) -> int:
    """How many rows wait."""
    query = select(func.count()).select_from(outbox).where(outbox.c.state == RowState.WAITING)
    return int((await connection.execute(query)).scalar_one())


async def hurry(connection: AsyncConnection, now: float) -> None:
    """Try at once what failed before: whatever was wrong may have been mended before this start."""
    failed = (outbox.c.state == RowState.WAITING) & outbox.c.error.is_not(None)
    await connection.execute(update(outbox).where(failed).values(not_before=now))


def choose(rows: Sequence[RowMapping], now: float) -> RowMapping | float | None:
    """The row to send now, or the seconds until there is one, or None where nothing waits.

    Rows of one incident go in order: none overtakes an older one that waits.
    """
    seen: set[int] = set()
    soonest: float | None = None
    for row in rows:
        if row["incident"] in seen:
            continue
        if row["incident"] is not None:
            seen.add(row["incident"])
        wait = row["not_before"] - now
        if wait <= 0 or wait > LONGEST_WAIT:
            return row
        soonest = wait if soonest is None else min(soonest, wait)
    return soonest


async def claim(
    connection: AsyncConnection, row: RowMapping, now: float, *, threads: bool, page_url: str | None
) -> Claim | None:
    """Take a row for sending and make its words. None where another sender has it, or where it has become idle talk."""
    mine = (outbox.c.id == row["id"]) & (outbox.c.state == RowState.WAITING) & (outbox.c.attempts == row["attempts"])
    changes = {
        "attempts": row["attempts"] + 1,
        "maybe_sent": True,
        "not_before": now + LEASE_SECONDS,
        "error": None,
    }
    taken = await connection.execute(update(outbox).where(mine).values(changes).returning(outbox.c.kind, outbox.c.body))
    found = taken.first()
    if found is None:
        return None
    news = News.from_body(found.body)
    # a row is only merged into while it is not in doubt, so what was read before the claim still holds
    in_doubt, kind = bool(row["maybe_sent"]), RowKind(found.kind)
    delivery = await _delivery(connection, row, kind, news, now, threads=threads, page_url=page_url)
    if delivery is None:
        dropped = {"state": RowState.DROPPED, "error": DropReason.NO_THREAD, "maybe_sent": in_doubt}
        await connection.execute(update(outbox).where(outbox.c.id == row["id"]).values(dropped))
        return None
    doubtful = Delivery(delivery.message, delivery.manner, delivery.ref, in_doubt, news.loud, news.bare)
    return Claim(row["id"], row["model"], row["incident"], kind, row["attempts"] + 1, in_doubt, news, doubtful)


async def _delivery(
    connection: AsyncConnection,
    row: RowMapping,
    kind: RowKind,
    news: News,
    now: float,
    *,
    threads: bool,
    page_url: str | None,
) -> Delivery | None:
    if row["incident"] is None:
        return Delivery(compose_alone(row["model"], news.notes, page_url))
    brief = await load(connection, row["incident"], now)
    if kind is RowKind.DETAIL:
        if not threads or brief.ref is None:
            return None
        alarms = await alarms_by_id(connection, news.alarms)
        return Delivery(compose_detail(alarms, news.notes, brief), Manner.REPLY, brief.ref)
    if threads or kind is RowKind.OPENED:
        manner = Manner.EDIT if threads and brief.ref is not None else Manner.POST
        return Delivery(compose(brief, page_url), manner, brief.ref if manner is Manner.EDIT else None)
    alarms = await alarms_by_id(connection, news.alarms)
    return Delivery(compose_news(brief, alarms, news.notes, page_url))


async def record(
    connection: AsyncConnection, claimed: Claim, outcome: Outcome, now: float, wait: float, *, threads: bool
) -> None:
    """Write down what came of a try; ``wait`` is the time until the next, in seconds, where it failed."""
    mine = (outbox.c.id == claimed.row) & (outbox.c.state == RowState.WAITING) & (outbox.c.attempts == claimed.attempts)
    changes = _changes(claimed, outcome, now, wait)
    if not (await connection.execute(update(outbox).where(mine).values(changes))).rowcount:
        return  # the lease ran out and another sender has the row
    if not isinstance(outcome, Sent) or claimed.incident is None or claimed.kind is RowKind.DETAIL:
        return
    if outcome.ref is not None:
        ref = {"message_ts": outcome.ref.ts, "channel": outcome.ref.channel}
        await connection.execute(update(incidents).where(incidents.c.id == claimed.incident).values(ref))
    if threads and (claimed.news or claimed.news.loud or claimed.kind is RowKind.CLOSED):
        await tell(connection, Subject(claimed.model, claimed.incident), RowKind.DETAIL, claimed.news, now)


def _changes(claimed: Claim, outcome: Outcome, now: float, wait: float) -> dict[str, Any]:
    if isinstance(outcome, Sent):
        return {"state": RowState.SENT, "sent": now, "maybe_sent": claimed.in_doubt}
    later = {
        "not_before": now + wait,
        "error": f"{outcome.problem}: {outcome.hint}",
        "maybe_sent": claimed.in_doubt or (isinstance(outcome, RetryLater) and outcome.maybe_sent),
    }
    if not isinstance(outcome, Failed) or outcome.permanent:
        return later
    if claimed.news.bare:
        return {"state": RowState.DROPPED, "error": DropReason.REFUSED, "maybe_sent": claimed.in_doubt}
    claimed.news.bare = True
    return later | {"body": claimed.news.to_body()}
