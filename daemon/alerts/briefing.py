"""What the store knows of an incident, read at the moment of saying it, so that what is said is true."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import RowMapping, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.alerts.alarm import Alarm
from daemon.alerts.inhibit import explanation
from daemon.alerts.notes import Note
from daemon.alerts.outbox import notes_of
from daemon.alerts.silences import Silence, active, silenced
from daemon.notifiers.base import Ref
from daemon.stores.tables import alarms, incidents, models
from detectors.base import Kind, Severity

MOST_ALARMS: Final = 60
"""Alarms of one incident that are read for a message; the rest are counted."""
MOST_NOTES: Final = 8


@dataclass(frozen=True, slots=True)
class Briefing:
    """One incident. ``alarms`` has the most urgent ones, open before closed; the counts are of all."""

    id: int
    model: str
    is_open: bool
    opened: float
    closed: float | None
    ref: Ref | None
    version: str | None
    alarms: tuple[Alarm, ...]
    open_count: int
    total_count: int
    notes: tuple[Note, ...]
    silences: tuple[Silence, ...]

    @property
    def explained(self) -> tuple[Alarm, ...]:
        """Open alarms that need no message of their own: broken data accounts for them."""
        return tuple(alarm for alarm in self.open if explanation(alarm, self.alarms))

    @property
    def quiet(self) -> tuple[Alarm, ...]:
        """Open alarms about which somebody asked for quiet."""
        return tuple(alarm for alarm in self.open if silenced(self.silences, alarm.signal))

    @property
    def open(self) -> tuple[Alarm, ...]:
        """The alarms that are open."""
        return tuple(alarm for alarm in self.alarms if alarm.is_open)

    @property
    def hidden(self) -> int:
        """Open alarms that are only counted."""
        return self.open_count - len(self.open)

    @property
    def told(self) -> tuple[Alarm, ...]:
        """Open alarms that somebody should hear of; all open ones where every one is held back."""
        held = {alarm.id for alarm in (*self.explained, *self.quiet)}
        return tuple(alarm for alarm in self.open if alarm.id not in held) or self.open


async def load(connection: AsyncConnection, incident: int, now: float) -> Briefing:
    """Read an incident. Raises LookupError where there is none of this number."""
    row = (await connection.execute(select(incidents).where(incidents.c.id == incident))).mappings().first()
    if row is None:
        raise LookupError(f"there is no incident {incident}")
    model = row["model"]
    version = (await connection.execute(select(models.c.version).where(models.c.model == model))).scalar()
    # the conditions on the model are what there is an index for
    mine = (alarms.c.model == model) & (alarms.c.incident == incident)
    opened = func.count().filter(alarms.c.state == "open")
    counts = (await connection.execute(select(func.count(), opened).where(mine))).one()
    return Briefing(
        id=incident,
        model=model,
        is_open=row["state"] == "open",
        opened=row["opened"],
        closed=row["closed"],
        ref=ref_of(row),
        version=version,
        alarms=tuple(Alarm.from_row(dict(found)) for found in await _most_urgent(connection, mine)),
        open_count=counts[1],
        total_count=counts[0],
        notes=tuple(await notes_of(connection, incident, MOST_NOTES)),
        silences=tuple(await active(connection, model, now)),
    )


def ref_of(row: RowMapping) -> Ref | None:
    """The message that a service already has of an incident."""
    return Ref(row["channel"], row["message_ts"]) if row["message_ts"] and row["channel"] else None


async def alarms_by_id(connection: AsyncConnection, ids: Iterable[int]) -> list[Alarm]:
    """These alarms, in the order of their numbers; numbers that there are not are left out."""
    query = select(alarms).where(alarms.c.id.in_(list(ids))).order_by(alarms.c.id)
    return [Alarm.from_row(dict(row)) for row in (await connection.execute(query)).mappings()]


async def _most_urgent(connection: AsyncConnection, mine: Any) -> list[RowMapping]:
    query = select(alarms).where(mine)
    order = (
        case((alarms.c.state == "open", 0), else_=1),
        # these decide what else is said, so none may be beyond the limit because of what they explain
        case((alarms.c.kind == Kind.QUALITY, 0), else_=1),
        case((alarms.c.severity == Severity.CRITICAL, 0), else_=1),
        alarms.c.id,
    )
    return list((await connection.execute(query.order_by(*order).limit(MOST_ALARMS))).mappings())
