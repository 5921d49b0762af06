"""From a queued job to a version in service and back: with a child that does as it is told, and with the real one."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
import retrain_loop
from databases import Database
from retrain_loop import NOW, Loop, fill_archive, recipe, running, scripted, starts
from sqlalchemy import update

from daemon.alerts.notes import NoteKind
from daemon.lifecycle import retrains, versions
from daemon.lifecycle.child import Child, Progress
from daemon.lifecycle.jobs import Job, JobState
from daemon.lifecycle.policy import Trigger
from daemon.lifecycle.promotion import VersionReason, VersionState
from daemon.lifecycle.recipe import Recipe
from daemon.settings import Mode, ModelSettings
from daemon.stores import tables
from daemon.stores.errors import StoreAway
from retrain.deployers.settings import DeployerSettings
from retrain.job import JOB_FILE, Limits
from retrain.job import Job as JobFile

MOMENTS = [f"note {kind}" for kind in (NoteKind.RETRAIN_STARTED, NoteKind.GATE, NoteKind.PROMOTED)]
MOMENTS += ["before adoption", "after adoption"]


async def until(holds: Callable[[], bool]) -> None:
    """Wait for another process, and no longer than it takes."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 (another process gives no event)
            await asyncio.sleep(0.01)


async def until_stage(loop: Loop, job: int) -> Job:
    async with asyncio.timeout(20):
        while (found := await loop.job(job)).stage is None:  # noqa: ASYNC110 (likewise)
            await asyncio.sleep(0.01)
    return found


async def test_what_passes_the_gate_goes_into_service(tmp_path: Path, database: Database) -> None:
    async with running(tmp_path, database=database, command=scripted(tmp_path, "promote")) as loop:
        job = await loop.ask(since_row=100)
        await loop.until_idle()
        done = await loop.job(job.id)
        assert (done.state, done.outcome, done.version, done.champion) == (JobState.SUCCEEDED, "promote", "2", "1")
        assert done.result is not None
        assert done.result["reference_error"] == {"n": 3, "mean": 0.2}  # without thousands of values
        champion, former = await loop.version("2"), await loop.version("1")
        assert (champion.state, champion.reason, champion.previous) == (
            VersionState.CHAMPION,
            VersionReason.PASSED,
            "1",
        )
        assert (former.state, former.reason) == (VersionState.RETIRED, VersionReason.REPLACED)
        model = await loop.model()
        assert (model["version"], model["state"], model["promotions"], model["rollbacks"]) == ("2", "watching", 1, 0)
        assert loop.served == "2"
        assert loop.adopted == [("2", done.result)]
        kinds = [kind for kind, _ in loop.notes]
        assert kinds == [NoteKind.RETRAIN_STARTED, NoteKind.GATE, NoteKind.PROMOTED]
        assert loop.notes[0][1]["rows"] == 480  # as many as it has found
        assert await loop.decided() == [("promote", "gain_proven"), ("promoted", "passed")]
        folder = tmp_path / "jobs" / str(job.id)
        assert not (folder / "archive").exists()
        assert not (folder / "candidate").exists()
        told = msgspec.json.decode((folder / JOB_FILE).read_bytes(), type=JobFile)
        assert (told.since_row, told.until_row, told.version, told.cutoff_ts) == (100, 600, "2", NOW)


@pytest.mark.parametrize(
    ("says", "reason", "why"),
    [("hold", VersionReason.HELD, "gain_not_proven"), ("reject", VersionReason.REJECTED, "worse")],
)
async def test_what_does_not_pass_is_kept_and_not_served(
    tmp_path: Path, says: str, reason: VersionReason, why: str
) -> None:
    async with running(tmp_path, command=scripted(tmp_path, says)) as loop:
        job = await loop.ask()
        await loop.until_idle()
        found = await loop.version("2")
        assert (found.state, found.reason) == (VersionState.REJECTED, reason)
        assert (await loop.job(job.id)).state is JobState.SUCCEEDED
        assert (await loop.model())["state"] == "steady"
        assert (loop.served, loop.adopted, await loop.decided()) == (None, [], [(says, why)])
        # by hand it can still be brought into service
        async with loop.store.begin() as connection:
            await versions.send(connection, "loans", "2", VersionReason.BY_HAND, "ann")
        await loop.until_idle()
        assert (loop.served, (await loop.model())["version"]) == ("2", "2")


async def test_a_recommended_version_waits_for_a_person(tmp_path: Path) -> None:
    asked = recipe(tmp_path, mode=Mode.RECOMMEND)
    async with running(tmp_path, asked, command=scripted(tmp_path, "promote")) as loop:
        await loop.ask()
        await loop.until_idle()
        assert (await loop.version("2")).state is VersionState.AWAITING
        assert (loop.served, loop.notes[-1][0]) == (None, NoteKind.AWAITING_APPROVAL)
        async with loop.store.begin() as connection:
            await versions.send(connection, "loans", "2", VersionReason.APPROVED, "ann")
        await loop.until_idle()
        champion = await loop.version("2")
        assert (champion.state, champion.reason, champion.by) == (VersionState.CHAMPION, VersionReason.APPROVED, "ann")
        assert loop.served == "2"


