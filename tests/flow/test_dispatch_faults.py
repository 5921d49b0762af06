"""Nothing is lost and nothing is said twice unmarked, whatever Slack, the store or the process does."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from alerting import SLACK, START, Killed, World, world
from databases import Database
from slack_server import Fault
from sqlalchemy.exc import OperationalError

from daemon import logs
from daemon.alerts.notes import NoteKind
from daemon.settings import LogFormat, LogLevel

HOUR = 3600.0
REPEAT = "may be a repeat"


@pytest.fixture(params=SLACK)
async def either(request: pytest.FixtureRequest, tmp_path: Path, database: Database) -> AsyncIterator[World]:
    async with world(tmp_path, request.param, database.store(tmp_path)) as one:
        yield one


@pytest.fixture
def written(logging_as_before: None) -> io.StringIO:
    stream = io.StringIO()
    logs.configure(LogLevel.INFO, LogFormat.JSON, stream=stream, environ={})
    return stream


async def test_killed_before_anything_left_it_is_sent_exactly_once(either: World) -> None:
    await either.alarm()
    await either.restart()
    await either.pass_time(60)
    opened = [carried for carried in either.server.requests if not carried.posted.thread_ts]
    assert len(opened) == 1
    assert REPEAT not in opened[0].all_text()


@pytest.mark.parametrize("died", ["before", "after"])
async def test_killed_on_the_way_it_is_sent_again_and_says_so(either: World, died: str) -> None:
    await either.alarm()
    setattr(either.notifier, f"die_{died}", True)
    with pytest.raises(Killed):
        await either.pass_time(60)
    await either.restart()
    await either.pass_time(60)
    posts = [carried.all_text() for carried in either.server.requests if not carried.posted.thread_ts]
    assert len(posts) == (2 if died == "after" else 1)
    assert [REPEAT in text for text in posts] == [False, True][-len(posts) :]
    await either.skip(HOUR)
    assert len([one for one in either.server.requests if not one.posted.thread_ts]) == len(posts)


async def test_killed_after_an_edit_the_edit_is_made_again_without_a_word(tmp_path: Path) -> None:
    async with world(tmp_path, "slack_bot") as bot:
        await bot.alarm()
        await bot.pass_time(60)
        await bot.note(NoteKind.PROMOTED, version="4")
        bot.notifier.die_after = True
        with pytest.raises(Killed):
            await bot.pass_time(60)
        await bot.restart()
        await bot.pass_time(60)
        assert [message.thread_ts for message in bot.server.messages].count(None) == 1
        assert not any(REPEAT in carried.all_text() for carried in bot.server.requests)


async def test_after_a_death_on_the_way_nothing_overtakes_the_first_message(either: World) -> None:
    await either.alarm()
    either.notifier.die_before = True
    with pytest.raises(Killed):
        await either.pass_time(60)
    await either.restart()
    await either.note(NoteKind.RETRAIN_STARTED, rows=1240)
    await either.pass_time(60)
    assert (await either.outbox())[0]["sent"] == min(row["sent"] for row in await either.outbox())
    assert "errs more often" in either.said()[0]


async def test_news_behind_a_message_in_doubt_are_merged_as_well(either: World) -> None:
    either.server.fault = Fault.LOST
    await either.alarm()
    for number in range(20):
        await either.pass_time(30)
        await either.note(NoteKind.RETRAIN_REFUSED, reason=f"reason_{number}")
    assert len(await either.outbox()) == 2
    either.server.fault = None
    await either.pass_time(600)
    assert "reason 19" in either.server.requests[-1].all_text()


async def test_a_lost_answer_makes_one_marked_repeat(either: World) -> None:
    either.server.faults.append(Fault.LOST)
    await either.alarm()
    await either.pass_time(60)
    posts = [carried.all_text() for carried in either.server.requests if not carried.posted.thread_ts]
    assert [REPEAT in text for text in posts] == [False, True]
    assert (await either.outbox())[0]["maybe_sent"], "the store knows that it may have been said twice"


@pytest.mark.parametrize("fault", [Fault.UNAVAILABLE, Fault.RATE])
async def test_a_fault_in_which_nothing_was_done_makes_no_repeat(either: World, fault: Fault) -> None:
    either.server.faults += [fault] * 5
    await either.alarm()
    await either.pass_time(300)
    posts = [carried.all_text() for carried in either.server.requests if not carried.posted.thread_ts]
    assert len(posts) == 1
    assert REPEAT not in posts[0]


async def test_after_an_hour_without_slack_everything_arrives_in_order_and_merged(either: World) -> None:
    await either.server.down()
    models = ["loans", "churn", "fraud"]
    for model in models:
        await either.alarm(model=model)
        await either.pass_time(10)
    for number in range(10):
        for model in models:
            await either.alarm(f"feature:f{number}", "drift", model)
            await either.note(NoteKind.RETRAIN_REFUSED, model, reason="cooldown")
        await either.pass_time(HOUR / 10)
    await either.note(NoteKind.RETRAIN_STARTED, "loans", rows=1240)
    assert either.server.requests == []
    await either.server.up()
    await either.pass_time(400)
    tops = [carried for carried in either.server.requests if carried.method != "chat.update"]
    firsts = [carried.text.split(":")[0] for carried in tops if not carried.posted.thread_ts][:3]
    assert firsts == models
    assert len(either.server.requests) <= 3 * 3
    loans = [carried for carried in either.server.requests if carried.text.startswith("loans")]
    assert "retraining with 1,240 labelled rows" in loans[0].all_text()
    assert not any(REPEAT in carried.all_text() for carried in either.server.requests), "no connection, no doubt"
    assert all(row["state"] == "sent" for row in await either.outbox())


async def test_the_pause_that_slack_asks_for_is_kept_and_survives_a_wake(either: World) -> None:
    either.server.faults.append(Fault.RATE)
    either.server.retry_after = 120
    await either.alarm()
    await either.pass_time(10)
    assert len(either.notifier.tries) == 1
    for _ in range(10):
        either.dispatcher.wake()
        await either.pass_time(10)
    assert len(either.notifier.tries) == 1
    await either.pass_time(30)
    assert len(either.notifier.tries) > 1
    assert len(either.server.requests) >= 1


async def test_it_keeps_to_slacks_pace_without_being_told(either: World) -> None:
    for number in range(20):
        await either.alarm(model=f"m{number}")
    await either.pass_time(100)
    assert {text.split(":")[0] for text in either.said()} == {f"m{number}" for number in range(20)}
    assert either.server.refusals == []


async def test_retries_slow_down_and_never_end(either: World) -> None:
    either.server.fault = Fault.UNAVAILABLE
    await either.alarm()
    await either.pass_time(60)
    first_minute = len(either.notifier.tries)
    assert first_minute >= 4
    await either.pass_time(2 * HOUR)
    later = len(either.notifier.tries) - first_minute
    assert 2 * 12 <= later <= 2 * 24, "every two and a half to five minutes"
    either.server.fault = None
    await either.pass_time(400)
    assert either.server.requests
    assert either.metrics.exposition("")[0].count(b'driftd_outbox_failed_total{reason="unavailable"}') == 1


async def test_what_only_a_person_can_mend_is_said_loudly_and_tried_slowly(either: World, written: io.StringIO) -> None:
    either.server.archived.add("C0ALERTS")
    await either.alarm()
    for _ in range(60):
        await either.skip(60)
    assert 5 <= len(either.notifier.tries) <= 8
    assert '"level": "error"' in written.getvalue()
    assert "alerts cannot be sent until somebody acts" in written.getvalue()
    assert "channel" in (await either.outbox())[0]["error"]
    either.server.archived.clear()
    await either.restart()
    await either.pass_time(30)
    assert either.server.requests, "a restart tries at once: it may be what the operator did to mend it"


async def test_a_message_that_slack_refuses_goes_out_bare_and_holds_up_nobody(
    either: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = type(either.server)._flaw
    monkeypatch.setattr(
        type(either.server),
        "_flaw",
        lambda server, body: (
            "invalid_blocks" if body.get("blocks") and "loans" in body["text"] else whole(server, body)
        ),
    )
    await either.alarm()
    await either.alarm(model="churn")
    await either.pass_time(60)
    assert [text.split(":")[0] for text in either.said() if "errs" in text][:2] == ["loans", "churn"]
    monkeypatch.setattr(
        type(either.server),
        "_flaw",
        lambda server, body: "invalid_payload" if "fraud" in body["text"] else whole(server, body),
    )
    await either.alarm(model="fraud")
    await either.alarm(model="prices")
    await either.pass_time(60)
    assert "prices" in either.said()[-1]
    refused = next(row for row in await either.outbox() if row["model"] == "fraud")
    assert (refused["state"], refused["error"]) == ("dropped", "refused")


async def test_what_was_sent_and_could_not_be_written_down_is_not_sent_again(
    either: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await either.alarm()
    begin, calls = either.store.begin, 0

    @asynccontextmanager
    async def full_disk() -> AsyncIterator[Any]:
        nonlocal calls
        calls += 1
        if calls in (3, 4):  # the first chores, the claim, then twice the record
            raise OperationalError("commit", {}, Exception("database or disk is full"))
        async with begin() as connection:
            yield connection

    monkeypatch.setattr(either.store, "begin", full_disk)
    either.clock.advance(10)
    for _ in range(2):
        with pytest.raises(OperationalError):
            await either.dispatcher.step()
    await either.pass_time(120)
    assert len([one for one in either.server.requests if not one.posted.thread_ts]) == 1


async def test_a_store_that_is_away_does_not_end_the_loop(
    either: World, monkeypatch: pytest.MonkeyPatch, written: io.StringIO
) -> None:
    read, calls = either.store.read, 0

    @asynccontextmanager
    async def away() -> AsyncIterator[Any]:
        nonlocal calls
        calls += 1
        if calls <= 3:
            raise ConnectionRefusedError
        async with read() as connection:
            yield connection

    monkeypatch.setattr(either.store, "read", away)
    await either.alarm()
    task = asyncio.create_task(either.dispatcher.run())
    async with asyncio.timeout(10):
        await either.server.carried.wait()
        await either.dispatcher.stop()
        await task
    assert written.getvalue().count("the outbox cannot be read or written") == 3
    assert "Traceback" not in written.getvalue()


async def test_a_clock_that_is_set_back_delays_nothing(either: World) -> None:
    await either.alarm()
    either.clock.seconds = START - 24 * HOUR
    await either.pass_time(30)
    assert either.server.requests


async def test_two_senders_on_one_store_send_each_row_once(either: World) -> None:
    for number in range(8):
        await either.alarm(model=f"m{number}")
    first, notifier = either.dispatcher, either.notifier
    either.start()
    either.server.seconds_per_message = 0
    either.clock.advance(10)
    for number in range(30):  # each alone, then both at once
        senders = [[first], [either.dispatcher], [first, either.dispatcher]][number % 3]
        await asyncio.gather(*(sender.step() for sender in senders))
        either.clock.advance(2)
    opened = [one.text for one in either.server.requests if "since" in one.text and not one.posted.thread_ts]
    assert len(opened) == len(set(opened)) == 8
    assert notifier.tries
    assert either.notifier.tries
    assert not any(delivery.maybe_sent for delivery, _ in notifier.tries + either.notifier.tries)
