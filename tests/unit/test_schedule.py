"""Cron times: read as crontab reads them, worked on once, and made up for after a restart."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from databases import Database
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.lifecycle import cron, schedule
from daemon.lifecycle.housekeeping import Housekeeping, Keep
from daemon.lifecycle.job_folder import Places
from daemon.lifecycle.jobs import JobState
from daemon.lifecycle.policy import Rules, Trigger
from daemon.lifecycle.promotion import VersionState
from daemon.lifecycle.schedule import Entry, Schedule, retrains
from daemon.lifecycle.triggers import Triggers
from daemon.stores import tables
from daemon.stores.engine import Store, open_store
from retrain.storage.base import Storage


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def spoken(ts: float | None) -> str | None:
    return None if ts is None else datetime.fromtimestamp(ts, UTC).strftime("%a %Y-%m-%d %H:%M:%S")


NOON = at("2024-05-15T12:00:00")  # a Wednesday


@pytest.mark.parametrize(
    ("times", "last"),
    [
        ("0 3 * * *", "Wed 2024-05-15 03:00:00"),
        ("0 12 * * *", "Wed 2024-05-15 12:00:00"),  # now counts
        ("*/15 * * * *", "Wed 2024-05-15 12:00:00"),
        ("0 3 * * 0", "Sun 2024-05-12 03:00:00"),  # weekdays count from Sunday
        ("0 3 * * 7", "Sun 2024-05-12 03:00:00"),
        ("0 3 * * 1", "Mon 2024-05-13 03:00:00"),
        ("0 3 * * sun", "Sun 2024-05-12 03:00:00"),
        ("0 3 * * 1-2", "Tue 2024-05-14 03:00:00"),
        ("0 13 * * 5-7", "Sun 2024-05-12 13:00:00"),
        ("0 13 * * fri-mon", "Mon 2024-05-13 13:00:00"),
        ("0 13 * * */2", "Tue 2024-05-14 13:00:00"),
        ("0 3 14 * mon", "Tue 2024-05-14 03:00:00"),  # either day is enough
        ("0 3 1 * mon", "Mon 2024-05-13 03:00:00"),
        ("0 0 29 2 *", "Thu 2024-02-29 00:00:00"),
        ("0 0 1 1 *", "Mon 2024-01-01 00:00:00"),
    ],
)
def test_times_are_those_of_crontab(times: str, last: str) -> None:
    assert spoken(cron.latest(cron.parse(times), NOON)) == last


def test_times_are_those_of_the_zone() -> None:
    assert spoken(cron.latest(cron.parse("0 3 * * *", "Asia/Tokyo"), NOON)) == "Tue 2024-05-14 18:00:00"


@pytest.mark.parametrize(
    "times", ["0 3 * *", "0 3 * * 8", "0 3 * * frid", "0 25 * * *", "0 3 * * */0", "0 3 * * 1/x", "0 0 31 2 *"]
)
def test_what_is_no_cron_expression_is_refused(times: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        cron.parse(times)


@given(st.sampled_from(["*/7 * * * *", "0 3 * * 0", "30 4 1 * *", "0 0 * 6 *"]), st.floats(NOON, NOON + 4e7))
def test_the_last_time_is_the_last_one(times: str, now: float) -> None:
    trigger = cron.parse(times)
    last = cron.latest(trigger, now)
    assert last is not None
    following = trigger.get_next_fire_time(None, datetime.fromtimestamp(last + 1, UTC))
    assert last <= now < following.timestamp()


@pytest.fixture
async def store(database: Database, tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(database.store(tmp_path))
    yield store
    await store.close()


class Clock:
    now = NOON

    def __call__(self) -> float:
        return self.now


class Done:
    """Cron work that counts."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.times: list[float] = []
        self.failure = failure
        self.event = asyncio.Event()

    async def __call__(self, _connection: AsyncConnection, now: float) -> None:
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        self.times.append(now)
        self.event.set()


def scheduled(store: Store, clock: Clock, done: Done, times: str = "0 * * * *") -> Schedule:
    return Schedule(store, [Entry(name="work", times=times, inside=done)], clock=clock)


