"""The fleet as people see it, read from the store alone: who is there, what each worker has, and what nobody has."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.fleet.leases import MODEL, holders
from daemon.fleet.workers import FORGOTTEN_SECONDS, GONE_SECONDS, Role, Worker, all_workers
from daemon.stores.tables import changes, models, parcels, partitions

FEW_NAMES: Final = 3
"""So many are named; of more, the others are counted."""

LACKING: Final = {
    Role.INGEST: "events wait in Kafka",
    Role.DETECT: "events that were read wait to be judged",
    Role.WEB: "nobody takes events by HTTP",
    Role.TRAIN: "retrains and deployments wait",
}


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition: who said last that it reads it, and how many records were not read then.

    ``is_read`` until that has been said too long ago; of a new one, until somebody has had time to say so.
    """

    topic: str
    partition: int
    worker: str | None
    behind: int | None
    is_read: bool


@dataclass(frozen=True, slots=True)
class Member:
    """A worker and what it has."""

    worker: Worker
    alive: bool
    partitions: tuple[Partition, ...]
    models: tuple[str, ...]

    @property
    def roles(self) -> tuple[Role, ...]:
        """What it may do, in the order in which an event meets it."""
        return tuple(role for role in Role if role in self.worker.roles)

    @property
    def reads(self) -> str:
        """Its partitions in words."""
        return spoken((one.topic, one.partition) for one in self.partitions)

    @property
    def behind(self) -> int:
        """Records that it has to read."""
        return _behind(self.partitions)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that nobody does, and what to type."""

    text: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Everyone who is there or was until a short while ago, in the order of their start. Of a daemon alone: nobody.

    ``lag`` is what was sent and not judged yet: records that are to be read, and events of ``parcels``.
    """

    members: tuple[Member, ...] = ()
    unread: tuple[Partition, ...] = ()
    unowned: tuple[str, ...] = ()
    parcels: int = 0
    waiting: int = 0
    lag: int = 0

    @property
    def alive(self) -> tuple[Member, ...]:
        """Those who gave a sign of life of late."""
        return tuple(one for one in self.members if one.alive)

    def troubles(self) -> Iterator[Trouble]:
        """What nobody does."""
        if not self.members:
            return
        done = {role for one in self.alive for role in one.worker.roles}
        for role in Role:
            if role not in done:
                text = f"nobody has the role {role}: {LACKING[role]}"
                yield Trouble(text, f"start one with driftd run --role {role}")
        if self.unread and Role.INGEST in done:
            text = f"nobody reads {spoken((one.topic, one.partition) for one in self.unread)}"
            yield Trouble(text, "see the logs of the workers that ingest; DRIFTD_TOPICS has to be the same for all")
        if self.unowned and Role.DETECT in done:
            yield Trouble(f"nobody watches {few(self.unowned)}", "see the logs of the workers that detect")


async def view(connection: AsyncConnection, now: float, topics: Collection[str] = ()) -> Fleet:
    """The fleet at ``now``, with the partitions of ``topics``; without any, with every one that the store knows."""
    known = await _known(connection, now)
    if not known:
        return Fleet()
    found = await _partitions(connection, now, topics)
    owners = await _owners(connection, now)
    parcels_waiting, events_waiting = await _waiting(connection)
    members = (
        Member(
            one,
            one.is_alive(now),
            tuple(partition for partition in found if partition.is_read and partition.worker == one.worker),
            tuple(sorted(model for model, owner in owners.items() if owner == one.worker)),
        )
        for one in known
    )
    return Fleet(
        members=tuple(members),
        unread=tuple(one for one in found if not one.is_read),
        unowned=await _unowned(connection, owners),
        parcels=parcels_waiting,
        waiting=events_waiting,
        lag=_behind(found) + events_waiting,
    )


async def lag(connection: AsyncConnection, now: float, topics: Collection[str] = ()) -> int | None:
    """``Fleet.lag`` alone; None where nobody is known: a daemon that is alone knows its own."""
    if not await _known(connection, now):
        return None
    _, events_waiting = await _waiting(connection)
    return _behind(await _partitions(connection, now, topics)) + events_waiting


async def _known(connection: AsyncConnection, now: float) -> list[Worker]:
    """Long dead workers are none, also where nobody is left to forget them."""
    return [one for one in await all_workers(connection) if one.seen >= now - FORGOTTEN_SECONDS]


async def _partitions(connection: AsyncConnection, now: float, topics: Collection[str]) -> list[Partition]:
    place = partitions.c.topic, partitions.c.partition
    rows = select(*place, partitions.c.worker, partitions.c.seen, partitions.c.behind).order_by(*place)
    if topics:
        rows = rows.where(partitions.c.topic.in_(topics))
    return [
        Partition(
            row.topic,
            row.partition,
            row.worker,
            row.behind,
            row.seen is not None and row.seen >= now - GONE_SECONDS,
        )
        for row in await connection.execute(rows)
    ]


async def _owners(connection: AsyncConnection, now: float) -> dict[str, str]:
    """Model -> its owner."""
    held = await holders(connection, now)
    return {name.removeprefix(MODEL): worker for name, worker in held.items() if name.startswith(MODEL)}


async def _unowned(connection: AsyncConnection, owners: Collection[str]) -> tuple[str, ...]:
    """Models that nobody owns, those too that are not known yet, and of which something waits to be taken."""
    every = select(models.c.model).union(select(parcels.c.model), select(changes.c.model))
    return tuple(sorted(set((await connection.execute(every)).scalars()) - set(owners)))


async def _waiting(connection: AsyncConnection) -> tuple[int, int]:
    """Parcels that are not judged to their end, and the events in them that are not judged."""
    left = parcels.c.events - parcels.c.taken
    row = (await connection.execute(select(func.count(), func.sum(left)).where(left > 0))).one()
    return row[0], int(row[1] or 0)


def _behind(found: Iterable[Partition]) -> int:
    return sum(one.behind or 0 for one in found)


def spoken(places: Iterable[tuple[str, int]]) -> str:
    """Partitions in words: ``driftd.events 0-2, 5``."""
    topics = groupby(sorted(places), key=lambda place: place[0])
    return "; ".join(f"{topic} {_ranges([number for _, number in those])}" for topic, those in topics)


def _ranges(numbers: Sequence[int]) -> str:
    # numbers that follow each other differ from their places in the list by the same
    runs = ([number for _, number in run] for _, run in groupby(enumerate(numbers), key=lambda one: one[1] - one[0]))
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def few(names: Sequence[str]) -> str:
    """Names in words: all of a few, and of many the first ones."""
    more = len(names) - FEW_NAMES
    return ", ".join(names[:FEW_NAMES]) + (f" and {more} more" if more > 0 else "")
