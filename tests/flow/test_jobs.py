"""The ledger of retrains: whatever crashes, one active job a model, and none is lost."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from databases import Database
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.lifecycle import jobs
from daemon.lifecycle.jobs import ACTIVE, MOST_ATTEMPTS, JobState
from daemon.lifecycle.policy import DAY_SECONDS, Trigger
from daemon.stores import tables
from daemon.stores.engine import Store, open_store

NOW = 1_000_000.0
LEASE = 60.0


@pytest.fixture
async def store(database: Database, tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(database.store(tmp_path))
    yield store
    await store.close()


async def test_a_second_request_is_answered_with_the_job_there_is(store: Store) -> None:
    async with store.begin() as connection:
        first, new = await jobs.enqueue(connection, "loans", Trigger.ALARM, NOW, alarm=3, since_row=20_000)
        again, again_new = await jobs.enqueue(connection, "loans", Trigger.MANUAL, NOW + 1, by="ann")
        other, other_new = await jobs.enqueue(connection, "churn", Trigger.SCHEDULE, NOW + 2)
    assert (new, again_new, other_new) == (True, False, True)
    assert again == first
    assert (first.alarm, first.since_row, first.trigger) == (3, 20_000, Trigger.ALARM)
    assert other.id != first.id


async def test_the_oldest_is_claimed_first_and_only_once(store: Store) -> None:
    async with store.begin() as connection:
        for model in ("loans", "churn"):
            await jobs.enqueue(connection, model, Trigger.MANUAL, NOW)
    claimed = []
    for owner in ("a", "b", "c"):
        async with store.begin() as connection:
            claimed.append(await jobs.claim(connection, owner, NOW, LEASE))
    assert [job and job.model for job in claimed] == ["loans", "churn", None]


async def test_a_lost_lease_ends_the_right_to_speak_for_the_job(store: Store) -> None:
    async with store.begin() as connection:
        job, _ = await jobs.enqueue(connection, "loans", Trigger.MANUAL, NOW)
        await jobs.claim(connection, "a", NOW, LEASE)
        assert await jobs.heartbeat(connection, job.id, "a", NOW + 50, LEASE, stage="train", progress=0.5)
        assert await jobs.recover(connection, NOW + 100) == ([], [])
        queued, _ = await jobs.recover(connection, NOW + 111)
        assert [one.id for one in queued] == [job.id]
        assert not await jobs.heartbeat(connection, job.id, "a", NOW + 112, LEASE)
        again = await jobs.claim(connection, "b", NOW + 113, LEASE)
        assert again is not None
        assert (again.attempts, again.cutoff) == (2, NOW)  # the question is still that of the first attempt
        assert not await jobs.finish(connection, job.id, "a", NOW + 114, "promote")
        assert not await jobs.release(connection, job.id, "a")
        assert await jobs.finish(connection, job.id, "b", NOW + 115, "hold", reasons=["gain_not_proven"])
        done = await jobs.find(connection, job.id)
    assert done is not None
    assert (done.state, done.outcome, done.reasons) == (JobState.SUCCEEDED, "hold", ["gain_not_proven"])


async def test_a_job_that_kills_its_workers_has_failed_and_makes_room(store: Store) -> None:
    async with store.begin() as connection:
        job, _ = await jobs.enqueue(connection, "loans", Trigger.MANUAL, NOW)
        for attempt in range(MOST_ATTEMPTS):
            assert await jobs.claim(connection, f"owner {attempt}", NOW, LEASE)
            queued, failed = await jobs.recover(connection, NOW, alone=True)
        assert (queued, [one.id for one in failed]) == ([], [job.id])
        assert failed[0].reasons == ["crashed"]
        _, new = await jobs.enqueue(connection, "loans", Trigger.MANUAL, NOW)
    assert new


async def test_an_orderly_stop_is_no_attempt(store: Store) -> None:
    async with store.begin() as connection:
        job, _ = await jobs.enqueue(connection, "loans", Trigger.MANUAL, NOW)
        for _ in range(2 * MOST_ATTEMPTS):
            assert await jobs.claim(connection, "a", NOW, LEASE)
            assert await jobs.release(connection, job.id, "a")
        again = await jobs.find(connection, job.id)
    assert again is not None
    assert (again.state, again.attempts) == (JobState.QUEUED, 0)


async def test_the_budget_counts_a_day_and_leaves_out_what_people_asked_for(store: Store) -> None:
    asked = [
        (Trigger.ALARM, NOW - DAY_SECONDS),
        (Trigger.MANUAL, NOW - 9),
        (Trigger.REFIT, NOW - 8),
        (Trigger.SCHEDULE, NOW - 7),
    ]
    async with store.begin() as connection:
        for trigger, at in asked:
            job, _ = await jobs.enqueue(connection, "loans", trigger, at)
            await jobs.claim(connection, "a", at, LEASE)
            await jobs.finish(connection, job.id, "a", at + 1, "hold")
        await jobs.enqueue(connection, "churn", Trigger.ALARM, NOW)
        assert await jobs.spent(connection, "loans", NOW) == ((NOW - 8, NOW - 7), NOW - 6)
        assert await jobs.spent(connection, "fraud", NOW) == ((), None)


seldom = st.sampled_from([False, False, False, True])


class Torn(Exception):
    """The process died before the transaction was committed."""


class Ledger(RuleBasedStateMachine):
    """Workers that come, go, sleep through their lease and die in the middle of a transaction."""

    databases: Database

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.store = self.runner.run(self._open())
        self.now = NOW
        self.births = 0
        self.held: dict[str, int] = {}  # what each worker believes to hold
        self.rightful: dict[int, str] = {}  # who claimed each job last
        self.ended: dict[int, tuple[Any, ...]] = {}
        self.asked: set[int] = set()

    async def _open(self) -> Store:
        return open_store(self.databases.store(self.folder))

    def do(self, work: Callable[[AsyncConnection], Awaitable[Any]], *, torn: bool = False) -> Any:
        async def inside() -> Any:
            async with self.store.begin() as connection:
                result = await work(connection)
                if torn:
                    raise Torn
                return result

        try:
            return self.runner.run(inside())
        except Torn:
            return None

    @rule(model=st.sampled_from(["loans", "churn"]), trigger=st.sampled_from(Trigger), torn=seldom)
    def ask(self, model: str, trigger: Trigger, torn: bool) -> None:
        answer = self.do(lambda connection: jobs.enqueue(connection, model, trigger, self.now), torn=torn)
        if answer is not None:
            job, new = answer
            assert new == (job.id not in self.asked)
            assert job.state in ACTIVE
            self.asked.add(job.id)

    @rule(torn=seldom)
    def work(self, torn: bool) -> None:
        self.births += 1
        owner = f"worker {self.births}"
        job = self.do(lambda connection: jobs.claim(connection, owner, self.now, LEASE), torn=torn)
        if job is not None:
            assert job.id in self.asked
            self.held[owner] = job.id
            self.rightful[job.id] = owner

    @precondition(lambda self: self.held)
    @rule(data=st.data(), torn=seldom)
    def beat(self, data: st.DataObject, torn: bool) -> None:
        owner = data.draw(st.sampled_from(sorted(self.held)))
        job = self.held[owner]
        if self.do(
            lambda connection: jobs.heartbeat(connection, job, owner, self.now, LEASE, stage="train"), torn=torn
        ):
            assert self.rightful[job] == owner, "kept a lease that was taken over"

    @precondition(lambda self: self.held)
    @rule(data=st.data(), outcome=st.sampled_from(["promote", "hold", "failed"]), torn=seldom)
    def end(self, data: st.DataObject, outcome: str, torn: bool) -> None:
        owner = data.draw(st.sampled_from(sorted(self.held)))
        job = self.held.pop(owner)
        if self.do(lambda connection: jobs.finish(connection, job, owner, self.now, outcome), torn=torn):
            assert job not in self.ended
            assert self.rightful[job] == owner, "spoke for a job that was taken over"

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(sorted(self.held)))
        job = self.held.pop(owner)
        self.do(lambda connection: jobs.release(connection, job, owner))

    @precondition(lambda self: self.held)
    @rule()
    def oversleep(self) -> None:
        """Every worker sleeps through its lease, another takes the job, the first ones wake up again."""
        self.recover(torn=False, seconds=LEASE + 1)
        self.work(torn=False)

    @rule(seconds=st.sampled_from([1.0, 20.0, LEASE - 1]))
    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @rule(torn=seldom, seconds=st.sampled_from([0.0, LEASE + 1]))
    def recover(self, torn: bool, seconds: float) -> None:
        self.now += seconds
        self.do(lambda connection: jobs.recover(connection, self.now), torn=torn)

    @rule()
    def restart_alone(self) -> None:
        self.held.clear()
        self.do(lambda connection: jobs.recover(connection, self.now, alone=True))

    async def _all(self, connection: AsyncConnection) -> list[Any]:
        return list((await connection.execute(select(tables.jobs))).mappings())

    @invariant()
    def the_ledger_is_sound(self) -> None:
        if not hasattr(self, "store"):
            return
        rows = self.do(self._all)
        assert {row["id"] for row in rows} == self.asked, "a job was lost, or came from nowhere"
        active = [row["model"] for row in rows if row["state"] in ACTIVE]
        assert len(active) == len(set(active)), "two active jobs of one model"
        for row in rows:
            assert 0 <= row["attempts"] <= MOST_ATTEMPTS
            assert (row["state"] == JobState.RUNNING) == (row["owner"] is not None and row["lease_until"] is not None)
            if row["state"] not in ACTIVE:
                fate = (row["state"], row["outcome"], row["finished"])
                assert self.ended.setdefault(row["id"], fate) == fate, "an ended job changed"

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        # whatever has happened, a healthy worker gets everything done
        for _ in range(2 * MOST_ATTEMPTS):
            self.now += LEASE + 1
            self.do(lambda connection: jobs.recover(connection, self.now))
            while (job := self.do(lambda connection: jobs.claim(connection, "healthy", self.now, LEASE))) is not None:
                ended = job.id
                assert self.do(lambda connection: jobs.finish(connection, ended, "healthy", self.now, "hold"))  # noqa: B023
        assert all(row["state"] not in ACTIVE for row in self.do(self._all))
        self.runner.run(self.store.close())
        self.runner.close()
        shutil.rmtree(self.folder)


def test_whatever_crashes_no_job_is_lost_and_none_runs_twice(database: Database) -> None:
    class Here(Ledger):
        databases = database

    run_state_machine_as_test(Here, settings=settings(max_examples=25, stateful_step_count=30, deadline=None))