@pytest.mark.parametrize(
    ("says", "reason", "text"),
    [
        ("failed", "one_class", "it is to failed"),
        ("crash", "out_of_memory", "the trouble was this"),
        ("garbage", "unexpected", "result.json cannot be read"),
    ],
)
async def test_a_failed_training_says_why(tmp_path: Path, says: str, reason: str, text: str) -> None:
    async with running(tmp_path, command=scripted(tmp_path, says)) as loop:
        job = await loop.ask()
        await loop.until_idle()
        done = await loop.job(job.id)
        assert (done.state, done.outcome, done.reasons) == (JobState.FAILED, "failed", [reason])
        assert text in (done.error or "")
        assert await loop.decided() == [("failed", reason)]
        assert loop.notes[-1][0] is NoteKind.RETRAIN_FAILED
        assert (await loop.model())["state"] == "steady"
        assert starts(tmp_path) == 1  # what fails by itself is not tried again


async def test_a_training_that_takes_too_long_is_ended_with_everything_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrains, "GRACE_SECONDS", 1.0)
    monkeypatch.setattr("daemon.lifecycle.child.LAST_WORDS_SECONDS", 0.1)
    slow = recipe(tmp_path, limits=Limits(seconds=0.0))
    async with running(tmp_path, slow, command=scripted(tmp_path, "hang")) as loop:
        job = await loop.ask()
        await loop.until_idle()
        assert (await loop.job(job.id)).reasons == ["timed_out"]
        assert not alive(tmp_path, 0)


async def test_a_stop_ends_the_training_and_the_next_start_resumes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.lifecycle.child.LAST_WORDS_SECONDS", 0.1)
    async with running(tmp_path, command=scripted(tmp_path, "hang", "promote")) as loop:
        job = await loop.ask()
        working = asyncio.create_task(loop.retrains.run())
        found = await until_stage(loop, job.id)
        state = (await loop.model())["state"]
        loop.retrains.stop()
        await working
        assert (found.stage, found.progress, state) == ("train", 0.5, "retraining")
        stopped = await loop.job(job.id)
        assert (stopped.state, stopped.attempts) == (JobState.QUEUED, 0)
        assert not alive(tmp_path, 0)
        loop.restart()
        await loop.until_idle()
        assert ((await loop.job(job.id)).outcome, loop.served) == ("promote", "2")


async def test_whoever_loses_the_lease_stops_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.lifecycle.child.LAST_WORDS_SECONDS", 0.1)
    async with running(tmp_path, command=scripted(tmp_path, "hang")) as loop:
        job = await loop.ask()
        working = asyncio.create_task(loop.retrains.step())
        await until(lambda: starts(tmp_path) == 1)
        async with loop.store.begin() as connection:
            taken = update(tables.jobs).where(tables.jobs.c.id == job.id).values(owner="another", lease_until=NOW + 9e9)
            await connection.execute(taken)
        loop.now += 30
        assert await working
        assert ((await loop.job(job.id)).owner, (await loop.job(job.id)).state) == ("another", JobState.RUNNING)
        assert not alive(tmp_path, 0)


async def test_a_daemon_that_is_killed_while_it_trains_trains_again_at_the_next_start(tmp_path: Path) -> None:
    async with running(tmp_path, command=scripted(tmp_path, "hang", "promote")) as loop:
        job = await loop.ask(Trigger.ALARM)
        other = await asyncio.create_subprocess_exec(
            sys.executable, retrain_loop.__file__, str(tmp_path), *loop.command
        )
        try:
            assert (await until_stage(loop, job.id)).attempts == 1
        finally:
            other.kill()
            await other.wait()
        try:
            await loop.until_idle()
        finally:
            os.kill(int((tmp_path / "starts" / "0").read_text()), signal.SIGKILL)  # a real child watches its parent
        done = await loop.job(job.id)
        assert (done.attempts, done.outcome, done.version, loop.served) == (2, "promote", "2", "2")


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_crash_between_any_two_steps_is_made_good(tmp_path: Path, database: Database, moment: str) -> None:
    async with running(tmp_path, database=database, command=scripted(tmp_path, "promote"), die_at=moment) as loop:
        job = await loop.ask(Trigger.ALARM)
        await loop.until_idle()
        assert loop.die_at is None, "it was never killed"
        done, champion, model = await loop.job(job.id), await loop.version("2"), await loop.model()
        assert (done.state, done.outcome) == (JobState.SUCCEEDED, "promote")
        assert (champion.state, loop.served, model["version"]) == (VersionState.CHAMPION, "2", "2")
        assert (model["promotions"], model["state"]) == (1, "watching")
        again = moment == f"note {NoteKind.RETRAIN_STARTED}"  # which is while the child is at work
        assert starts(tmp_path) <= 1 + again, "what was trained and judged is not trained again"
        assert {version for version, _ in loop.adopted} == {"2"}
        assert [kind for kind, _ in loop.notes].count(NoteKind.PROMOTED) == 1
        assert champion.adopted is not None


