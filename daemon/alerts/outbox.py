"""The outbox: what is still to be said, written in the transaction of what it is about.

A row says which incident has something new and what; the words are made when it is sent, from the store as it is then.
News of one incident that wait are merged into one row, so the outbox of an incident is short however much happens.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import RowMapping, Select, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.alerts.notes import Note, NoteKind
from daemon.stores.engine import Store
from daemon.stores.retention import delete_in_parts
from daemon.stores.tables import incidents, outbox

MOST_NOTES: Final = 50
"""Notes kept in one row; the oldest go first."""


class RowKind(StrEnum):
    """What a row asks for."""

    OPENED = "opened"
    """The first message of an incident."""
    UPDATED = "updated"
    CLOSED = "closed"
    DETAIL = "detail"
    """What an edited message cannot show: the news themselves, in the thread."""


class RowState(StrEnum):
    """What has become of a row."""

    WAITING = "waiting"
    SENT = "sent"
    DROPPED = "dropped"


class DropReason(StrEnum):
    """Why something was not sent."""

    SILENCED = "silenced"
    """Somebody asked for quiet. It is said when the silence ends and it still holds."""
    INHIBITED = "inhibited"
    """An open data-quality alarm explains it. It is said when that one closes and it still holds."""
    NOTHING_SAID = "nothing_said"
    """News of an incident of which nothing was ever said."""
    OVER = "over"
    """It was held back, and ended before it could be said."""
    SAID_LATER = "said_later"
    """It was held back, and said once that had ended."""
    NO_THREAD = "no_thread"
    """A detail, and no message of this service to put it under."""
    REFUSED = "refused"
    """The service takes messages but not this one, not even without markup."""


HELD: Final = (DropReason.SILENCED, DropReason.INHIBITED)
"""Reasons that may end."""


@dataclass(slots=True)
class News:
    """What is new: ids of alarms, and notes. ``loud`` news deserve to be seen at once."""

    alarms: list[int] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    loud: bool = False
    bare: bool = False
    """The service refused the markup of this row: words only."""

    def __bool__(self) -> bool:
        return bool(self.alarms or self.notes)

    def join(self, more: "News") -> None:
        """Take in ``more``, which came later."""
        known = set(self.alarms)
        self.alarms += [alarm for alarm in more.alarms if alarm not in known]
        self.notes = [*self.notes, *more.notes][-MOST_NOTES:]
        self.loud = self.loud or more.loud

    def to_body(self) -> dict[str, Any]:
        """As the row stores it."""
        notes = [{"kind": note.kind.value, "at": note.at, "fields": dict(note.fields)} for note in self.notes]
        return {"alarms": self.alarms, "notes": notes, "loud": self.loud, "bare": self.bare}

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> "News":
        """As it was stored."""
        notes = [Note(NoteKind(note["kind"]), note["at"], note["fields"]) for note in body.get("notes", [])]
        return cls(list(body.get("alarms", [])), notes, bool(body.get("loud")), bool(body.get("bare")))


@dataclass(frozen=True, slots=True)
class Subject:
    """What news are about: an incident, or with None just its model."""

    model: str
    incident: int | None


async def tell(
    connection: AsyncConnection, subject: Subject, kind: RowKind, news: News, now: float, *, wait: float = 0
) -> None:
    """Say ``news`` in ``wait`` seconds at the earliest, together with whatever of the incident still waits.

    A row that is just being sent is left alone: its words are already chosen.
    """
    last = await _last_waiting(connection, subject, detail=kind is RowKind.DETAIL)
    if last is None or last["maybe_sent"]:
        await _insert(connection, subject, kind, news, now=now, not_before=now + wait)
        return
    merged = News.from_body(last["body"])
    merged.join(news)
    # an incident that opens and closes before anybody heard of it is still one first message
    closes = kind is RowKind.CLOSED and last["kind"] == RowKind.UPDATED
    await connection.execute(
        update(outbox)
        .where(outbox.c.id == last["id"])
        .values(
            kind=RowKind.CLOSED if closes else last["kind"],
            body=merged.to_body(),
            not_before=min(last["not_before"], now + wait),
        )
    )


async def hold(connection: AsyncConnection, subject: Subject, news: News, reason: DropReason, now: float) -> None:
    """Do not say ``news``, and remember why. One row an incident and reason takes them all."""
    query = select(outbox).where(
        outbox.c.state == RowState.DROPPED,
        outbox.c.model == subject.model,
        outbox.c.incident == subject.incident,
        outbox.c.error == reason,
    )
    row = (await connection.execute(query.limit(1).with_for_update())).mappings().first()
    if row is None:
        await _insert(connection, subject, RowKind.UPDATED, news, now=now, not_before=now, reason=reason)
        return
    merged = News.from_body(row["body"])
    merged.join(news)
    await connection.execute(update(outbox).where(outbox.c.id == row["id"]).values(body=merged.to_body()))


async def was_told(connection: AsyncConnection, incident: int, kind: RowKind = RowKind.OPENED) -> bool:
    """Whether the incident's first message (or one of another kind) has gone out or waits to."""
    query = select(outbox.c.id).where(
        outbox.c.incident == incident, outbox.c.kind == kind, outbox.c.state.in_([RowState.WAITING, RowState.SENT])
    )
    return (await connection.execute(query.limit(1))).first() is not None


