"""Whatever happens, in whatever order: in the end each incident's last message is true, and repeats are marked."""

import asyncio
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from alerting import SLACK, Killed, World, world
from databases import Database
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from slack_server import Carried, Fault
from sqlalchemy import select

from daemon.alerts import silences
from daemon.alerts.alarm import Alarm
from daemon.alerts.briefing import Briefing, load
from daemon.alerts.inhibit import explanation
from daemon.alerts.notes import NoteKind
from daemon.alerts.wording import compose, standing
from daemon.notifiers.blocks import escape, fallback
from daemon.notifiers.message import REPEAT_NOTICE
from daemon.stores import tables

MODELS = st.sampled_from(["loans", "churn"])
SIGNALS = st.sampled_from(["error", "feature:age", "feature:income", "prediction"])
KINDS = st.sampled_from(["drift", "concept", "quality"])


class Machine(RuleBasedStateMachine):
    """One store and one Slack, through alarms, notes, silences, faults and deaths."""

    name = ""
    databases: Database

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        made = world(folder, self.name, self.databases.store(folder))
        self.world: World = self.do(self.stack.enter_async_context(made))

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(coroutine)

    @rule(model=MODELS, signal=SIGNALS, kind=KINDS, severity=st.sampled_from(["warning", "critical"]))
    def raise_alarm(self, model: str, signal: str, kind: str, severity: str) -> None:
        self.do(self.world.alarm(signal, kind, model, severity=severity))

    @rule(model=MODELS, kind=st.sampled_from([NoteKind.RETRAIN_STARTED, NoteKind.PROMOTED, NoteKind.ROLLED_BACK]))
    def note(self, model: str, kind: NoteKind) -> None:
        self.do(self.world.note(kind, model, version="4"))

    @rule(model=MODELS)
    def close_everything(self, model: str) -> None:
        self.do(self.world.close_alarms(model=model))

    @rule(model=MODELS, which=st.integers(1, 6))
    def close_one(self, model: str, which: int) -> None:
        self.do(self.world.close_alarms(which, model=model))

    @rule(model=MODELS, signal=st.one_of(st.none(), SIGNALS), minutes=st.integers(1, 60))
    def silence(self, model: str, signal: str | None, minutes: int) -> None:
        async def ask() -> None:
            now = self.world.clock.now()
            async with self.world.store.begin() as connection:
                await silences.silence(
                    connection, model, signal, until=now + 60 * minutes, by="ann", reason="", now=now
                )

        self.do(ask())

    @rule(faults=st.lists(st.sampled_from(Fault), min_size=1, max_size=4))
    def trouble(self, faults: list[Fault]) -> None:
        self.world.server.faults.extend(faults)

    @rule()
    def slack_goes(self) -> None:
        self.do(self.world.server.down())

    @rule()
    def slack_comes(self) -> None:
        self.do(self.world.server.down())
        self.do(self.world.server.up())

    @rule(model=MODELS, what=st.sampled_from(["alarm", "note", "close"]))
    def meanwhile(self, model: str, what: str) -> None:
        """This will happen while the next message is on its way."""

        async def happen() -> None:
            if what == "alarm":
                await self.world.alarm("feature:age", "drift", model)
            elif what == "note":
                await self.world.note(NoteKind.RETRAIN_STARTED, model, rows=7)
            else:
                await self.world.close_alarms(model=model)

        self.world.notifier.meanwhile = happen

    @rule(seconds=st.sampled_from([1, 6, 40]))
    def work(self, seconds: int) -> None:
        self.do(self.world.pass_time(seconds))

    @rule(before=st.booleans())
    def die(self, before: bool) -> None:
        self.world.notifier.die_before = before
        self.world.notifier.die_after = not before
        with suppress(Killed):
            self.do(self.world.pass_time(40))
        self.do(self.world.restart())

    def teardown(self) -> None:
        try:
            self.do(self.settle())
            self.do(self.check())
        finally:
            self.do(self.stack.aclose())
            self.loop.close()

    async def settle(self) -> None:
        """Everything is well again, every silence is over, and there is time."""
        self.world.server.faults.clear()
        await self.world.server.down()
        await self.world.server.up()
        self.world.clock.advance(2 * 3600)
        for _ in range(10):
            await self.world.pass_time(20)

    async def check(self) -> None:
        rows = await self.world.outbox()
        assert not [row for row in rows if row["state"] == "waiting"]
        assert not [row for row in rows if row["error"] == "silenced"]
        self.check_repeats()
        sent = [row for row in rows if row["state"] == "sent" and row["kind"] != "detail"]
        told = {row["incident"] for row in sent if row["incident"] is not None}
        async with self.world.store.read() as connection:
            alarms = [dict(row) for row in (await connection.execute(select(tables.alarms))).mappings()]
            briefs = {number: await load(connection, number, self.world.clock.now()) for number in sorted(told)}
        said = {alarm for row in sent for alarm in row["body"]["alarms"]}
        for row in alarms:
            alarm = Alarm.from_row(row)
            if alarm.is_open and not explanation(
                alarm, briefs[row["incident"]].alarms if row["incident"] in told else ()
            ):
                assert alarm.id in said, "an open alarm that nothing holds back was never said"
        of_incident = {row["id"]: row["incident"] for row in rows}
        for brief in briefs.values():
            self.check_last_words(brief, [one for row, one in self.world.trail if of_incident[row] == brief.id])

    def check_repeats(self) -> None:
        posts: dict[int, list[Carried]] = {}
        for row, carried in self.world.trail:
            if carried.method != "chat.update":
                posts.setdefault(row, []).append(carried)
        for carried in posts.values():
            assert all(REPEAT_NOTICE in one.all_text() for one in carried[1:]), "said twice and not marked"

    def check_last_words(self, brief: Briefing, carried: list[Carried]) -> None:
        """The last that was said of an incident is what the store says of it."""
        whole = fallback(compose(brief))
        if self.name == "slack_bot":
            assert brief.ref is not None
            (top,) = [message for message in self.world.server.messages if message.ts == brief.ref.ts]
            assert top.text.removesuffix(f" ({REPEAT_NOTICE})") == whole
            return
        words = carried[-1].all_text()
        if carried[-1].text.removesuffix(f" ({REPEAT_NOTICE})") != whole:
            assert escape(standing(brief)) in words
            said = "".join(one.all_text() for one in carried)
            assert all(escape(str(note)) in said for note in brief.notes)


FEW = settings(
    max_examples=max(12, settings.default.max_examples // 5 if settings.default else 12),
    stateful_step_count=25,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("notifier", SLACK)
def test_whatever_happens(notifier: str, database: Database) -> None:
    class Here(Machine):
        name = notifier
        databases = database

    # what differs between databases are transactions, and these few meet them all
    run_state_machine_as_test(Here, settings=FEW if database.name == "sqlite" else settings(FEW, max_examples=4))
