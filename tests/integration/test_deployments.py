"""From a version that passed its gate into service, and back."""

import asyncio
import shutil
from pathlib import Path

import pytest
from retrain_loop import fill_archive, recipe, running, scripted
from s3_server import SECRET_KEY
from sqlalchemy import update

from daemon.alerts.notes import NoteKind
from daemon.lifecycle import versions
from daemon.lifecycle.outcome import standing
from daemon.lifecycle.policy import Trigger
from daemon.lifecycle.promotion import VersionReason, VersionState
from daemon.lifecycle.triggers import start_rollback
from daemon.settings import Mode
from daemon.stores import tables
from retrain.base import Outcome
from retrain.deployers.settings import DeployerSettings
from retrain.registry import verify
from retrain.storage.base import Storage


async def test_files_that_are_not_what_was_evaluated_are_never_deployed(tmp_path: Path) -> None:
    async with running(tmp_path, recipe(tmp_path, mode=Mode.RECOMMEND), command=scripted(tmp_path, "promote")) as loop:
        await loop.ask()
        await loop.until_idle()
        (tmp_path / "models" / "loans" / "2" / "model.txt").write_text("something else")
        async with loop.store.begin() as connection:
            await versions.send(connection, "loans", "2", VersionReason.APPROVED, "ann")
        await loop.until_idle()
        assert (loop.served, (await loop.model())["version"]) == (None, "1")
        assert (await loop.version("2")).reason == VersionReason.DEPLOY_FAILED
        model = await loop.model()
        assert model["state"] == "held"
        assert "is not what was evaluated" in model["held"]


async def test_a_deployment_that_fails_is_tried_again_and_then_a_person_is_asked(tmp_path: Path) -> None:
    command = ("/bin/sh", "-c", f"test -e {tmp_path}/ready")
    by_command = recipe(tmp_path, deployer="command", deploy=DeployerSettings(command=command))
    async with running(tmp_path, by_command, command=scripted(tmp_path, "promote")) as loop:
        await loop.ask()
        waits = 0
        while (await loop.model())["state"] != "held":
            await loop.until_idle()
            loop.now += 200
            waits += 1
        assert waits == 4
        assert (await loop.version("2")).state is VersionState.AWAITING
        assert loop.notes[-1][0] is NoteKind.DEPLOY_FAILED
        assert (await loop.decided())[-1] == ("deploy_failed", "command_failed")
        (tmp_path / "ready").touch()
        async with loop.store.begin() as connection:
            await versions.send(connection, "loans", "2", VersionReason.BY_HAND, "ann")
        await loop.until_idle()
        model = await loop.model()
        assert (model["version"], model["state"], model["held"]) == ("2", "watching", None)


async def test_two_daemons_deploy_a_version_once(tmp_path: Path) -> None:
    async with running(tmp_path, recipe(tmp_path, mode=Mode.RECOMMEND), command=scripted(tmp_path, "promote")) as loop:
        await loop.ask()
        await loop.until_idle()
        async with loop.store.begin() as connection:
            await versions.send(connection, "loans", "2", VersionReason.APPROVED, "ann")
        first = loop.retrains.deployments
        loop.restart()
        await asyncio.gather(first.step(), loop.retrains.deployments.step())
        model = await loop.model()
        assert (model["version"], model["promotions"], model["state"]) == ("2", 1, "watching")
        assert [kind for kind, _ in loop.notes].count(NoteKind.PROMOTED) == 1


@pytest.mark.parametrize("moment", [None, f"note {NoteKind.ROLLED_BACK}", "before adoption", "after adoption"])
async def test_a_rollback_brings_the_version_before_back_whatever_crashes(tmp_path: Path, moment: str | None) -> None:
    async with running(tmp_path, command=scripted(tmp_path, "promote")) as loop:
        for _ in range(2):
            await loop.ask()
            await loop.until_idle()
        assert loop.served == "3"
        async with loop.store.begin() as connection:
            await start_rollback(connection, "loans", None)
        loop.die_at = moment
        await loop.until_idle()
        assert loop.die_at is None
        back, former, model = await loop.version("2"), await loop.version("3"), await loop.model()
        assert (back.state, former.state) == (VersionState.CHAMPION, VersionState.WITHDRAWN)
        assert (former.reason, loop.served, model["version"]) == (VersionReason.DISAPPOINTED, "2", "2")
        assert (model["rollbacks"], model["promotions"], model["state"]) == (1, 2, "steady")
        assert loop.adopted[-1][0] == "2"
        assert loop.notes[-1][0] is NoteKind.ROLLED_BACK


