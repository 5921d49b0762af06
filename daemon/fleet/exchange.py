"""What passes between the workers of a fleet by way of the store: each in the transaction that makes it so."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Float, bindparam, case, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.stores import tables
from daemon.stores.upsert import insert_new
from daemon.transports.base import TopicPartition

_partition = tables.partitions.c
_said, _left = bindparam("said", type_=Float), bindparam("left", type_=BigInteger)
STILL_READING: Final = (
    update(tables.partitions)
    .where(_partition.topic == bindparam("of"), _partition.partition == bindparam("number"))
    .values(
        behind=func.coalesce(_left, _partition.behind),
        # never falls
        watermark=case((_said > func.coalesce(_partition.watermark, 0.0), _said), else_=_partition.watermark),
    )
)

AT_ONCE: Final = 10_000
"""Parameters of one statement, below the limits of both databases."""


@dataclass(slots=True)
class Reading:
    """What a worker of a fleet adds that reads: who it is, what it has ready for others, and how far each partition is.

    ``new_partitions`` are those that the store may not know. ``watermarks`` are of those that it reads, epoch seconds,
    None for what they were.
    """

    worker: str
    new_partitions: Collection[TopicPartition]
    watermarks: dict[TopicPartition, float | None]
    parcels: list[dict[str, Any]]
    seen: float


@dataclass(slots=True)
class Judging:
    """What a worker of a fleet adds that owns models: who it is, and what it has taken.

    Of each parcel it is the number of its events that were taken, None for all of them. ``changes`` were made.
    """

    worker: str
    taken: dict[int, int | None]
    changes: list[int]


async def register(connection: AsyncConnection, partitions: Iterable[TopicPartition], now: float) -> None:
    """Let everybody know which partitions there are, before there is anything of one of them: all are to be waited for.

    One counts as read just now, so that whoever is to read it has time to say so.
    """
    new = [
        {"topic": one.topic, "partition": one.partition, "next_offset": 0, "mark": "", "seen": now}
        for one in sorted(partitions)
    ]
    await insert_new(connection, tables.partitions, new)


async def expect(connection: AsyncConnection, partitions: Iterable[TopicPartition], now: float) -> None:
    """Give whoever is to read these partitions time to say so.

    Else, where all have been unread for long, those that are read first would not wait for the others.
    """
    rows = [{"of": one.topic, "number": one.partition} for one in sorted(partitions)]
    if rows:
        here = (_partition.topic == bindparam("of")) & (_partition.partition == bindparam("number"))
        await connection.execute(update(tables.partitions).where(here, _partition.seen < now).values(seen=now), rows)


async def is_anything_waiting(connection: AsyncConnection) -> bool:
    """Whether an owner has yet to take something, or to make a change."""
    waits = select(or_(select(tables.parcels.c.id).exists(), select(tables.changes.c.id).exists()))
    return bool(await connection.scalar(waits))


async def waiting_for_owners(connection: AsyncConnection, until: float) -> int:
    """Events that owners could take at once, if they were faster: those of parcels that end before the watermark."""
    parcel = tables.parcels.c
    return int(await connection.scalar(select(func.sum(parcel.events - parcel.taken)).where(parcel.last < until)) or 0)


async def hand_over(connection: AsyncConnection, reading: Reading) -> None:
    """What is ready for the models' owners, and up to when it is all that there will be.

    Comes before whatever else a transaction does with partitions: it locks all that are read, in one order, so that two
    transactions cannot wait for each other in a circle.
    """
    await register(connection, reading.new_partitions, reading.seen)
    await still_reading(connection, reading.worker, reading.watermarks, {}, reading.seen)
    if reading.parcels:
        await connection.execute(insert(tables.parcels), reading.parcels)


async def still_reading(
    connection: AsyncConnection,
    worker: str,
    watermarks: Mapping[TopicPartition, float | None],
    behind: Mapping[TopicPartition, int],
    now: float,
) -> None:
    """Say that ``worker`` reads these partitions, and no event of them that is still to come arrived before a time."""
    if watermarks:
        rows = [
            {"of": one.topic, "number": one.partition, "said": watermarks[one], "left": behind.get(one)}
            for one in sorted(watermarks)
        ]
        await connection.execute(STILL_READING.values(worker=worker, seen=now), rows)


async def take(connection: AsyncConnection, judging: Judging) -> None:
    """See to it that nobody takes again what was taken, nor makes a change again."""
    parcel, change = tables.parcels, tables.changes
    whole = [number for number, events in judging.taken.items() if events is None]
    for start in range(0, len(whole), AT_ONCE):
        await connection.execute(delete(parcel).where(parcel.c.id.in_(whole[start : start + AT_ONCE])))
    for number, events in judging.taken.items():
        if events is not None:
            await connection.execute(update(parcel).where(parcel.c.id == number).values(taken=events))
    if judging.changes:
        await connection.execute(delete(change).where(change.c.id.in_(judging.changes)))
