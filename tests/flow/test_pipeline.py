"""The way of events from bytes to checkpointed verdicts, however the log was cut into batches."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from databases import Database, Sqlite
from hypothesis import given
from hypothesis import strategies as st
from odd_documents import odd_documents
from pipelines import START, TARGET, World, batch, batches, small
from seeded_events import anything, label, line, ordinary, prediction, traffic
from sqlalchemy import select

from daemon.events import ahead as decoding_ahead
from daemon.events import dead_letters
from daemon.events.ahead import Ahead
from daemon.events.event import EventLimits, check
from daemon.events.reading import Taken
from daemon.monitoring.options import MonitorOptions
from daemon.stores import tables
from detectors.columns import Stream

cuts = st.lists(st.integers(1, 60), max_size=30)


@pytest.fixture
async def world(tmp_path: Path, database: Database) -> AsyncIterator[World]:
    world = World.made(tmp_path / "data", database, options=small())
    yield world
    await world.close()


async def run(
    folder: Path, database: Database, log: Sequence[bytes], sizes: Sequence[int], due: Sequence[bool], foreseen: int = 0
) -> dict[str, Any]:
    """What comes of a log that is cut into batches of these sizes, with a checkpoint begun after those that are due.

    Of each batch the pipeline hears when it takes the one that is ``foreseen`` places before it.
    """
    world = World.made(folder, database, options=small())
    pipeline = await world.start()
    cut = list(batches(log, sizes))
    heard = 0
    try:
        for number, one in enumerate(cut):
            while foreseen and heard <= min(number + foreseen, len(cut) - 1):
                pipeline.foresee(cut[heard])
                heard += 1
            world.now += 10 if number < len(due) and due[number] else 0
            await pipeline.process(one)
        await pipeline.flush()
        return await world.outcome()
    finally:
        await world.close()


@given(seed=st.integers(0, 10**9), count=st.integers(1, 300), sizes=cuts, due=st.lists(st.booleans(), max_size=30))
def test_how_a_log_is_cut_into_batches_and_checkpoints_changes_nothing(
    sqlite_databases: Sqlite, seed: int, count: int, sizes: list[int], due: list[bool]
) -> None:
    log = anything(seed, count)
    with tempfile.TemporaryDirectory() as folder:
        whole = asyncio.run(run(Path(folder) / "whole", sqlite_databases, log, [], []))
        cut = asyncio.run(run(Path(folder) / "cut", sqlite_databases, log, sizes, due))
    for part, outcome in whole.items():
        assert cut[part] == outcome, part


@given(seed=st.integers(0, 10**9), count=st.integers(1, 300), sizes=cuts, foreseen=st.integers(1, 6))
def test_what_is_decoded_ahead_is_what_would_have_been_decoded(
    sqlite_databases: Sqlite, seed: int, count: int, sizes: list[int], foreseen: int
) -> None:
    log = ordinary(seed, count)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        whole = asyncio.run(run(Path(folder) / "whole", sqlite_databases, log, sizes, []))
        patch.setattr(decoding_ahead, "WORTH_THREADS_BYTES", 0)
        ahead = asyncio.run(run(Path(folder) / "ahead", sqlite_databases, log, sizes, [], foreseen))
    for part, outcome in whole.items():
        assert ahead[part] == outcome, part


async def test_large_batches_of_ordinary_events_are_decoded_ahead(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding_ahead, "WORTH_THREADS_BYTES", 10_000)
    found: list[bool] = []
    decoded = Ahead.decoded

    def watched(self: Ahead, monitor: Any, batch: Any) -> Any:
        rows = decoded(self, monitor, batch)
        found.append(rows is not None)
        return rows

    monkeypatch.setattr(Ahead, "decoded", watched)
    pipeline = await world.start()
    log = traffic(900)
    for one in batches(log, [300, 300, 20, 300, 300]):
        pipeline.foresee(one)
        await pipeline.process(one)
    await pipeline.flush()
    # how the events are written is learned from the first, and the third is too small
    assert found == [False, True, False, True, True, True]
    assert (await world.counters())["loans", "prediction"] == 900


@pytest.mark.parametrize("reference_stays", [True, False])
async def test_what_was_decoded_in_another_light_is_decoded_again(
    tmp_path: Path, sqlite_databases: Sqlite, monkeypatch: pytest.MonkeyPatch, *, reference_stays: bool
) -> None:
    monkeypatch.setattr(decoding_ahead, "WORTH_THREADS_BYTES", 0)
    outcomes = []
    for foresee in (True, False):
        world = World.made(tmp_path / str(foresee), sqlite_databases, options=small())
        pipeline = await world.start()
        first, *others = batches(traffic(300), [200, 200])
        await pipeline.process(first)
        for one in others if foresee else ():
            pipeline.foresee(one)
        references = {} if reference_stays else dict.fromkeys(Stream)
        await pipeline.change("loans", lambda monitor, known=references: monitor.adopt("2", known))
        for one in others:
            await pipeline.process(one)
        await pipeline.flush()
        outcomes.append(await world.outcome())
        await world.close()
    assert outcomes[0] == outcomes[1]


async def test_while_events_wait_all_is_known_up_to_the_newest_that_was_taken(world: World) -> None:
    pipeline = await world.start()

    async def heard_until(now: float) -> dict[str, float]:
        async with world.stores[-1].read() as connection:
            return dict(await pipeline.heard_until(connection, now))

    await pipeline.process(batch(line(model="quiet", prediction=1)))
    await pipeline.process(batch(*[line(model="busy", prediction=1)] * 8, first=1))
    newest = pipeline.monitors["busy"].last_arrival
    assert newest > pipeline.monitors["quiet"].last_arrival
    world.waiting = 3
    assert await heard_until(START + 900) == {"quiet": newest, "busy": newest}
    world.waiting = 0
    assert await heard_until(START + 900) == {"quiet": START + 900, "busy": START + 900}


async def test_every_kind_of_event_is_counted_exactly(world: World) -> None:
    pipeline = await world.start()
    features = {"age": 1.5}
    log = [
        line(model="m", id="a", prediction=1),
        line(model="m", id="a", prediction=1),  # again
        line(model="m", id="a", prediction=0),  # the first counts
        line(model="m", prediction=1),  # without an id there is no telling
        line(model="m", prediction=1),
        line(type="label", model="m", id="a", label=1),
        line(type="label", model="m", id="a", label=1),  # again
        line(type="label", model="m", id="a", label=0),  # revised
        line(type="label", model="m", id="later", label=0),  # before its prediction
        line(type="label", model="m", id="later", label=1),  # revised before that
        line(type="label", model="m", id="never", label=1),  # for nothing
        line(type="features", model="m", id="a", features=features),
        line(type="features", model="m", id="a", features=features),  # again
        line(model="m", id="later", prediction=1),
        line(type="features", model="m", id="b"),  # bad, of a model that is known
        line(model="new", id="x"),  # bad, of one that is not
        b"not JSON",
    ]
    await pipeline.process(batch(*log))
    await pipeline.flush()
    assert await world.counters() == {
        ("m", "prediction"): 4,
        ("m", "features"): 1,
        ("m", "label"): 3,
        ("m", "joined"): 2,
        ("m", "revised"): 2,
        ("m", "duplicates"): 4,
        ("m", "waiting"): 1,
        ("m", "dead_letters"): 1,
        ("", "dead_letters"): 2,
    }


async def test_the_longest_names_that_are_taken_fit_into_the_store(world: World) -> None:
    values = Random(1)
    model, version, feature = (
        "".join(chr(values.randrange(0x4E00, 0x9FFF)) for _ in range(most)) for most in (200, 200, 400)
    )
    about = {"model": model, "version": version, "prediction": 1}
    log = [line(**about, id=str(number), features={feature: number % 7}) for number in range(1_200)]
    log += [line(**about | {"version": f"{version}x"}), line(**about, features={f"{feature}x": 1})]
    pipeline = await world.start()
    for one in batches(log, [600]):
        world.now += 10
        await pipeline.process(one)
    await pipeline.flush()
    assert world.waits == []
    assert (await world.counters())[model, "prediction"] == 1_200
    assert f"feature:{feature}" in {row["signal"] for row in await world.rows(tables.signals)}
    assert [row["reason"] for row in await world.rows(tables.dead_letters)] == ["bad_name"] * 2


@given(st.lists(odd_documents, max_size=8))
def test_what_a_sender_was_told_is_put_aside_is_put_aside(
    tmp_path_factory: pytest.TempPathFactory, log: list[bytes]
) -> None:
    body = b"\n".join(log)
    limits = EventLimits(event_bytes=2_000, features=3, text_chars=20)
    told = check(body, limits)

    async def take() -> Taken:
        options = replace(small(), limits=limits)
        world = World(tmp_path_factory.getbasetemp(), options=options, limits=limits, url="sqlite:///never-opened")
        taken = world.pipeline().take_batch(batch(body))
        await world.close()
        return taken

    taken = asyncio.run(take())
    assert [(one.line, one.reason, one.detail) for one in sorted(taken.rejected, key=lambda one: one.line)] == [
        (error["line"], error["reason"], error["detail"]) for error in told.errors
    ]


async def test_what_was_delivered_before_is_not_taken_again(world: World) -> None:
    pipeline = await world.start()
    log = traffic(60)
    for one in batches(log, [40]):
        await pipeline.process(one)
    await pipeline.flush()
    before = await world.counters()
    for one in [*batches(log, [10, 20]), batch(*log[-3:], first=len(log) - 3)]:
        await pipeline.process(one)
    await pipeline.flush()
    assert await world.counters() == before
    assert await pipeline.offsets() == {TARGET: len(log)}


async def test_models_do_not_mix(world: World) -> None:
    pipeline = await world.start()
    one = [line(**prediction(number, Random(number), model="one")) for number in range(30)]
    two = [line(**prediction(number, Random(number), model="two")) for number in range(20)]
    labels = [line(**label(number, 1, model="two")) for number in range(10)]
    await pipeline.process(
        batch(*[event for pair in zip(one, two, strict=False) for event in pair], *one[20:], *labels)
    )
    await pipeline.flush()
    counters = await world.counters()
    assert (counters["one", "prediction"], counters["two", "prediction"]) == (30, 20)
    assert counters["two", "joined"] == 10
    assert ("one", "label") not in counters


async def test_one_model_too_many_is_put_aside_and_the_others_go_on(world: World) -> None:
    world.most_models = 2
    pipeline = await world.start()
    await pipeline.process(batch(*(line(model=f"m{number}", id=1, prediction=1) for number in range(4))))
    await pipeline.process(batch(line(model="m0", id=2, prediction=1), line(model="m3", id=2, prediction=1), first=4))
    await pipeline.flush()
    counters = await world.counters()
    assert (counters["m0", "prediction"], counters["m1", "prediction"], counters["", "dead_letters"]) == (2, 1, 3)
    letters = await world.rows(tables.dead_letters)
    assert [(letter["offset"], letter["model"], letter["reason"]) for letter in letters] == [
        (2, "m2", "too_many_models"),
        (3, "m3", "too_many_models"),
        (5, "m3", "too_many_models"),
    ]
    assert "DRIFTD_LIMITS__MODELS" in letters[0]["detail"]


async def test_a_letter_keeps_the_event_and_its_place_and_is_sent_through_again(world: World) -> None:
    pipeline = await world.start()
    bad = b'{"model": "m", "prediction": [1]}'
    await pipeline.process(
        batch(line(model="m", id=1, prediction=1) + b"\n" + bad + b"\n" + line(model="m", prediction=0))
    )
    await pipeline.flush()
    [letter] = await world.rows(tables.dead_letters)
    assert (letter["offset"], letter["line"], letter["body"], letter["at"]) == (0, 1, bad, START)
    sent: list[bytes] = []

    async def append(value: bytes, events: int) -> None:
        sent.append(value)
        assert events == 1

    store = world.stores[-1]
    assert await dead_letters.resend(store, append, [letter["id"]], 9.0) == 1
    assert await dead_letters.resend(store, append, None, 10.0) == 0
    assert sent == [bad]
    assert [letter["resent"] for letter in await world.rows(tables.dead_letters)] == [9.0]


async def test_the_oldest_letters_go_first(world: World) -> None:
    pipeline = await world.start()
    await pipeline.process(batch(*(b"x" * number for number in range(1, 9))))
    await pipeline.flush()

    async def trim(**limits: Any) -> list[int]:
        everything: dict[str, Any] = {"most_events": 100, "most_bytes": 1_000, "days": 1.0, "now": START}
        await dead_letters.trim(world.stores[-1], **(everything | limits))
        return [len(letter["body"]) for letter in await world.rows(tables.dead_letters)]

    assert await trim() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert await trim(most_events=6) == [3, 4, 5, 6, 7, 8]
    assert await trim(most_bytes=26) == [5, 6, 7, 8]
    assert await trim(now=START + 2 * 86_400) == []


async def test_a_drift_is_raised_and_stored_with_where_it_began(tmp_path: Path, database: Database) -> None:
    world = World.made(tmp_path, database, options=MonitorOptions(reference_rows=300))
    pipeline = await world.start()
    for one in batches(traffic(900, drift_at=600), [100] * 20):
        world.now += 1
        await pipeline.process(one)
    await pipeline.flush()
    raised = [row for row in await world.rows(tables.alarms) if row["detector"] == "e_detector"]
    await world.close()
    by_signal = {row["signal"]: row for row in reversed(raised)}
    assert {"feature:age", "error"} <= by_signal.keys()
    assert min(row["row"] for row in raised) >= 600
    assert by_signal["feature:age"]["row"] <= 640
    assert abs(by_signal["feature:age"]["change_row"] - 600) <= 10


@pytest.mark.parametrize("style", ["classes", "numbers"])
async def test_the_task_is_told_from_the_predictions(world: World, style: str) -> None:
    pipeline = await world.start()
    value: Callable[[int], Any] = (lambda number: number % 2) if style == "classes" else (lambda number: number * 1.5)
    events = [line(model="m", id=number, prediction=value(number)) for number in range(60)]
    labels = [line(type="label", model="m", id=number, label=value(number) + (number < 30)) for number in range(60)]
    await pipeline.process(batch(*events, *labels))
    await pipeline.flush()
    async with world.stores[-1].read() as connection:
        [row] = (await connection.execute(select(tables.models))).mappings().all()
    if style == "classes":
        assert (row["task"], row["performance"]["metric"]) == ("binary", "accuracy")
    else:
        assert (row["task"], row["performance"]["metric"]) == ("regression", "mae")
