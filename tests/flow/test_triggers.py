"""From alarms, labels, cron times and people to queued retrains and stored decisions."""

import pytest
from retrain_loop import NOW
from sqlalchemy import select, update
from trigger_desk import Desk

from daemon.alerts.notes import NoteKind
from daemon.lifecycle.policy import Action, Reason, Rules, Trigger
from daemon.lifecycle.promotion import VersionState
from daemon.settings import Mode
from daemon.stores import tables


async def test_an_alarm_waits_for_labels_and_then_trains_on_what_came_after_the_change(desk: Desk) -> None:
    alarm = await desk.alarm(since=50)
    for joined in (301, 500, 749):
        decision = await desk.labels(joined)
        assert decision is not None
        assert (decision.action, decision.detail["labels"]) == (Action.WAIT, joined - 250)
    assert await desk.queued() is None
    await desk.labels(750)
    job = await desk.queued()
    assert job is not None
    assert (job.trigger, job.alarm, job.since_row) == (Trigger.ALARM, alarm, 500)
    # the same answer was stored once
    assert await desk.decided() == [("wait", "too_few_labels"), ("retrain", "error_rose")]
    assert [kind for kind, _ in desk.loop.notes] == [NoteKind.RETRAIN_REFUSED]
    assert desk.woken == 1


async def test_enough_labels_train_at_once(desk: Desk) -> None:
    await desk.labels(2_000)
    await desk.alarm(since=600)
    assert (await desk.queued()) is not None
    assert (await desk.loop.model())["state"] == "retraining"


async def test_a_detector_of_features_has_counted_no_labels(desk: Desk) -> None:
    desk.rules = Rules(on=frozenset({"drift"}))
    await desk.labels(2_000)
    await desk.alarm("drift", since=1_900)
    assert await desk.queued() is None
    await desk.labels(2_500)
    job = await desk.queued()
    assert job is not None
    assert (await desk.decided())[-1] == ("retrain", "data_moved")


async def test_what_waits_is_forgotten_when_its_alarm_closes(desk: Desk) -> None:
    await desk.close(await desk.alarm())
    assert await desk.labels(5_000) is None
    assert await desk.queued() is None


async def test_one_training_takes_all_alarms_that_wait(desk: Desk) -> None:
    await desk.alarm(change_row=500)
    await desk.alarm(change_row=520)
    await desk.labels(900)
    job = await desk.queued()
    assert job is not None
    assert job.since_row == 500
    await desk.ended()
    desk.loop.now += 9_000
    assert await desk.labels(901) is None


async def test_refits_follow_as_labels_double_whatever_the_gate_said(desk: Desk) -> None:
    await desk.labels(800)
    alarm = await desk.alarm(since=500)  # 500 labels since the change, at 800
    first = await desk.ended("hold")
    await desk.labels(1_299)
    assert await desk.queued() is None
    await desk.labels(1_300)  # the cooldown does not hold it up
    second = await desk.ended("promote")
    await desk.labels(2_299)
    assert await desk.queued() is None
    await desk.labels(2_300)
    third = await desk.ended("reject")
    await desk.labels(90_000)
    assert await desk.queued() is None
    assert [job.trigger for job in (first, second, third)] == [Trigger.ALARM, Trigger.REFIT, Trigger.REFIT]
    assert {(job.alarm, job.since_row) for job in (first, second, third)} == {(alarm, 500)}


async def test_labels_that_came_after_the_alarm_in_the_same_checkpoint_count(desk: Desk) -> None:
    await desk.labels(5_000)
    await desk.alarm(since=27, later=1_973)
    assert await desk.queued() is not None


async def test_a_new_version_is_watched_until_it_has_answered_enough_labelled_rows(desk: Desk) -> None:
    async def watching(served: int) -> bool:
        await desk.labels(5_000, served=served)
        async with desk.loop.store.read() as connection:
            return bool((await connection.execute(select(tables.models.c.watching))).scalar())

    async with desk.loop.store.begin() as connection:
        await connection.execute(update(tables.models).values(watching=True))
    assert await watching(1_999)
    assert not await watching(2_000)


async def test_a_refit_waits_until_the_version_in_service_can_be_compared(desk: Desk) -> None:
    await desk.labels(800)
    await desk.alarm(since=500)
    await desk.ended("promote")
    await desk.labels(1_300, served=299)  # of the 1,000 labels since the change, the latest 300 judge
    assert await desk.queued() is None
    await desk.labels(1_300, served=300)
    assert await desk.queued() is not None


