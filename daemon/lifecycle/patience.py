"""What is still to come of a model's alarms: retrains that wait, and refits that follow. Kept in the store."""

from typing import Final

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.stores.tables import states
from daemon.stores.upsert import upsert

PART: Final = "policy"


class Waiting(msgspec.Struct, frozen=True):
    """An alarm whose retrain waits. ``joined`` is how many predictions had their label when the change began."""

    alarm: int
    since_row: int
    joined: int


class Plan(msgspec.Struct, frozen=True):
    """Refits after the first training that followed an alarm, which used ``used`` labels since the change."""

    alarm: int
    since_row: int
    joined: int
    used: int
    done: int = 0


class Patience(msgspec.Struct):
    """All that waits for labels or time, of one model."""

    waiting: list[Waiting] = []
    """Oldest first."""
    explained: list[Waiting] = []
    """Alarms that broken data explains: asked about again where it turns out not to be broken."""
    plan: Plan | None = None
    changed_row: int | None = None
    """Where the last change began that was trained for: rows before it are of another world."""
    trained_joined: int = 0
    """How many predictions had their label when the last retrain was queued."""

    def to_bytes(self) -> bytes:
        """As the store holds it."""
        return msgspec.msgpack.encode(self)


async def load(connection: AsyncConnection, model: str) -> Patience:
    """Read what waits."""
    query = select(states.c.data).where(states.c.model == model, states.c.part == PART)
    data = (await connection.execute(query)).scalar()
    return Patience() if data is None else msgspec.msgpack.decode(data, type=Patience)


async def save(connection: AsyncConnection, model: str, patience: Patience, before: bytes) -> None:
    """Store what waits, where it is not as it was ``before``."""
    data = patience.to_bytes()
    if data == before:
        return
    if patience == Patience():
        await connection.execute(delete(states).where(states.c.model == model, states.c.part == PART))
    else:
        await upsert(connection, states, [{"model": model, "part": PART, "data": data}])
