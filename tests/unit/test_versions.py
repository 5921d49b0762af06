"""The way of a version into service and out of it: whatever happens, one champion, and the one that was evaluated."""

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
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.lifecycle import versions
from daemon.lifecycle.promotion import MOVES, NotPossible, Step, VersionReason, VersionState, moved, next_name
from daemon.lifecycle.standing import ModelState, settle, state_of
from daemon.stores import tables
from daemon.stores.engine import Store, open_store

NOW = 1_000_000.0
NAMES = ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("state", VersionState)
@pytest.mark.parametrize("step", Step)
def test_a_version_goes_only_where_the_table_says(state: VersionState, step: Step) -> None:
    if (state, step) in MOVES:
        assert moved(state, step) is MOVES[state, step]
    else:
        with pytest.raises(NotPossible) as refusal:
            moved(state, step)
        assert refusal.value.reason == f"is_{state}"


def test_only_a_deployment_or_somebody_else_makes_a_champion() -> None:
    ways = {key for key, to in MOVES.items() if to is VersionState.CHAMPION}
    assert {step for _, step in ways} == {Step.DEPLOYED, Step.SERVE}
    assert [state for state, step in ways if step is Step.DEPLOYED] == [VersionState.DEPLOYING]


@pytest.mark.parametrize(
    ("known", "champion", "following"),
    [
        ([], None, "1"),
        (["3"], "3", "4"),
        (["3", "12", "x"], "3", "13"),  # numbers, not texts
        (["v3", "7"], "v3", "v4"),
        (["0"], "0", "1"),
        (["2024-11-20"], "2024-11-20", "2024-11-20+1"),
        (["2024-11-20", "2024-11-20+1", "2024-11-20+2"], "2024-11-20+1", "2024-11-20+3"),
        (["a.b", "aXb+7"], "a.b", "a.b+1"),
    ],
)
def test_the_next_version_follows_the_names_there_are(known: list[str], champion: str | None, following: str) -> None:
    assert next_name(known, champion) == following


