"""What one worker does at a time, and which one: a lease that runs out when its holder falls silent.

A lease keeps two workers from doing the same work twice. It is no proof against a holder that stops dead and wakes up
later: whatever must not happen twice is written in a transaction that asks ``hold`` first.
"""

from collections.abc import Collection, Iterable
from typing import Final

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.stores.tables import leases
from daemon.stores.upsert import insert_new

LEASE_SECONDS: Final = 8.0
"""After which a holder that says nothing has lost it. The clocks of all machines are to agree within a few seconds."""
MODEL: Final = "model:"
"""Begins the name of the lease of whoever runs a model's detectors."""


async def take(connection: AsyncConnection, names: Iterable[str], worker: str, now: float) -> set[str]:
    """Take leases that nobody has, or whose holder is gone. Returns those that are the worker's now."""
    wanted = sorted(set(names))
    if not wanted:
        return set()
    until = now + LEASE_SECONDS
    await insert_new(connection, leases, [{"name": one, "worker": worker, "until": until} for one in wanted])
    free = (leases.c.until < now) | (leases.c.worker == worker)
    return await _claim(connection, wanted, worker, until, free)


async def renew(connection: AsyncConnection, names: Iterable[str], worker: str, now: float) -> set[str]:
    """Hold leases for longer. Returns those that are still the worker's."""
    return await _claim(connection, sorted(set(names)), worker, now + LEASE_SECONDS, leases.c.worker == worker)


async def _claim(
    connection: AsyncConnection, names: list[str], worker: str, until: float, free: ColumnElement[bool]
) -> set[str]:
    if not names:
        return set()
    own = update(leases).where(leases.c.name.in_(names), free).values(worker=worker, until=until)
    return set((await connection.execute(own.returning(leases.c.name))).scalars())


async def hold(connection: AsyncConnection, names: Collection[str], worker: str, mark: str) -> bool:
    """Whether all these leases are the worker's, and stay so until this transaction ends. It leaves a mark on them."""
    own = update(leases).where(leases.c.name.in_(sorted(names)), leases.c.worker == worker).values(mark=mark)
    return (await connection.execute(own)).rowcount == len(names)


async def is_marked(connection: AsyncConnection, mark: str) -> bool:
    """Whether the transaction that left this mark was committed, as far as that is known: a later one wipes it out."""
    return await connection.scalar(select(leases.c.name).where(leases.c.mark == mark).limit(1)) is not None


async def give_back(connection: AsyncConnection, names: Iterable[str], worker: str) -> None:
    """Let others have what this worker held."""
    await connection.execute(delete(leases).where(leases.c.name.in_(sorted(names)), leases.c.worker == worker))


async def give_all_back(connection: AsyncConnection, worker: str) -> None:
    """Let others have whatever this worker held: it ends."""
    await connection.execute(delete(leases).where(leases.c.worker == worker))


async def holders(connection: AsyncConnection, now: float) -> dict[str, str]:
    """Lease -> the worker that holds it."""
    held = select(leases.c.name, leases.c.worker).where(leases.c.until >= now)
    return {row.name: row.worker for row in await connection.execute(held)}
