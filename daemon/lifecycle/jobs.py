"""The ledger of retrains: who asked, who works on it, what came of it.

A job is queued, claimed under a lease, and finished by whoever holds the lease. Whoever dies loses it when the lease
runs out, and the job is queued again; a job that kills three workers has failed. The database itself allows one active
job a model. Every function works inside the caller's transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import RowMapping, Update, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.lifecycle.policy import DAY_SECONDS, Trigger
from daemon.stores.tables import jobs

MOST_ATTEMPTS: Final = 3
LEASE_SECONDS: Final = 60.0


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    """It ran to its end, whatever the gate then said."""
    FAILED = "failed"
    """No candidate came of it."""


ACTIVE: Final = (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A row of the ledger. Times are epoch seconds."""

    id: int
    model: str
    state: JobState
    trigger: Trigger
    alarm: int | None
    since_row: int | None
    cutoff: float | None
    version: str | None
    champion: str | None
    by: str | None
    stage: str | None
    progress: float | None
    attempts: int
    owner: str | None
    lease_until: float | None
    created: float
    started: float | None
    finished: float | None
    outcome: str | None
    reasons: list[str] | None
    result: dict[str, Any] | None
    error: str | None


async def enqueue(
    connection: AsyncConnection,
    model: str,
    trigger: Trigger,
    now: float,
    *,
    alarm: int | None = None,
    since_row: int | None = None,
    by: str | None = None,
) -> tuple[Job, bool]:
    """Queue a retrain. Returns the model's active job, and whether it is new."""
    job = {"model": model, "state": JobState.QUEUED, "trigger": trigger, "created": now}
    job |= {"alarm": alarm, "since_row": since_row, "by": by, "attempts": 0}
    try:
        async with connection.begin_nested():
            row = (await connection.execute(insert(jobs).values(job).returning(jobs))).mappings().one()
    except IntegrityError:
        active = await find_active(connection, model)
        if active is None:  # it ended between the two statements
            return await enqueue(connection, model, trigger, now, alarm=alarm, since_row=since_row, by=by)
        return active, False
    return _job(row), True


async def claim(
    connection: AsyncConnection, owner: str, now: float, lease_seconds: float = LEASE_SECONDS
) -> Job | None:
    """Take the oldest queued job under a lease, None where nothing is queued."""
    oldest = select(jobs.c.id).where(jobs.c.state == JobState.QUEUED).order_by(jobs.c.id).limit(1)
    taken = (
        update(jobs)
        .where(jobs.c.id == oldest.with_for_update(skip_locked=True).scalar_subquery())
        .where(jobs.c.state == JobState.QUEUED)
        .values(
            state=JobState.RUNNING,
            owner=owner,
            lease_until=now + lease_seconds,
            attempts=jobs.c.attempts + 1,
            started=now,
            # what was known when it was first begun: a second attempt answers the same question
            cutoff=func.coalesce(jobs.c.cutoff, now),
            stage=None,
            progress=None,
        )
        .returning(jobs)
    )
    row = (await connection.execute(taken)).mappings().first()
    return None if row is None else _job(row)


async def heartbeat(
    connection: AsyncConnection,
    job: int,
    owner: str,
    now: float,
    lease_seconds: float = LEASE_SECONDS,
    *,
    stage: str | None = None,
    progress: float | None = None,
) -> bool:
    """Renew the lease and note how far the job is. False: the lease is lost, and with it the right to go on."""
    values: dict[str, Any] = {"lease_until": now + lease_seconds}
    if stage is not None:
        values |= {"stage": stage, "progress": progress}
    return await _change(connection, _held(job, owner).values(values))


async def assign(connection: AsyncConnection, job: int, owner: str, version: str, champion: str | None) -> bool:
    """Note which version the job makes, and which it is compared with."""
    return await _change(connection, _held(job, owner).values(version=version, champion=champion))


async def finish(
    connection: AsyncConnection,
    job: int,
    owner: str,
    now: float,
    outcome: str,
    *,
    reasons: Sequence[str] = (),
    result: Mapping[str, Any] | None = None,
    error: str | None = None,
) -> bool:
    """End a job. False: the lease is lost, and somebody else's word counts."""
    ended = JobState.FAILED if outcome == "failed" else JobState.SUCCEEDED
    values = {"state": ended, "finished": now, "lease_until": None, "outcome": outcome, "reasons": list(reasons)}
    values |= {"result": None if result is None else dict(result), "error": error, "progress": None}
    return await _change(connection, _held(job, owner).values(values))


async def release(connection: AsyncConnection, job: int, owner: str) -> bool:
    """Queue a job again that was stopped through no fault of its own: the attempt does not count."""
    values = {"state": JobState.QUEUED, "owner": None, "lease_until": None, "attempts": jobs.c.attempts - 1}
    return await _change(connection, _held(job, owner).values({**values, "stage": None, "progress": None}))


async def recover(connection: AsyncConnection, now: float, *, alone: bool = False) -> tuple[list[Job], list[Job]]:
    """Queue jobs again whose worker is gone. Returns those, and those that have failed by it.

    ``alone``: nobody else works on this store, so that every lease is that of a worker which is gone.
    """
    gone = select(jobs).where(jobs.c.state == JobState.RUNNING).with_for_update()
    if not alone:
        gone = gone.where(jobs.c.lease_until < now)
    queued: list[Job] = []
    failed: list[Job] = []
    for row in (await connection.execute(gone)).mappings().all():
        values: dict[str, Any] = {"owner": None, "lease_until": None, "stage": None, "progress": None}
        if row["attempts"] < MOST_ATTEMPTS:
            values["state"] = JobState.QUEUED
        else:
            text = f"its worker died {row['attempts']} times"
            values |= {"state": JobState.FAILED, "finished": now, "outcome": "failed", "error": text}
            values["reasons"] = ["crashed"]
        changed = update(jobs).where(jobs.c.id == row["id"]).values(values).returning(jobs)
        job = _job((await connection.execute(changed)).mappings().one())
        (failed if job.state is JobState.FAILED else queued).append(job)
    return queued, failed


async def find(connection: AsyncConnection, job: int) -> Job | None:
    """Find one job."""
    row = (await connection.execute(select(jobs).where(jobs.c.id == job))).mappings().first()
    return None if row is None else _job(row)


async def find_active(connection: AsyncConnection, model: str) -> Job | None:
    """Find the model's job that is queued or running."""
    query = select(jobs).where(jobs.c.model == model, jobs.c.state.in_(ACTIVE))
    row = (await connection.execute(query)).mappings().first()
    return None if row is None else _job(row)


async def spent(connection: AsyncConnection, model: str, now: float) -> tuple[tuple[float, ...], float | None]:
    """When the retrains that the budget counts were queued in the last day, and when the last retrain ended."""
    counted = select(jobs.c.created).where(
        jobs.c.model == model, jobs.c.trigger != Trigger.MANUAL, jobs.c.created > now - DAY_SECONDS
    )
    recent = tuple((await connection.execute(counted)).scalars())
    last = (await connection.execute(select(func.max(jobs.c.finished)).where(jobs.c.model == model))).scalar()
    return recent, last


def _held(job: int, owner: str) -> Update:
    return update(jobs).where(jobs.c.id == job, jobs.c.state == JobState.RUNNING, jobs.c.owner == owner)


async def _change(connection: AsyncConnection, statement: Update) -> bool:
    return bool((await connection.execute(statement)).rowcount)


def _job(row: RowMapping) -> Job:
    values = dict(row)
    return Job(**values | {"state": JobState(values["state"]), "trigger": Trigger(values["trigger"])})
