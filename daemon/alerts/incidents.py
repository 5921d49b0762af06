"""Alarms become one incident a model, and everything that happens to it becomes news in the outbox.

Each function takes part in the transaction of what it is about, and only writes to the store: nothing is sent here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import RowMapping, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.alerts.alarm import Alarm
from daemon.alerts.briefing import Briefing, alarms_by_id, load
from daemon.alerts.inhibit import explanation
from daemon.alerts.notes import ALONE, LOUD, Note, NoteKind
from daemon.alerts.outbox import (
    HELD,
    DropReason,
    News,
    RowKind,
    RowState,
    Subject,
    held_rows,
    hold,
    rewrite_held,
    tell,
    was_told,
)
from daemon.alerts.silences import active, silenced
from daemon.alerts.wording import compose
from daemon.stores.tables import alarms, incidents, outbox
from detectors.base import Severity

GROUP_SECONDS: Final = 5.0
"""An incident waits so long for further alarms before it is first said."""
REPEAT_SECONDS: Final = 24 * 3600.0
"""An incident that stays open is said again after so long."""
UPDATE_SECONDS: Final = 15.0
"""And so long between alarms that join it, unless one is more urgent than those before."""


async def raise_alarm(
    connection: AsyncConnection, model: str, alarm_id: int, now: float, *, group_seconds: float = GROUP_SECONDS
) -> int:
    """``raise_alarms`` for one alarm."""
    return await raise_alarms(connection, model, [alarm_id], now, group_seconds=group_seconds)


async def raise_alarms(
    connection: AsyncConnection, model: str, ids: Sequence[int], now: float, *, group_seconds: float = GROUP_SECONDS
) -> int:
    """Put open alarms, whose rows are in the store already, into the model's incident; return the incident's number.

    One incident of a model is open at a time; the first alarm opens it. What a silence or broken data accounts for is
    part of the incident and not said. ``group_seconds`` is how long a new incident waits for company. Raises
    LookupError where one of the alarms is not the model's.
    """
    incident = await _open_incident(connection, model)
    if incident is None:
        incident = await _open(connection, model, now)
    mine = (alarms.c.id.in_(ids)) & (alarms.c.model == model)
    if (await connection.execute(update(alarms).where(mine).values(incident=incident))).rowcount != len(set(ids)):
        raise LookupError(f"model {model} has not all of the alarms {', '.join(map(str, ids))}")
    brief = await load(connection, incident, now)
    fresh = await alarms_by_id(connection, ids)
    free = [one for one in fresh if _why_not(one, brief) is None]
    for reason in HELD:
        held = [one.id for one in fresh if _why_not(one, brief) is reason]
        if held:
            await hold(connection, Subject(model, incident), News(held), reason, now)
    if free:
        await _tell_alarms(connection, brief, free, now, group_seconds)
    await _set_headline(connection, brief)
    return incident


async def _tell_alarms(
    connection: AsyncConnection, brief: Briefing, fresh: Sequence[Alarm], now: float, group_seconds: float
) -> None:
    subject, news = Subject(brief.model, brief.id), News([one.id for one in fresh])
    if not await was_told(connection, brief.id):
        await tell(connection, subject, RowKind.OPENED, news, now, wait=group_seconds)
        return
    ids = set(news.alarms)
    known = [one.severity for one in brief.told if one.id not in ids]
    news.loud = Severity.CRITICAL in [one.severity for one in fresh] and Severity.CRITICAL not in known
    await tell(connection, subject, RowKind.UPDATED, news, now, wait=0.0 if news.loud else UPDATE_SECONDS)


async def note(
    connection: AsyncConnection, model: str, kind: NoteKind, fields: Mapping[str, Any], now: float
) -> int | None:
    """Say what is being done about the model's open incident, and return the incident's number.

    Without an open incident only what matters by itself is said (``notes.ALONE``), as a message of its own, and None is
    returned. ``fields`` (JSON-able) are those that the kind names.
    """
    incident = await _open_incident(connection, model)
    if incident is None and kind not in ALONE:
        return None
    news = News(notes=[Note(kind, now, dict(fields))], loud=kind in LOUD)
    if incident is not None and not await was_told(connection, incident):
        await hold(connection, Subject(model, incident), news, DropReason.NOTHING_SAID, now)
    elif silenced(await active(connection, model, now), None):
        await hold(connection, Subject(model, incident), news, DropReason.SILENCED, now)
    else:
        await tell(connection, Subject(model, incident), RowKind.UPDATED, news, now)
    if incident is not None:
        await _set_headline(connection, await load(connection, incident, now))
    return incident


async def acknowledge(connection: AsyncConnection, alarm_id: int, by: str, now: float) -> bool:
    """Somebody has seen an open alarm and looks after it. False where it is not open or somebody already does."""
    query = update(alarms).where(alarms.c.id == alarm_id, alarms.c.state == "open", alarms.c.acknowledged_by.is_(None))
    found = await connection.execute(query.values(acknowledged_by=by, acknowledged=now).returning(alarms.c.model))
    model = found.scalar()
    if model is None:
        return False
    await note(connection, model, NoteKind.ACKNOWLEDGED, {"by": by}, now)
    return True


async def close_if_over(connection: AsyncConnection, model: str, now: float) -> bool:
    """To be called when alarms of a model were closed: closes its incident if they were the last, and says so.

    Where others are still open, those that the closed ones explained are said now. Returns whether it was closed.
    """
    incident = await _open_incident(connection, model)
    if incident is None:
        return False
    still = select(alarms.c.id).where(alarms.c.model == model, alarms.c.state == "open", alarms.c.incident == incident)
    if (await connection.execute(still.limit(1))).first() is not None:
        await reconsider(connection, now, model)
        await _set_headline(connection, await load(connection, incident, now))
        return False
    await connection.execute(update(incidents).where(incidents.c.id == incident).values(state="closed", closed=now))
    if await was_told(connection, incident):
        if silenced(await active(connection, model, now), None):
            await hold(connection, Subject(model, incident), News(), DropReason.SILENCED, now)
        else:
            await tell(connection, Subject(model, incident), RowKind.CLOSED, News(), now)
    await reconsider(connection, now, model)
    await _set_headline(connection, await load(connection, incident, now))
    return True


async def reconsider(connection: AsyncConnection, now: float, model: str | None = None) -> None:
    """Say what was held back, of one model or of all, where the reason has ended and it still holds."""
    for row in await held_rows(connection, model):
        news = News.from_body(row["body"])
        if row["incident"] is None:
            if not silenced(await active(connection, row["model"], now), None):
                await rewrite_held(connection, row["id"], News(), DropReason.SAID_LATER)
                await tell(connection, Subject(row["model"], None), RowKind.UPDATED, news, now)
            continue
        await _reconsider(connection, row, news, now)


async def _reconsider(connection: AsyncConnection, row: RowMapping, news: News, now: float) -> None:
    incident, model = row["incident"], row["model"]
    brief = await load(connection, incident, now)
    told = await was_told(connection, incident)
    quiet = silenced(brief.silences, None)
    if not brief.is_open:
        if not told or await was_told(connection, incident, RowKind.CLOSED):
            await rewrite_held(connection, row["id"], news, DropReason.OVER)
        elif not quiet:
            await rewrite_held(connection, row["id"], News(), DropReason.SAID_LATER)
            await tell(connection, Subject(model, incident), RowKind.CLOSED, News(notes=news.notes), now)
        return
    still = [one for one in await alarms_by_id(connection, news.alarms) if one.is_open]
    reasons = {one.id: _why_not(one, brief) for one in still}
    free = News([one.id for one in still if reasons[one.id] is None], loud=news.loud)
    held = News([one.id for one in still if reasons[one.id] is not None], loud=news.loud)
    (held if quiet else free).notes = news.notes
    if held or not free:
        reason = next((reason for reason in reasons.values() if reason), DropReason.SILENCED if held else None)
        await rewrite_held(connection, row["id"], held, reason or DropReason.OVER)
    else:
        await rewrite_held(connection, row["id"], News(), DropReason.SAID_LATER)
    if free.alarms or (free.notes and told):
        await tell(connection, Subject(model, incident), RowKind.UPDATED if told else RowKind.OPENED, free, now)


async def last_said(connection: AsyncConnection) -> dict[str, float]:
    """The models with an open incident of which something was said, and when that was last (epoch seconds)."""
    query = (
        select(incidents.c.model, func.max(outbox.c.sent))
        .join_from(incidents, outbox, outbox.c.incident == incidents.c.id)
        .where(incidents.c.state == "open", outbox.c.state == RowState.SENT)
        .group_by(incidents.c.model)
    )
    return {model: last for model, last in (await connection.execute(query)).all() if last is not None}


async def remind(connection: AsyncConnection, model: str, now: float) -> bool:
    """Say the model's open incident once more, unless something of it waits to be said or somebody looks after it."""
    incident = await _open_incident(connection, model)
    if incident is None:
        return False
    waits = select(outbox.c.id).where(outbox.c.incident == incident, outbox.c.state == RowState.WAITING)
    if (await connection.execute(waits.limit(1))).first() is not None:
        return False
    brief = await load(connection, incident, now)
    if all(one.acknowledged_by or _why_not(one, brief) for one in brief.open):
        return False
    await tell(connection, Subject(model, incident), RowKind.UPDATED, News(loud=True), now)
    return True


def _why_not(alarm: Alarm, brief: Briefing) -> DropReason | None:
    if silenced(brief.silences, alarm.signal):
        return DropReason.SILENCED
    return DropReason.INHIBITED if explanation(alarm, brief.alarms) else None


async def _open_incident(connection: AsyncConnection, model: str) -> int | None:
    query = select(incidents.c.id).where(incidents.c.model == model, incidents.c.state == "open")
    found: int | None = (await connection.execute(query.order_by(incidents.c.id).limit(1))).scalar()
    return found


async def _open(connection: AsyncConnection, model: str, now: float) -> int:
    result = await connection.execute(insert(incidents).values(model=model, state="open", opened=now))
    key = result.inserted_primary_key
    assert key is not None  # noqa: S101 (one row was inserted)
    return int(key[0])


async def _set_headline(connection: AsyncConnection, brief: Briefing) -> None:
    headline = compose(brief).headline
    await connection.execute(update(incidents).where(incidents.c.id == brief.id).values(headline=headline))