@pytest.fixture
async def store(database: Database, tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(database.store(tmp_path))
    async with store.begin() as connection:
        loans = {"model": "loans", "state": "steady", "learning": False, "rows": 700, "created": NOW}
        await connection.execute(insert(tables.models).values(loans))
    yield store
    await store.close()


async def passed(connection: AsyncConnection, version: str, *, state: VersionState = VersionState.DEPLOYING) -> None:
    judged: dict[str, Any] = {"reason": VersionReason.PASSED, "job": 1, "metrics": {}}
    files = {"path": f"/models/{version}", "model_hash": f"hash {version}"}
    await versions.add(connection, "loans", version, NOW, state=state, **judged, **files)


async def served(connection: AsyncConnection) -> tuple[str | None, int, int]:
    """The version in service, and how many promotions and rollbacks were counted."""
    row = (await connection.execute(select(tables.models.c.version))).scalar()
    counts = dict((await connection.execute(select(tables.counters.c.name, tables.counters.c.value))).all())
    return row, counts.get("promotions", 0), counts.get("rollbacks", 0)


async def test_a_promotion_and_its_rollback(store: Store) -> None:
    async with store.begin() as connection:
        first = await versions.ensure_external(connection, "loans", "1", NOW)
        assert first.state is VersionState.CHAMPION
        await passed(connection, "2")
        champion, former = await versions.deployed(connection, "loans", "2", NOW + 1)
        assert former is not None
        assert (champion.version, champion.previous, champion.from_row, former.version) == ("2", "1", 700, "1")
        assert await served(connection) == ("2", 1, 0)
        assert await settle(connection, "loans") is ModelState.WATCHING
        await passed(connection, "3")
        await versions.deployed(connection, "loans", "3", NOW + 2)
        back = await versions.before(connection, "loans")
        assert back.version == "2"
        await versions.send(connection, "loans", "2", VersionReason.RESTORED, None)
        champion, former = await versions.deployed(connection, "loans", "2", NOW + 3)
        assert former is not None
        assert (former.state, former.reason) == (VersionState.WITHDRAWN, VersionReason.DISAPPOINTED)
        assert champion.previous == "1"  # one can go back further
        assert await served(connection) == ("2", 2, 1)
        assert await settle(connection, "loans") is ModelState.STEADY  # what comes back is not on probation
        assert [one.version for one in await versions.not_adopted(connection)] == ["2"]


async def test_what_was_not_made_here_can_be_brought_back_and_can_come_back_by_itself(store: Store) -> None:
    async with store.begin() as connection:
        await versions.ensure_external(connection, "loans", None, NOW)
        await passed(connection, "1")
        await versions.remember_given(connection, "loans", versions.UNNAMED, "/srv/own")
        await versions.remember_given(connection, "loans", "1", "/srv/other")  # nothing but its own files will do
        champion, _ = await versions.deployed(connection, "loans", "1", NOW)
        assert champion.path == "/models/1"
        back = await versions.send(connection, "loans", versions.UNNAMED, VersionReason.RESTORED, "ann")
        assert (back.state, back.path) == (VersionState.DEPLOYING, "/srv/own")
        await versions.give_up(connection, "loans", versions.UNNAMED)
        # and when a person has done so
        await versions.serve(connection, "loans", versions.UNNAMED, NOW + 5, 900)
        assert (await served(connection))[0] == versions.UNNAMED


async def test_a_later_candidate_takes_the_place_of_one_that_nobody_has_approved(store: Store) -> None:
    async with store.begin() as connection:
        await versions.ensure_external(connection, "loans", "1", NOW)
        await passed(connection, "2", state=VersionState.AWAITING)
        await passed(connection, "3", state=VersionState.AWAITING)
        found = [await versions.find(connection, "loans", name) for name in ("2", "3")]
        assert [one and (one.state, one.reason) for one in found] == [
            (VersionState.REJECTED, VersionReason.SUPERSEDED),
            (VersionState.AWAITING, VersionReason.PASSED),
        ]
        await versions.decline(connection, "loans", "3", "ann")
        assert (
            await versions.send(connection, "loans", "3", VersionReason.BY_HAND, "bob")
        ).state is VersionState.DEPLOYING


async def test_a_deployment_that_fails_leaves_the_champion_and_can_be_tried_again(store: Store) -> None:
    async with store.begin() as connection:
        await versions.ensure_external(connection, "loans", "1", NOW)
        await passed(connection, "2")
        await passed(connection, "3", state=VersionState.REJECTED)
        with pytest.raises(NotPossible, match="is being deployed"):
            await versions.send(connection, "loans", "3", VersionReason.BY_HAND, "ann")
        given_up = await versions.give_up(connection, "loans", "2")
        assert (given_up.state, given_up.reason) == (VersionState.AWAITING, VersionReason.DEPLOY_FAILED)
        assert await served(connection) == ("1", 0, 0)
        await versions.send(connection, "loans", "2", VersionReason.APPROVED, "ann")
        await versions.deployed(connection, "loans", "2", NOW)
        assert await served(connection) == ("2", 1, 0)


async def test_only_the_first_version_that_events_name_is_taken_for_the_one_in_service(store: Store) -> None:
    async with store.begin() as connection:
        await versions.ensure_external(connection, "loans", "1", NOW)
        assert (await versions.ensure_external(connection, "loans", "test-9", NOW)).state is VersionState.SEEN
        assert (await versions.ensure_external(connection, "loans", "1", NOW + 9)).created == NOW
        assert await versions.name_next(connection, "loans") == "2"
        assert await served(connection) == ("1", 0, 0)


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({}, ModelState.STEADY),
        ({"learning": True}, ModelState.LEARNING),
        ({"watching": True, "learning": True}, ModelState.WATCHING),
        ({"alarm": True, "watching": True}, ModelState.ALARM),
        ({"working": True, "alarm": True}, ModelState.RETRAINING),
        ({"working": True, "stage": "train"}, ModelState.RETRAINING),
        ({"working": True, "stage": "gate"}, ModelState.EVALUATING),
        ({"deploying": True, "alarm": True}, ModelState.EVALUATING),
        ({"held": True, "deploying": True, "working": True}, ModelState.HELD),
    ],
)
def test_a_model_stands_where_a_person_should_look_first(facts: dict[str, Any], state: ModelState) -> None:
    nothing = dict.fromkeys(("learning", "watching", "held", "alarm", "working", "deploying"), False)
    assert state_of(**{**nothing, "stage": None, **facts}) is state


async def test_held_stays_until_it_is_let_go(store: Store) -> None:
    async with store.begin() as connection:
        assert await settle(connection, "loans", held="see to it") is ModelState.HELD
        assert await settle(connection, "loans") is ModelState.HELD
        assert await settle(connection, "loans", held=None, learning=True) is ModelState.LEARNING
        assert await settle(connection, "nobody") is None


class Torn(Exception):
    """The process died before the transaction was committed."""


seldom = st.sampled_from([False, False, False, True])


