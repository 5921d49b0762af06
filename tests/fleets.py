"""Several workers on one store, in one process, each doing its next step when it is told to."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from pipelines import TOPIC, World, keep, watch

from daemon.archive import Archive
from daemon.checkpoint import Fenced, Respond, Snapshot
from daemon.fleet.ingest import Ingest
from daemon.fleet.owners import Owners
from daemon.fleet.workers import ALL_ROLES, Role, Worker, beat, leave
from daemon.monitoring.monitor import Monitor
from daemon.stores.engine import Store, open_store
from daemon.transports.base import Batch, Record, TopicPartition
from retrain.storage.folder import FolderStorage

MOST_STEPS = 200


def partitioned(values: Sequence[bytes], partitions: int, of: Sequence[int], at: float) -> list[list[Record]]:
    """A log in partitions: ``of`` says which one each value is in. Four arrive a second."""
    logs: list[list[Record]] = [[] for _ in range(partitions)]
    for number, (value, partition) in enumerate(zip(values, of, strict=True)):
        log = logs[partition]
        log.append(Record(len(log), at + number / 4, None, value, 1))
    return logs


@dataclass
class Member:
    """One worker: what it reads with, and what it owns models with."""

    name: str
    store: Store
    ingest: Ingest
    owners: Owners
    begins_again: bool = False
    reads: dict[int, int] = field(default_factory=dict)  # partition -> offset of what is delivered next


@dataclass
class Fleet:
    """Workers on the store of ``world`` that read ``logs``, one log a partition."""

    world: World
    logs: list[list[Record]]
    members: dict[str, Member] = field(default_factory=dict)
    commits: int = 0
    monitor: type[Monitor] = Monitor

    async def join(self, name: str, respond: Respond | None = None, roles: frozenset[Role] = ALL_ROLES) -> Member:
        """A worker comes; it reads nothing until ``assign``."""
        world, store = self.world, open_store(self.world.url)
        world.stores.append(store)

        async def committed(*_: object) -> None:
            self.commits += 1

        async def judged(_: Snapshot) -> None:
            self.commits += 1

        member: Member

        def begin_again() -> None:
            member.begins_again = True

        ingest = Ingest(
            store,
            worker=name,
            clock=lambda: world.now,
            checkpoint_seconds=1.0,
            most_models=world.most_models,
            limits=world.limits,
            committed=committed,
            caught_up=lambda: self.caught_up(member),
            behind=dict,
            partitions=lambda: [TopicPartition(TOPIC, one) for one in range(len(self.logs))],
            begin_again=begin_again,
            sleep=world.sleep,
        )
        owners = Owners(
            store,
            Archive(world.storage or FolderStorage(world.folder), store, world.file_rows),
            world.make or (lambda model: self.monitor(model, world.options, watch)),
            respond or keep,
            worker=name,
            clock=lambda: world.now,
            checkpoint_seconds=1.0,
            committed=judged,
            sleep=world.sleep,
        )
        member = self.members[name] = Member(name, store, ingest, owners)
        await self.beat(member, roles)
        return member

    async def beat(self, member: Member, roles: frozenset[Role] = ALL_ROLES) -> None:
        now = self.world.now
        one = Worker(worker=member.name, host="here", roles=roles, release="1", url=None, started=now, seen=now)
        async with member.store.begin([]) as connection:
            await beat(connection, one)

    def caught_up(self, member: Member) -> Mapping[TopicPartition, float]:
        return {
            TopicPartition(TOPIC, partition): self.world.now
            for partition, offset in member.reads.items()
            if offset == len(self.logs[partition])
        }

    async def assign(self, of: Mapping[str, Sequence[int]]) -> None:
        """Give the partitions to these workers, as a rebalance does: all begin at what the store says."""
        for name, partitions in of.items():
            await self.begin(self.members[name], partitions)

    async def begin(self, member: Member, partitions: Sequence[int]) -> None:
        stored = await member.ingest.offsets()
        member.reads = {one: stored.get(TopicPartition(TOPIC, one), 0) for one in partitions}
        member.ingest.begin({TopicPartition(TOPIC, one): offset for one, offset in member.reads.items()})
        member.begins_again = False

    async def read(self, name: str, partition: int, records: int) -> bool:
        """Have a worker take in the next records of a partition. Returns whether there were any."""
        member = self.members[name]
        if member.begins_again:
            await self.begin(member, list(member.reads))
        start = member.reads[partition]
        some = self.logs[partition][start : start + records]
        if not some:
            return False
        batch = Batch(TOPIC, partition, some, some[-1].offset + 1)
        member.ingest.foresee(batch)
        await member.ingest.process(batch)
        if not member.begins_again:
            member.reads[partition] = batch.next_offset
        return True

    async def judge(self, name: str) -> None:
        """Have a worker take all that is ready for it."""
        with suppress(Fenced):  # it has been silent for so long that another has taken over
            for _ in range(MOST_STEPS):
                if not await self.members[name].owners.step():
                    return
            raise AssertionError("it does not come to an end")

    async def flush(self, name: str) -> None:
        """Have a worker store what it has in memory."""
        await self.members[name].ingest.flush()
        with suppress(Fenced):
            await self.members[name].owners.flush()

    async def kill(self, name: str) -> None:
        """The worker is gone without a word: a checkpoint on its way has just made it."""
        member = self.members.pop(name)
        for writer in (member.ingest._writer, member.owners._writer):
            if writer._task is not None:
                await asyncio.wait({writer._task})
        await member.store.close()
        self.world.stores.remove(member.store)

    async def go(self, name: str) -> None:
        """The worker ends as it should."""
        await self.flush(name)
        member = self.members.pop(name)
        await member.owners.leave()
        async with member.store.begin([]) as connection:
            await leave(connection, name)

    async def finish(self) -> None:
        """Read and judge all that is left."""
        for _ in range(MOST_STEPS):
            more = False
            self.world.now += 3.0
            for name, member in self.members.items():
                await self.beat(member)
                if member.begins_again:
                    await self.begin(member, list(member.reads))
                for partition in member.reads:
                    more = await self.read(name, partition, 50) or more
                await member.ingest.flush()
                await member.ingest.tell()
            for name in self.members:
                await self.judge(name)
                await self.flush(name)
            if not more and not await self.waiting():
                return
        raise AssertionError("it does not come to an end")

    async def waiting(self) -> int:
        """Parcels that nobody has taken."""
        from daemon.stores import tables

        return len(await self.world.rows(tables.parcels))
