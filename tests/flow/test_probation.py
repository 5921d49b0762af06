"""A new version is on probation: taken back where it disappoints, and kept where the world changes."""

import pytest
from sqlalchemy import update
from trigger_desk import Desk, promote

from daemon.alerts.notes import NoteKind
from daemon.stores import tables


@pytest.mark.parametrize(("rose", "taken_back"), [(0.05, False), (0.3, True)])
async def test_a_new_version_is_taken_back_only_where_the_one_before_may_be_better(
    desk: Desk, *, rose: float, taken_back: bool
) -> None:
    await promote(desk, "2")
    await promote(desk, "3", gain=0.2)
    await desk.alarm(change_row=610, row=900, rose=rose)
    assert (await desk.loop.version("2")).rolls_back == taken_back
    assert ([one for one, _ in await desk.decided()] == ["rollback"]) == taken_back


async def test_a_new_version_that_never_kept_its_promise_is_taken_back(desk: Desk) -> None:
    await promote(desk, "2")
    await promote(desk, "3")
    await desk.alarm(change_row=610, row=900)
    assert (await desk.loop.version("2")).rolls_back
    assert (await desk.decided(), desk.woken) == ([("rollback", "new_version_disappoints")], 1)
    assert (await desk.loop.model())["state"] == "evaluating"


async def test_a_first_version_is_taken_back_for_one_that_was_not_made_here(desk: Desk) -> None:
    await promote(desk)
    await desk.alarm(change_row=610, row=900)
    assert (await desk.loop.version("1")).rolls_back
    assert (await desk.loop.model())["held"] is None


async def test_a_new_version_that_cannot_be_taken_back_holds_the_model(desk: Desk) -> None:
    await promote(desk, "2")
    await promote(desk, "3")
    async with desk.loop.store.begin() as connection:
        await connection.execute(update(tables.versions).where(tables.versions.c.version == "2").values(path=None))
    await desk.alarm(change_row=610, row=900)
    model = await desk.loop.model()
    assert (model["state"], model["version"]) == ("held", "3")
    assert "not kept any more; driftd retrain loans" in model["held"]
    assert desk.loop.notes[-1][0] is NoteKind.DEPLOY_FAILED


async def test_a_change_of_the_world_on_probation_trains(desk: Desk) -> None:
    await promote(desk)
    await desk.labels(9_000)
    await desk.alarm(change_row=2_000, row=2_500, since=800)
    assert (await desk.queued()) is not None