class Promotions(RuleBasedStateMachine):
    """The gate, people, deployers and crashes, in any order; every refusal is one of ours."""

    databases: Database

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.store = self.runner.run(self._open())
        self.evaluated: dict[str, str] = {}
        self.served: str | None = None  # what the deployer last brought into service
        self.now = NOW

    async def _open(self) -> Store:
        store = open_store(self.databases.store(self.folder))
        async with store.begin() as connection:
            await connection.execute(insert(tables.models).values(model="loans", state="steady", created=NOW))
        return store

    def do(self, work: Callable[[AsyncConnection], Awaitable[Any]], *, torn: bool = False) -> Any:
        async def inside() -> Any:
            async with self.store.begin() as connection:
                result = await work(connection)
                if torn:
                    raise Torn
                return result

        self.now += 1
        try:
            return self.runner.run(inside())
        except (Torn, NotPossible):
            return None

    @rule(name=st.sampled_from([*NAMES, None]), torn=seldom)
    def events_name(self, name: str | None, torn: bool) -> None:
        self.do(lambda connection: versions.ensure_external(connection, "loans", name, self.now), torn=torn)

    @rule(name=st.sampled_from([*NAMES, "0"]), torn=seldom)
    def somebody_else_deploys(self, name: str, torn: bool) -> None:
        self.do(lambda connection: versions.serve(connection, "loans", name, self.now, 5), torn=torn)

    @rule(to=st.sampled_from([VersionState.DEPLOYING, VersionState.AWAITING, VersionState.REJECTED]), torn=seldom)
    def the_gate_speaks(self, to: VersionState, torn: bool) -> None:
        async def speak(connection: AsyncConnection) -> str:
            name = await versions.name_next(connection, "loans")
            state = to
            if state is VersionState.DEPLOYING and await versions.under_way(connection, "loans"):
                state = VersionState.REJECTED
            await versions.add(
                connection, "loans", name, self.now,
                state=state, reason=VersionReason.PASSED, path=f"/{name}", model_hash=f"hash {name}", job=1, metrics={},
            )  # fmt: skip
            return name

        name = self.do(speak, torn=torn)
        if name is not None:
            assert name not in self.evaluated
            self.evaluated[name] = f"hash {name}"

    @rule(name=st.sampled_from(NAMES), torn=seldom)
    def a_person_promotes(self, name: str, torn: bool) -> None:
        self.do(lambda connection: versions.send(connection, "loans", name, VersionReason.BY_HAND, "ann"), torn=torn)

    @rule(name=st.sampled_from(NAMES), torn=seldom)
    def a_person_declines(self, name: str, torn: bool) -> None:
        self.do(lambda connection: versions.decline(connection, "loans", name, "ann"), torn=torn)

    @rule(by=st.sampled_from([None, "ann"]), torn=seldom)
    def back(self, by: str | None, torn: bool) -> None:
        async def send(connection: AsyncConnection) -> None:
            previous = await versions.before(connection, "loans")
            await versions.send(connection, "loans", previous.version, VersionReason.RESTORED, by)

        self.do(send, torn=torn)

    @rule(torn=seldom)
    def the_deployer_works(self, torn: bool) -> None:
        under_way = self.do(lambda connection: versions.under_way(connection, "loans"))
        if under_way is not None:
            assert under_way.hash == self.evaluated.get(
                under_way.version
            )  # of one that was not made here there is none
            self.served = under_way.version
            self.do(lambda connection: versions.deployed(connection, "loans", under_way.version, self.now), torn=torn)

    @rule(torn=seldom)
    def the_deployer_gives_up(self, torn: bool) -> None:
        under_way = self.do(lambda connection: versions.under_way(connection, "loans"))
        if under_way is not None:
            self.do(lambda connection: versions.give_up(connection, "loans", under_way.version), torn=torn)

    async def _look(self, connection: AsyncConnection) -> tuple[list[Any], Any]:
        rows = list((await connection.execute(select(tables.versions))).mappings())
        return rows, (await connection.execute(select(tables.models.c.version))).scalar()

    @invariant()
    def one_champion_and_it_is_the_one_that_was_evaluated(self) -> None:
        if not hasattr(self, "store"):
            return
        rows, in_service = self.do(self._look)
        champions = [row for row in rows if row["state"] == VersionState.CHAMPION]
        assert len(champions) <= 1
        assert sum(row["state"] == VersionState.DEPLOYING for row in rows) <= 1
        assert in_service == (champions[0]["version"] if champions else None)
        for row in rows:
            if row["origin"] == "trained":
                assert row["hash"] == self.evaluated[row["version"]]
            else:
                assert row["hash"] is None

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        # a deployment that a crash cut short is found and ends
        under_way = self.do(versions.all_under_way)
        for one in under_way:
            champion, _ = self.do(
                lambda connection, one=one: versions.deployed(connection, "loans", one.version, self.now)
            )
            assert champion.version == one.version
        self.runner.run(self.store.close())
        self.runner.close()
        shutil.rmtree(self.folder)


def test_whatever_happens_there_is_one_champion_and_it_is_the_evaluated_one(database: Database) -> None:
    class Here(Promotions):
        databases = database

    run_state_machine_as_test(Here, settings=settings(max_examples=25, stateful_step_count=30, deadline=None))