async def test_a_store_that_is_away_while_a_retrain_is_prepared_does_not_fail_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, command=scripted(tmp_path, "promote")) as loop:
        job = await loop.ask()
        read = loop.store.read

        def away() -> Any:
            monkeypatch.setattr(loop.store, "read", read)
            raise StoreAway("the server is being started again")

        monkeypatch.setattr(loop.store, "read", away)
        with pytest.raises(StoreAway):
            await loop.retrains.step()
        assert (await loop.job(job.id)).state is JobState.RUNNING  # under a lease that runs out
        loop.restart()
        await loop.until_idle()
        done = await loop.job(job.id)
        assert (done.state, done.outcome, done.attempts) == (JobState.SUCCEEDED, "promote", 2)


async def test_a_version_that_was_compared_with_another_champion_is_not_promoted(tmp_path: Path) -> None:
    async with running(tmp_path, command=scripted(tmp_path, "meanwhile")) as loop:
        await loop.ask()
        await loop.until_idle()
        found = await loop.version("2")
        assert (found.state, found.reason) == (VersionState.REJECTED, VersionReason.CHAMPION_CHANGED)
        assert loop.served is None


async def test_a_mistake_in_one_retrain_or_deployment_does_not_end_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: object, **__: object) -> None:
        raise TypeError("a mistake")

    async with running(tmp_path, command=scripted(tmp_path, "promote")) as loop:
        with monkeypatch.context() as patched:
            patched.setattr(retrains, "prepare", mistaken)
            job = await loop.ask()
            await loop.until_idle()
        assert (await loop.job(job.id)).error == "TypeError: a mistake (see the log)"
        with monkeypatch.context() as patched:
            patched.setattr("retrain.deployers.make_deployer", mistaken)
            await loop.ask()
            while (await loop.model())["state"] != "held":
                await loop.until_idle()
                loop.now += 200
        assert (await loop.decided())[-1] == ("deploy_failed", "unexpected")


async def test_whatever_a_training_leaves_behind_ends_with_it_and_no_secret_is_handed_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.lifecycle.child.LOOK_SECONDS", 0.1)
    monkeypatch.setenv("DRIFTD_API_TOKEN", "hunter2")
    child = await Child.start(("/bin/sh", "-c", "env >&2; sleep 60 & echo $! >$0/left"), tmp_path)
    assert await child.follow(lambda _: None) == 0
    await child.end()
    assert "PATH=" in child.log_tail()
    assert "hunter2" not in (tmp_path / "retrain.log").read_text()
    await until(lambda: not runs(int((tmp_path / "left").read_text())))


async def test_whatever_a_training_prints_only_progress_is_heard(tmp_path: Path) -> None:
    said = """printf '%s\n' '{"stage": "train", "done": 0.25, "text": "x"}' 'no' '[]' '{"stage": 1}' '{"done": 1}'"""
    endless = "head -c 300000 /dev/zero"
    child = await Child.start(("/bin/sh", "-c", f"{said}; {endless}; echo; {said}"), tmp_path)
    heard: list[Progress] = []
    assert await child.follow(heard.append) == 0
    await child.end()
    assert heard == [Progress("train", 0.25, "x")] * 2


def test_a_recipe_is_the_settings_of_its_model(tmp_path: Path) -> None:
    found = Recipe.of(ModelSettings(), tmp_path)
    assert found == Recipe(deploy=DeployerSettings(directory=tmp_path / "deployed"))
    other = ModelSettings.model_validate(
        {"mode": "recommend", "exclude": "id,name", "retrain": {"command": "python train.py", "window_rows": 9}}
    )
    found = Recipe.of(other, tmp_path)
    assert (found.mode, found.exclude, found.window_rows) == (Mode.RECOMMEND, ("id", "name"), 9)
    assert found.trainer.command == ("python", "train.py")


async def test_the_real_training_learns_from_files_and_from_what_is_not_in_a_file_yet(tmp_path: Path) -> None:
    async with running(tmp_path) as loop:
        await fill_archive(loop, tmp_path)
        job = await loop.ask(Trigger.ALARM, since_row=0)
        await loop.until_idle()
        done = await loop.job(job.id)
        assert (done.outcome, done.error) == ("promote", None)
        assert done.result is not None
        assert done.result["dataset"]["rows"] == 597  # three rows were broken
        assert loop.served == "2"
        (version, result) = loop.adopted[0]
        assert version == "2"
        assert result is not None
        assert pq.read_table(result["reference"]).num_rows == 597
        assert result["picture"].endswith(".png")


def alive(folder: Path, number: int) -> bool:
    """Whether the child of this start still runs."""
    return runs(int((folder / "starts" / str(number)).read_text()))


def runs(process: int) -> bool:
    """Whether a process is there and does something."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # in a container nobody may collect the orphans