async def test_refits_that_were_missed_are_made_once(desk: Desk) -> None:
    await desk.labels(800)
    await desk.alarm(since=500)
    await desk.ended()
    await desk.labels(50_000)
    await desk.ended()
    await desk.labels(60_000)
    assert await desk.queued() is None


async def test_a_refit_keeps_to_the_budget_and_waits_for_it(desk: Desk) -> None:
    desk.rules = Rules(budget_per_day=1)
    await desk.labels(800)
    await desk.alarm(since=500)
    await desk.ended()
    await desk.labels(1_300)
    await desk.labels(1_301)
    assert (await desk.decided())[1:] == [("wait", "budget_spent")]
    desk.loop.now += 86_400
    await desk.labels(1_302)
    assert (await desk.decided())[-1] == ("retrain", "refit_more_labels")


async def test_no_refit_for_a_change_that_went_away(desk: Desk) -> None:
    await desk.labels(800)
    alarm = await desk.alarm(since=500)
    await desk.ended()
    await desk.close(alarm)
    await desk.labels(5_000)
    assert await desk.queued() is None


async def test_a_promotion_that_closes_the_alarm_does_not_end_its_refits(desk: Desk) -> None:
    await desk.labels(800)
    alarm = await desk.alarm(since=500)
    await desk.ended("promote")
    await desk.close(alarm, "promoted")
    await desk.labels(1_300)
    assert (await desk.queued()) is not None


async def test_broken_data_explains_the_errors_that_it_makes(desk: Desk) -> None:
    await desk.labels(9_000)
    quality = await desk.alarm("quality", change_row=520, row=530)
    await desk.alarm("concept", change_row=525, row=560, since=2_000)
    await desk.close(quality)
    assert await desk.labels(20_000) is None, "what broken data has raised trains neither then nor later"
    assert await desk.decided() == [("alert_only", "data_broken")] * 2


async def test_what_broken_data_explained_is_asked_about_again_once_it_turns_out_to_be_a_shift(desk: Desk) -> None:
    await desk.labels(9_000)
    quality = await desk.alarm("quality", change_row=520, row=530)
    error = await desk.alarm("concept", change_row=525, row=560, since=2_000)
    over = await desk.alarm("performance", change_row=525, row=570)
    await desk.close(over)
    await desk.renamed(quality, "covariate_shift")
    job = await desk.queued()
    assert job is not None
    assert job.alarm == error
    assert await desk.decided() == [
        *[("alert_only", "data_broken")] * 3,
        ("alert_only", "kind_does_not_train"),
        ("retrain", "error_rose"),
    ]


async def test_what_stays_broken_is_answered_as_before_and_not_stored_twice(desk: Desk) -> None:
    await desk.labels(9_000)
    quality = await desk.alarm("quality", change_row=520, row=530)
    await desk.alarm("concept", change_row=525, row=560, since=2_000)
    await desk.renamed(quality, "data_broken")
    await desk.renamed(quality, "data_broken")
    assert await desk.queued() is None
    assert await desk.decided() == [("alert_only", "data_broken")] * 2


async def test_an_alarm_that_waits_starts_nothing_once_it_turns_out_to_be_broken_data(desk: Desk) -> None:
    alarm = await desk.alarm(since=50)
    await desk.renamed(alarm, "data_broken")
    await desk.labels(5_000)
    assert await desk.queued() is None
    assert (await desk.decided())[-1] == ("alert_only", "data_broken")
    await desk.renamed(alarm, "concept_drift")
    assert (await desk.queued()) is not None


async def test_data_that_breaks_later_keeps_an_alarm_waiting(desk: Desk) -> None:
    await desk.alarm(change_row=500, row=550, since=50)
    quality = await desk.alarm("quality", change_row=580, row=590)
    decision = await desk.labels(9_000)
    assert decision is not None
    assert decision.reason is Reason.DATA_BROKEN
    await desk.close(quality)
    await desk.labels(9_001)
    assert (await desk.queued()) is not None


async def test_cron_trains_from_fresh_labels_and_says_once_why_not(desk: Desk) -> None:
    async def due() -> None:
        async with desk.loop.store.begin() as connection:
            await desk.triggers.schedule(connection, "loans", desk.loop.now)

    for _ in range(3):
        await due()
    assert await desk.decided() == [("refuse", "too_few_labels")]
    await desk.labels(600)
    await due()
    assert (await desk.ended()).trigger is Trigger.SCHEDULE
    desk.loop.now += 90_000
    await due()  # no label since
    assert (await desk.decided())[-2:] == [("retrain", "schedule_due"), ("refuse", "no_labels")]