async def test_a_time_is_worked_on_once_whoever_comes_to_it(store: Store) -> None:
    clock, done = Clock(), Done()
    here, there = scheduled(store, clock, done), scheduled(store, clock, done)
    assert sorted(await asyncio.gather(here.due("work"), there.due("work"), here.due("work"))) == [False, False, True]
    clock.now += 1_800
    assert not await there.due("work")
    clock.now += 1_800
    assert await there.due("work")
    assert done.times == [NOON, NOON + 3_600]


async def test_a_restart_makes_up_for_what_passed_meanwhile_once(store: Store) -> None:
    clock, done = Clock(), Done()
    assert not await scheduled(store, clock, done).make_up("work")  # a new entry has missed nothing
    clock.now += 3_500
    assert not await scheduled(store, clock, done).make_up("work")
    clock.now += 5 * 3_600
    assert await scheduled(store, clock, done).make_up("work")
    assert not await scheduled(store, clock, done).make_up("work")
    assert len(done.times) == 1


async def test_a_clock_that_is_set_back_does_nothing_again_and_stops_nothing(store: Store) -> None:
    clock, done = Clock(), Done()
    work = scheduled(store, clock, done)
    assert await work.due("work")
    clock.now -= 3_600
    await work.due("work")  # the hour before was never taken: it is due
    clock.now += 3_600
    assert not await work.due("work")
    clock.now += 3_600
    assert await work.due("work")


async def test_work_that_fails_leaves_its_time_to_be_taken_again(store: Store) -> None:
    done = Done(ValueError("a mistake"))
    work = scheduled(store, Clock(), done)
    with pytest.raises(ValueError, match="a mistake"):
        await work.due("work")
    assert await work.due("work")


async def test_a_database_that_is_away_is_waited_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "RETRY_SECONDS", 0.0)
    done = Done(OperationalError("insert", {}, OSError("gone")))
    assert await scheduled(store, Clock(), done).due("work")
    assert len(done.times) == 1


async def test_late_is_better_than_never_and_one_run_makes_up_for_many(store: Store) -> None:
    scheduler = scheduled(store, Clock(), Done(), "0 3 * * 1").scheduler()
    scheduler.start(paused=True)
    (job,) = scheduler.get_jobs()
    assert (job.misfire_grace_time, job.coalesce, job.max_instances) == (None, True, 1)
    assert str(scheduler.timezone) == "UTC"
    assert job.next_run_time.strftime("%a %H:%M") == "Mon 03:00"
    scheduler.shutdown(wait=False)


async def test_the_scheduler_does_the_work_when_its_time_comes_and_ends_after_it(store: Store) -> None:
    done, may_end = Done(), asyncio.Event()

    async def slow(connection: AsyncConnection, now: float) -> None:
        await done(connection, now)
        await may_end.wait()

    work = Schedule(store, [Entry(name="work", times="0 * * * *", inside=slow)], clock=Clock())
    scheduler = work.scheduler()
    scheduler.start(paused=True)
    scheduler.modify_job("work", next_run_time=datetime.now(UTC))
    scheduler.resume()
    async with asyncio.timeout(10):
        await done.event.wait()
        scheduler.shutdown(wait=False)
        ending = asyncio.create_task(work.finish())
        await asyncio.sleep(0)
        may_end.set()
        await ending
    async with store.read() as connection:
        assert (await connection.execute(select(tables.slots.c.job))).scalars().all() == ["work"]


async def test_running_ends_when_told(store: Store) -> None:
    work = scheduled(store, Clock(), Done())
    running = asyncio.create_task(work.run())
    work.stop()
    async with asyncio.timeout(10):
        await running
        await Schedule(store, []).run()


