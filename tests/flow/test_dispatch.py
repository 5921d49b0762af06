"""From an alarm to what a person reads in Slack."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alerting import SLACK, World, world

from daemon.alerts import incidents, silences
from daemon.alerts.dispatch import Dispatcher
from daemon.alerts.notes import NoteKind
from daemon.metrics import Metrics

HOUR = 3600.0


@pytest.fixture(params=SLACK)
async def either(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, request.param) as one:
        yield one


@pytest.fixture
async def bot(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, "slack_bot") as one:
        yield one


@pytest.fixture
async def webhook(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, "slack_webhook") as one:
        yield one


async def test_a_bot_has_one_message_an_incident_and_tells_the_rest_in_its_thread(bot: World) -> None:
    alarm = await bot.alarm(evidence={"reference": 0.1, "current": 0.21}, severity="critical")
    await bot.pass_time(60)
    await bot.note(NoteKind.RETRAIN_STARTED, version="4", rows=1240)
    await bot.pass_time(60)
    top = bot.server.messages[0]
    assert "error rate 0.10 -&gt; 0.21" in top.text
    assert top.text.endswith("retraining version 4 with 1,240 labelled rows")
    await bot.note(NoteKind.PROMOTED, version="4", previous="3")
    assert await bot.close_alarms(alarm)
    await bot.pass_time(60)
    assert top.text.startswith("loans: over")
    assert [message.thread_ts for message in bot.server.messages[1:]] == [top.ts] * (len(bot.server.messages) - 1)
    thread = "\n".join(message.all_text() for message in bot.server.messages[1:])
    for detail in ("by e_detector", "retraining version 4", "version 4 is in service instead of 3", "over"):
        assert detail in thread
    assert (await bot.incident())["message_ts"] == top.ts
    assert all(row["state"] == "sent" for row in await bot.outbox())


async def test_a_webhook_says_each_thing_once_in_a_short_message(webhook: World) -> None:
    await webhook.alarm(evidence={"reference": 0.1, "current": 0.21})
    await webhook.pass_time(60)
    await webhook.note(NoteKind.RETRAIN_STARTED, version="4", rows=1240)
    await webhook.pass_time(60)
    await webhook.note(NoteKind.PROMOTED, version="4", previous="3")
    await webhook.close_alarms()
    await webhook.pass_time(60)
    first, *others = webhook.said()
    assert first.startswith("loans: the model errs more often: error rate 0.10")
    assert others == [
        "loans: retraining version 4 with 1,240 labelled rows",
        "loans: version 4 is in service instead of 3; over",
    ]
    assert [row["kind"] for row in await webhook.outbox()] == ["opened", "updated", "closed"]


async def test_alarms_of_a_model_are_one_incident_and_those_of_another_are_not(either: World) -> None:
    for signal in ("feature:age", "feature:income"):
        await either.alarm(signal, "drift")
    await either.alarm(model="churn")
    await either.pass_time(60)
    opened = [row for row in await either.outbox() if row["kind"] == "opened"]
    assert sorted(row["model"] for row in opened) == ["churn", "loans"]
    loans = next(text for text in either.said() if text.startswith("loans"))
    assert "age, income" in loans
    headline = (await either.incident("loans"))["headline"]
    assert "age, income" in headline


async def test_a_storm_of_alarms_is_few_messages(either: World) -> None:
    names = [f"feature:f{number:03}" for number in range(500)]
    await either.raise_all(names[:300], "drift")
    await either.pass_time(6)
    for number in range(300, 500, 5):
        await either.raise_all(names[number : number + 5], "drift")
        await either.pass_time(1)
    await either.pass_time(60)
    assert len(either.server.requests) <= 10
    rows = await either.outbox()
    assert all(row["state"] == "sent" for row in rows)
    told = [alarm for row in rows if row["kind"] != "detail" for alarm in row["body"]["alarms"]]
    assert sorted(told) == list(range(1, 501))
    seen = either.server.requests[0].all_text()
    assert "f000, f001, f002 and over 57 more" in seen
    assert "and 240 more open alarms" in seen


async def test_a_new_incident_waits_for_company_and_an_urgent_alarm_does_not(bot: World) -> None:
    await bot.alarm("feature:age", "drift")
    assert await bot.dispatcher.step() == pytest.approx(incidents.GROUP_SECONDS)
    await bot.pass_time(60)
    await bot.alarm("feature:income", "drift")
    assert await bot.dispatcher.step() > 10
    await bot.alarm("error", severity="critical")
    assert await bot.dispatcher.step() < 2
    await bot.pass_time(60)
    assert [message.broadcast for message in bot.server.messages if message.thread_ts] == [False, True]


async def test_broken_data_speaks_for_the_drift_that_it_explains(either: World) -> None:
    nulls = await either.alarm("feature:income", "quality")
    drift = await either.alarm("feature:income", "drift")
    await either.pass_time(60)
    held = [row for row in await either.outbox() if row["state"] == "dropped"]
    assert [(row["error"], row["body"]["alarms"]) for row in held] == [("inhibited", [drift])]
    assert "moved" not in either.said()[0]
    before = len(either.server.requests)
    assert not await either.close_alarms(nulls)
    await either.pass_time(60)
    assert any("what goes into the model has moved" in text for text in either.said()[before:]), "it is not lost"


async def test_a_silence_keeps_quiet_and_what_still_holds_is_said_when_it_ends(either: World) -> None:
    async with either.store.begin() as connection:
        await silences.silence(
            connection, "loans", None, until=either.clock.now() + HOUR, by="ann", reason="", now=either.clock.now()
        )
    gone = await either.alarm("feature:age", "drift")
    await either.alarm("feature:income", "drift")
    await either.note(NoteKind.RETRAIN_REFUSED, reason="cooldown")
    await either.skip(HOUR / 2)
    await either.close_alarms(gone)
    await either.skip(HOUR / 2 - 30)
    assert either.said() == []
    assert {row["error"] for row in await either.outbox()} == {"silenced", "nothing_said"}
    await either.pass_time(60)
    assert "income" in either.said()[0]
    assert "age" not in either.said()[0]
    assert "not retraining: cooldown" in either.server.requests[0].all_text()


async def test_what_was_done_under_a_silence_is_said_after_it(either: World) -> None:
    await either.alarm()
    await either.pass_time(60)
    async with either.store.begin() as connection:
        now = either.clock.now()
        await silences.silence(connection, "loans", None, until=now + HOUR, by="ann", reason="", now=now)
    before = len(either.said())
    await either.note(NoteKind.RETRAIN_STARTED, rows=1240)
    await either.skip(HOUR - 30)
    assert len(either.said()) == before
    await either.pass_time(60)
    assert "retraining with 1,240 labelled rows" in either.said()[before]


async def test_news_that_come_while_a_message_is_on_its_way_are_not_lost_in_it(either: World) -> None:
    await either.alarm()

    async def meanwhile() -> None:
        await either.note(NoteKind.RETRAIN_STARTED, rows=1240)

    either.notifier.meanwhile = meanwhile
    await either.pass_time(60)
    first, *others = either.server.requests
    assert "retraining" not in first.all_text()
    assert "retraining with 1,240 labelled rows" in "".join(one.all_text() for one in others)


async def test_a_silence_of_one_signal_leaves_the_others_loud(either: World) -> None:
    async with either.store.begin() as connection:
        until = either.clock.now() + HOUR
        number = await silences.silence(
            connection, "loans", "feature:age", until=until, by="ann", reason="", now=either.clock.now()
        )
    await either.alarm("feature:age", "drift")
    await either.alarm("error")
    await either.pass_time(60)
    assert "errs more often" in either.said()[0]
    assert "age" not in "".join(either.said())
    async with either.store.begin() as connection:
        assert await silences.lift(connection, number, either.clock.now())
        assert not await silences.lift(connection, number, either.clock.now())
    await either.pass_time(60)
    assert "age" in "".join(message.all_text() for message in either.server.messages)


async def test_an_incident_that_was_never_said_ends_without_a_word(either: World) -> None:
    async with either.store.begin() as connection:
        await silences.silence(
            connection, "loans", None, until=either.clock.now() + HOUR, by="ann", reason="", now=either.clock.now()
        )
    await either.alarm()
    await either.note(NoteKind.RETRAIN_STARTED, rows=5)
    assert await either.close_alarms()
    await either.skip(2 * HOUR)
    assert either.said() == []
    assert "over" in [row["error"] for row in await either.outbox()]
    assert (await either.incident())["headline"].startswith("loans: over")


async def test_the_end_is_said_after_the_silence_in_which_it_came(either: World) -> None:
    await either.alarm()
    await either.pass_time(60)
    async with either.store.begin() as connection:
        await silences.silence(
            connection, "loans", None, until=either.clock.now() + HOUR, by="ann", reason="", now=either.clock.now()
        )
    before = len(either.said())
    await either.note(NoteKind.PROMOTED, version="4")
    await either.close_alarms()
    await either.skip(HOUR / 2)
    assert len(either.said()) == before
    await either.skip(HOUR)
    assert "over" in either.server.requests[before].text
    assert "version 4 is in service" in either.server.requests[before].all_text()


async def test_what_matters_is_said_without_an_incident_and_the_rest_is_not(either: World) -> None:
    await either.note(NoteKind.RETRAIN_STARTED, trigger="schedule")
    await either.note(NoteKind.PROMOTED, version="5", previous="4")
    await either.pass_time(30)
    assert either.said() == ["loans: version 5 is in service instead of 4"]


async def test_an_acknowledged_alarm_names_who_looks_after_it(either: World) -> None:
    alarm = await either.alarm()
    await either.pass_time(30)
    async with either.store.begin() as connection:
        assert await incidents.acknowledge(connection, alarm, "ann", either.clock.now())
        assert not await incidents.acknowledge(connection, alarm, "bob", either.clock.now())
        assert not await incidents.acknowledge(connection, 999, "bob", either.clock.now())
    await either.pass_time(30)
    assert "acknowledged by ann" in either.server.requests[-1].all_text()


async def test_an_incident_that_stays_open_is_said_again_unless_somebody_looks_after_it(either: World) -> None:
    await either.alarm()
    alarm = await either.alarm(model="churn")
    await either.pass_time(60)
    async with either.store.begin() as connection:
        await incidents.acknowledge(connection, alarm, "ann", either.clock.now())
    await either.pass_time(60)
    before = len(either.server.requests)
    either.clock.advance(23 * HOUR)
    await either.pass_time(60)
    assert len(either.server.requests) == before
    either.clock.advance(HOUR)
    await either.pass_time(120)
    again = either.server.requests[before:]
    assert {carried.text.split(":")[0] for carried in again} == {"loans"}
    assert "1 alarm open" in again[-1].all_text()


async def test_an_alarm_that_the_model_does_not_have_is_refused(bot: World) -> None:
    with pytest.raises(LookupError, match="loans has not all of the alarms 999"):
        async with bot.store.begin() as connection:
            await incidents.raise_alarm(connection, "loans", 999, bot.clock.now())
    assert await bot.outbox() == []


async def test_running_it_sends_at_once_when_woken_and_stops_when_told(webhook: World) -> None:
    dispatcher = Dispatcher(webhook.store, webhook.notifier, metrics=Metrics())  # the machine's own clock
    task = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0)
    await webhook.note(NoteKind.PROMOTED, version="5")
    dispatcher.wake()
    async with asyncio.timeout(5):
        await webhook.server.carried.wait()
        await dispatcher.stop()
        await task
    assert webhook.said() == ["loans: version 5 is in service"]
    await dispatcher.stop()