async def test_a_person_is_always_answered_and_lets_a_held_model_go(desk: Desk) -> None:
    async with desk.loop.store.begin() as connection:
        await connection.execute(update(tables.models).values(held="see to it"))
        answer = await desk.triggers.by_hand(connection, "loans", NOW, by="ann", why="new features")
        assert answer.job is not None
        refused = await desk.triggers.by_hand(connection, "loans", NOW, by="bob")
        assert (refused.decision.action, refused.job) == (Action.REFUSE, None)
        stored = (await connection.execute(select(tables.decisions.c.detail))).scalars().all()
    assert (stored[0]["by"], stored[0]["why"]) == ("ann", "new features")
    assert (await desk.loop.model())["held"] is None
    assert (answer.job.by, answer.job.trigger) == ("ann", Trigger.MANUAL)


async def test_trainings_by_hand_learn_from_what_came_after_the_last_change(desk: Desk) -> None:
    await desk.labels(800)
    await desk.alarm(change_row=500, since=500)
    await desk.ended()
    async with desk.loop.store.begin() as connection:
        answer = await desk.triggers.by_hand(connection, "loans", NOW, by="ann")
    assert answer.job is not None
    assert answer.job.since_row == 500


async def test_observing_only_tells(desk: Desk) -> None:
    desk.rules = Rules(mode=Mode.OBSERVE)
    await desk.labels(9_000)
    await desk.alarm(since=5_000)
    assert await desk.labels(9_001) is None
    assert (await desk.decided(), await desk.queued()) == ([("alert_only", "mode_observes")], None)


async def test_a_version_that_somebody_else_deploys_is_in_service_from_when_it_serves(desk: Desk) -> None:
    async with desk.loop.store.begin() as connection:
        await desk.triggers.met_version(connection, "loans", "7", NOW, 600)
    assert ((await desk.loop.version("7")).state, (await desk.loop.model())["version"]) == (VersionState.SEEN, "1")
    async with desk.loop.store.begin() as connection:
        await desk.triggers.serves(connection, "loans", "7", NOW, 650)
        await desk.triggers.serves(connection, "loans", "7", NOW + 1, 700)
    found = await desk.loop.version("7")
    assert (found.state, found.origin, found.from_row, found.previous) == (VersionState.CHAMPION, "external", 650, "1")
    assert (await desk.loop.version("1")).state is VersionState.RETIRED
    assert (await desk.loop.model())["version"] == "7"


async def test_an_alarm_that_is_not_there_is_a_mistake(desk: Desk) -> None:
    async with desk.loop.store.begin() as connection:
        with pytest.raises(LookupError, match="no alarm 99"):
            await desk.triggers.alarm(connection, "loans", 99, NOW)


async def test_a_change_told_by_whole_rows_waits_until_the_data_is_mended_and_then_trains(desk: Desk) -> None:
    await desk.labels(9_000)
    quality = await desk.alarm("quality", change_row=520, row=530)
    error = await desk.alarm("concept", change_row=525, row=560, since=2_000)
    await desk.renamed(error, "concept_drift")
    assert (await desk.decided())[-1] == ("wait", "data_broken")
    await desk.labels(9_001)
    assert await desk.queued() is None
    await desk.close(quality)
    await desk.labels(9_002)
    job = await desk.queued()
    assert job is not None
    assert job.alarm == error


async def test_no_refit_for_what_turns_out_to_be_broken_data(desk: Desk) -> None:
    await desk.labels(9_000)
    alarm = await desk.alarm(since=600)
    await desk.ended()
    await desk.renamed(alarm, "data_broken")
    await desk.labels(20_000)
    assert await desk.queued() is None


async def test_what_is_asked_about_again_does_not_wait_behind_newer_alarms(desk: Desk) -> None:
    await desk.labels(1_000)
    quality = await desk.alarm("quality", change_row=520, row=530, rose=0.2)
    await desk.renamed(quality, "data_broken")
    old = await desk.alarm("concept", change_row=525, row=560, since=100)
    await desk.renamed(quality, "covariate_shift")
    await desk.labels(1_300)
    await desk.alarm("performance", change_row=900, row=950, since=20)
    await desk.labels(1_450)
    job = await desk.queued()
    assert job is not None
    assert job.alarm == old