async def test_each_model_trains_at_its_own_times(store: Store) -> None:
    async with store.begin() as connection:
        for model in ("churn", "fraud", "loans"):
            values = {"model": model, "state": "steady", "created": NOON}
            await connection.execute(insert(tables.models).values(values))
    crons: dict[str, str | None] = {"churn": "0 12 * * *", "fraud": None, "loans": "30 6 * * *"}

    async def silent(*_: object) -> None:
        return None

    triggers = Triggers(lambda _model: Rules(), note=silent, wake=lambda: None)
    entries = retrains([times for times in crons.values() if times], crons.get, triggers)
    assert [entry.name for entry in entries] == ["retrain at 0 12 * * *", "retrain at 30 6 * * *"]
    work = Schedule(store, entries, clock=Clock())
    for entry in entries[:1]:
        await work.due(entry.name)
    async with store.read() as connection:
        decided = (await connection.execute(select(tables.decisions))).mappings().all()
    assert [(row["model"], row["reason"], row["detail"]["trigger"]) for row in decided] == [
        ("churn", "no_labels", Trigger.SCHEDULE)
    ]


async def test_what_is_kept_of_an_old_retrain_goes_for_all_nodes(
    store: Store, tmp_path: Path, storage: Storage
) -> None:
    day = 86_400.0
    over: dict[str, Any] = {"model": "loans", "state": JobState.SUCCEEDED, "trigger": "alarm", "created": 0.0}
    async with store.begin() as connection:
        await connection.execute(insert(tables.models).values(model="loans", state="steady", created=0.0))
        for job, age in ((3, 40), (30, 1)):
            await connection.execute(insert(tables.jobs).values(**over, id=job, finished=NOON - age * day))
    for name in ("jobs/3/dataset.parquet", "jobs/3/reference.parquet", "jobs/30/dataset.parquet"):
        with storage.create(name) as sink:
            sink.write(b"rows")

    async def nothing(*_: object) -> None:
        pass

    places = Places.below(tmp_path, storage)
    await Housekeeping(store, places, lambda _model: Keep(archive_days=30), nothing, nothing)(NOON)
    assert [one.name for one in storage.files("jobs")] == ["jobs/30/dataset.parquet"]


async def test_old_things_go_and_what_may_still_be_served_stays(store: Store, tmp_path: Path) -> None:
    day = 86_400.0
    ended: dict[str, Any] = {"model": "loans", "state": JobState.SUCCEEDED, "trigger": "alarm", "created": 0.0}
    version = {"model": "loans", "origin": "trained", "created": 0.0}
    measured = {"model": "loans", "signal": "error", "row": 1, "rows": 1}
    async with store.begin() as connection:
        await connection.execute(insert(tables.models).values(model="loans", state="steady", created=0.0))
        ages = {1: 40 * day, 2: 40 * day, 3: 40 * day, 4: day}
        await connection.execute(
            insert(tables.jobs), [{**ended, "id": job, "finished": NOON - age} for job, age in ages.items()]
        )
        states = {1: VersionState.CHAMPION, 2: VersionState.RETIRED, 3: VersionState.REJECTED, 4: VersionState.REJECTED}
        await connection.execute(
            insert(tables.versions),
            [{**version, "version": str(job), "job": job, "state": state} for job, state in states.items()],
        )
        await connection.execute(
            insert(tables.signals), [{**measured, "ts": NOON - age * day} for age in (1, 9, 11, 12)]
        )
        old = [{"job": "hourly", "slot": NOON - age * day} for age in (1, 40, 50)]
        await connection.execute(insert(tables.slots), [*old, {"job": "yearly", "slot": NOON - 300 * day}])
    places = Places.below(tmp_path)
    for job in ages:
        (places.job(job)).mkdir(parents=True)
    expired = []

    async def expire(model: str, before: float) -> None:
        expired.append((model, before))

    swept = []

    async def sweep(now: float) -> None:
        swept.append(now)

    await Housekeeping(store, places, lambda _model: Keep(signal_days=10, archive_days=30), expire, sweep)(NOON)
    assert swept == [NOON]
    assert sorted(path.name for path in places.jobs.iterdir()) == ["1", "2", "4"]
    assert expired == [("loans", NOON - 30 * day)]
    async with store.read() as connection:
        assert sorted((await connection.execute(select(tables.signals.c.ts))).scalars()) == [NOON - 9 * day, NOON - day]
        kept = (await connection.execute(select(tables.slots.c.job, tables.slots.c.slot))).all()
    # the last time of each entry says what was done, however long ago
    assert sorted(kept) == [("hourly", NOON - day), ("yearly", NOON - 300 * day)]