@pytest.mark.parametrize("moment", [None, "note promoted", "note rolled_back", "after adoption"])
@pytest.mark.parametrize("linked", [True, False])
async def test_the_first_rollback_brings_back_what_served_before_there_was_a_version_of_ours(
    tmp_path: Path, moment: str | None, linked: bool
) -> None:
    current = tmp_path / "deployed" / "loans" / "current"
    (tmp_path / "own").mkdir()
    if linked:
        current.parent.mkdir(parents=True)
        current.symlink_to(tmp_path / "own")
    async with running(tmp_path, command=scripted(tmp_path, "promote")) as loop:
        loop.die_at = moment
        await loop.ask()
        await loop.until_idle()
        assert loop.served == "2"
        async with loop.store.begin() as connection:
            await start_rollback(connection, "loans", None)
        await loop.until_idle()
        assert loop.die_at is None
        own, former, model = await loop.version("1"), await loop.version("2"), await loop.model()
        assert (own.state, former.state) == (VersionState.CHAMPION, VersionState.WITHDRAWN)
        assert (model["version"], model["state"], model["held"], model["rollbacks"]) == ("1", "steady", None, 1)
        assert loop.served == ("own" if linked else None)
        assert loop.adopted[-1] == ("1", None)


async def test_where_nothing_can_be_done_the_model_is_held_with_what_to_do(tmp_path: Path) -> None:
    async with running(tmp_path, command=scripted(tmp_path, "promote")) as loop:
        await loop.ask()
        await loop.until_idle()
        async with loop.store.begin() as connection:
            # nobody was there to see what the link pointed to
            await connection.execute(update(tables.versions).where(tables.versions.c.version == "1").values(path=None))
            await start_rollback(connection, "loans", None)
        await loop.until_idle()
        model = await loop.model()
        assert (model["version"], model["state"], loop.served) == ("2", "held", "2")
        assert f"point {tmp_path}/deployed/loans/current to its files yourself" in model["held"]
        assert "driftd promote" not in model["held"]


@pytest.mark.parametrize(
    ("outcome", "mode", "same", "expected"),
    [
        (Outcome.PROMOTE, Mode.AUTO, True, (VersionState.DEPLOYING, VersionReason.PASSED)),
        (Outcome.PROMOTE, Mode.RECOMMEND, True, (VersionState.AWAITING, VersionReason.PASSED)),
        (Outcome.PROMOTE, Mode.OBSERVE, True, (VersionState.AWAITING, VersionReason.PASSED)),
        (Outcome.PROMOTE, Mode.AUTO, False, (VersionState.REJECTED, VersionReason.CHAMPION_CHANGED)),
        (Outcome.HOLD, Mode.AUTO, True, (VersionState.REJECTED, VersionReason.HELD)),
        (Outcome.REJECT, Mode.AUTO, True, (VersionState.REJECTED, VersionReason.REJECTED)),
    ],
)
def test_only_what_passed_in_auto_is_deployed_by_itself(
    outcome: Outcome, mode: Mode, same: bool, expected: tuple[VersionState, VersionReason]
) -> None:
    assert standing(outcome, mode, same_champion=same) == expected


async def test_what_one_node_trains_another_deploys(tmp_path: Path, storage: Storage) -> None:
    for node in ("one", "two"):
        (tmp_path / node).mkdir()
    asked = recipe(tmp_path / "one", mode=Mode.RECOMMEND)
    async with running(tmp_path, asked, storage=storage) as loop:
        await fill_archive(loop, tmp_path, storage)
        loop.folder = tmp_path / "one"
        loop.restart()
        job = await loop.ask(Trigger.ALARM, since_row=0)
        await loop.until_idle()
        done = await loop.job(job.id)
        assert (done.outcome, done.error) == ("promote", None)
        assert done.result is not None
        assert done.result["dataset"]["rows"] == 597
        kept = {one.name for one in storage.files("jobs")}
        assert kept == {f"jobs/{job.id}/{name}" for name in ("dataset.parquet", "reference.parquet", "challenger.png")}
        # what tells of the retrain holds no key to the storage
        for file in (tmp_path / "one" / "jobs").rglob("*"):
            assert not file.is_file() or SECRET_KEY.encode() not in file.read_bytes()
        shutil.rmtree(tmp_path / "one")  # the first node is gone, with its disk
        loop.folder, loop.recipe = tmp_path / "two", recipe(tmp_path / "two")
        loop.restart()
        async with loop.store.begin() as connection:
            await versions.send(connection, "loans", "2", VersionReason.APPROVED, "ann")
        await loop.until_idle()
        assert (loop.served, (await loop.model())["version"]) == ("2", "2")
        verify(tmp_path / "two" / "models" / "loans" / "2", done.result["model_hash"])


async def test_a_version_that_was_changed_in_the_storage_is_never_deployed(tmp_path: Path, storage: Storage) -> None:
    asked = recipe(tmp_path, mode=Mode.RECOMMEND)
    async with running(tmp_path, asked, storage=storage) as loop:
        await fill_archive(loop, tmp_path, storage)
        await loop.ask(Trigger.ALARM, since_row=0)
        await loop.until_idle()
        shutil.rmtree(tmp_path / "models")
        [model] = [one for one in storage.files("models") if one.name.endswith(".skops")]
        with storage.create(model.name) as sink:
            sink.write(b"something else")
        async with loop.store.begin() as connection:
            await versions.send(connection, "loans", "2", VersionReason.APPROVED, "ann")
        await loop.until_idle()
        assert (loop.served, (await loop.model())["version"]) == (None, "1")
        assert "is not what was evaluated" in (await loop.model())["held"]
