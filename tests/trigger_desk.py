"""A model whose labels, alarms and hours a test deals out, before the triggers that the daemon has."""

from typing import Any

from retrain_loop import NOW, Loop
from sqlalchemy import insert, update

from daemon.lifecycle import jobs, versions
from daemon.lifecycle.jobs import Job
from daemon.lifecycle.policy import Decision, Rules
from daemon.lifecycle.promotion import VersionReason, VersionState
from daemon.lifecycle.triggers import Triggers
from daemon.stores import tables
from daemon.stores.upsert import upsert


class Desk:
    """The policy at its desk: one model, whose labels, alarms and hours the test deals out."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.rules = Rules()
        self.woken = 0
        self.triggers = Triggers(lambda _model: self.rules, note=loop.note, wake=self.wake)

    def wake(self) -> None:
        self.woken += 1

    async def labels(self, joined: int, *, served: int = 2_000) -> Decision | None:
        """So many predictions have their label now, ``served`` of them by the version in service."""
        async with self.loop.store.begin() as connection:
            own = update(tables.models).where(tables.models.c.model == "loans")
            await connection.execute(own.values(performance={"rows": served}))
            await upsert(connection, tables.counters, [{"model": "loans", "name": "joined", "value": joined}])
            answer = await self.triggers.reconsider(connection, "loans", self.loop.now)
        return None if answer is None else answer.decision

    async def alarm(
        self,
        kind: str = "concept",
        *,
        change_row: int = 500,
        row: int = 550,
        since: int = 50,
        later: int = 0,
        rose: float | None = None,
    ) -> int:
        """An alarm is raised, whose detector has counted ``since`` labels since the change; ``later`` came after it.

        The error rate ``rose`` by so much, if it is one.
        """
        values = {"model": "loans", "kind": kind, "signal": "error" if kind == "concept" else "feature:age"}
        values |= {"detector": "e_detector", "severity": "critical", "row": row, "ts": 0.0, "change_row": change_row}
        values |= {
            "evidence": {"rows_since_change": since, "labels_later": later}
            | ({} if rose is None else {"effect_name": "error_rate", "effect": rose}),
            "ranking": [],
            "state": "open",
            "raised": NOW,
        }
        async with self.loop.store.begin() as connection:
            number = (await connection.execute(insert(tables.alarms).values(values))).inserted_primary_key[0]
            await self.triggers.alarm(connection, "loans", number, self.loop.now)
        return int(number)

    async def close(self, alarm: int, reason: str = "recovered") -> None:
        async with self.loop.store.begin() as connection:
            closed = update(tables.alarms).where(tables.alarms.c.id == alarm)
            await connection.execute(closed.values(state="closed", closed_reason=reason))

    async def renamed(self, alarm: int, cause: str) -> None:
        """More rows have told another cause of an alarm."""
        async with self.loop.store.begin() as connection:
            evidence = {"cause": {"name": cause, "text": "as more rows tell"}}
            await connection.execute(update(tables.alarms).where(tables.alarms.c.id == alarm).values(evidence=evidence))
            await self.triggers.renamed(connection, "loans", self.loop.now)

    async def queued(self) -> Job | None:
        async with self.loop.store.read() as connection:
            return await jobs.find_active(connection, "loans")

    async def ended(self, outcome: str = "hold") -> Job:
        """The runner has done the queued retrain."""
        async with self.loop.store.begin() as connection:
            job = await jobs.claim(connection, "runner", self.loop.now)
            assert job is not None
            await jobs.finish(connection, job.id, "runner", self.loop.now, outcome)
        return job

    async def decided(self) -> list[tuple[str, str]]:
        return await self.loop.decided()


async def promote(desk: Desk, version: str = "2", gain: float | None = None) -> None:
    """A version made here has gone into service at row 600, and is on probation; it passed the gate by this gain."""
    judged: dict[str, Any] = {"reason": VersionReason.PASSED, "path": f"/{version}", "model_hash": "h", "job": 1}
    async with desk.loop.store.begin() as connection:
        if gain is not None:
            result = {"gain": {"loss": "error", "estimate": gain + 0.1, "low": gain}}
            done = insert(tables.jobs).values(
                model="loans", state="succeeded", trigger="alarm", created=0.0, result=result
            )
            judged["job"] = (await connection.execute(done)).inserted_primary_key[0]
        await versions.add(connection, "loans", version, NOW, state=VersionState.DEPLOYING, metrics={}, **judged)
        await versions.deployed(connection, "loans", version, NOW)
