"""Silences: who asked for quiet, about what, and until when."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.stores.tables import silences


@dataclass(frozen=True, slots=True)
class Silence:
    """Quiet about one signal of a model, or about all of it (``signal`` is None), until ``until`` (epoch seconds)."""

    id: int
    model: str
    signal: str | None
    until: float
    by: str
    reason: str

    def covers(self, signal: str | None) -> bool:
        """Whether it asks for quiet about ``signal``; None stands for what is about the model as a whole."""
        return self.signal is None or self.signal == signal


async def silence(
    connection: AsyncConnection, model: str, signal: str | None, *, until: float, by: str, reason: str, now: float
) -> int:
    """Ask for quiet, and return the number of the silence. What is held back is said when it ends and still holds."""
    result = await connection.execute(
        insert(silences).values(model=model, signal=signal, until=until, by=by, reason=reason, created=now)
    )
    key = result.inserted_primary_key
    assert key is not None  # noqa: S101 (one row was inserted)
    return int(key[0])


async def lift(connection: AsyncConnection, silence_id: int, now: float) -> bool:
    """End a silence early. False where there is none, or where it has ended already."""
    query = update(silences).where(silences.c.id == silence_id, silences.c.until > now).values(until=now)
    return bool((await connection.execute(query)).rowcount)


async def active(connection: AsyncConnection, model: str, now: float) -> list[Silence]:
    """The silences of a model that hold now, oldest first."""
    query = select(silences).where(silences.c.model == model, silences.c.until > now).order_by(silences.c.id)
    rows = (await connection.execute(query)).mappings()
    return [Silence(row["id"], row["model"], row["signal"], row["until"], row["by"], row["reason"]) for row in rows]


async def ended(connection: AsyncConnection, since: float, now: float) -> bool:
    """Whether a silence has ended after ``since`` and until now."""
    query = select(silences.c.id).where(silences.c.until > since, silences.c.until <= now).limit(1)
    return (await connection.execute(query)).first() is not None


def silenced(held: Iterable[Silence], signal: str | None) -> Silence | None:
    """The silence among ``held`` that covers ``signal``, if there is one."""
    return next((one for one in held if one.covers(signal)), None)