async def notes_of(connection: AsyncConnection, incident: int, most: int) -> list[Note]:
    """The last ``most`` notes on an incident, oldest first, said or not."""
    query = select(outbox.c.body).where(outbox.c.incident == incident, outbox.c.kind != RowKind.DETAIL)
    bodies = (await connection.execute(query.order_by(outbox.c.id))).scalars()
    notes = [note for body in bodies for note in News.from_body(body).notes]
    return sorted(notes, key=lambda note: note.at)[-most:]


async def held_rows(connection: AsyncConnection, model: str | None = None) -> list[RowMapping]:
    """Rows that were not sent for a reason that may have ended, of one model or of all."""
    query: Select[Any] = select(outbox).where(outbox.c.state == RowState.DROPPED, outbox.c.error.in_(HELD))
    if model is not None:
        query = query.where(outbox.c.model == model)
    return list((await connection.execute(query.order_by(outbox.c.id).with_for_update())).mappings())


async def rewrite_held(connection: AsyncConnection, row: int, left: News, reason: DropReason) -> None:
    """What is still held of a row, and why."""
    await connection.execute(update(outbox).where(outbox.c.id == row).values(body=left.to_body(), error=reason))


async def prune(store: Store, before: float) -> int:
    """Forget rows older than ``before`` (epoch seconds) that nothing will ask for again; return how many."""
    unfinished = select(incidents.c.id).where(incidents.c.state == "open")
    old = (outbox.c.state != RowState.WAITING) & (outbox.c.created < before)
    alone = outbox.c.incident.is_(None)
    return await delete_in_parts(store, outbox, old & (alone | outbox.c.incident.not_in(unfinished)))


async def _last_waiting(connection: AsyncConnection, subject: Subject, *, detail: bool) -> RowMapping | None:
    if subject.incident is None:
        return None
    of_kind = (outbox.c.kind == RowKind.DETAIL) if detail else (outbox.c.kind != RowKind.DETAIL)
    query = select(outbox).where(outbox.c.state == RowState.WAITING, outbox.c.incident == subject.incident, of_kind)
    last = query.order_by(outbox.c.id.desc()).limit(1).with_for_update()
    return (await connection.execute(last)).mappings().first()


async def _insert(
    connection: AsyncConnection,
    subject: Subject,
    kind: RowKind,
    news: News,
    *,
    now: float,
    not_before: float,
    reason: DropReason | None = None,
) -> None:
    await connection.execute(
        insert(outbox).values(
            incident=subject.incident,
            model=subject.model,
            kind=kind,
            body=news.to_body(),
            state=RowState.WAITING if reason is None else RowState.DROPPED,
            created=now,
            not_before=not_before,
            error=reason,
        )
    )
