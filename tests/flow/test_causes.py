"""From events to a cause that is stored, shown and decided on: through the pipeline, the responder and the policy."""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from databases import Database, Sqlite
from hypothesis import given, settings
from hypothesis import strategies as st
from pipelines import World, batches
from seeded_events import label, line, prediction

from daemon.alerts.alarm import Alarm
from daemon.alerts.briefing import load
from daemon.alerts.wording import compose
from daemon.lifecycle.policy import Rules
from daemon.lifecycle.triggers import Triggers
from daemon.monitoring.options import MonitorOptions
from daemon.monitoring.respond import Responder
from daemon.stores import tables
from detectors.cause import CAUSE, Cause

CHANGE = 1_000
Change = Callable[[dict[str, Any]], None]


def log(change: Change, *, wrong: float = 0.5) -> list[bytes]:
    """Predictions and their labels at once; from a row on their features are changed, and this share is wrong."""
    rng, lines = Random(4), []
    for number in range(1_900):
        event = prediction(number, rng)
        if number >= CHANGE:
            change(event["features"])
        lines.append(line(**event))
        missed = rng.random() < (wrong if number >= CHANGE else 0.1)
        lines.append(line(**label(number, event["prediction"] ^ missed)))
    return lines


def cents(features: dict[str, Any]) -> None:
    features["income"] = round(100 * features["income"], 2)


def as_before(features: dict[str, Any]) -> None:
    """Nothing has happened to them."""


def older(features: dict[str, Any]) -> None:
    features["age"] += 12


async def responded(
    world: World, lines: list[bytes], sizes: list[int], on: tuple[str, ...] = ("concept",), *, at_once: bool = False
) -> None:
    """Alarms and decisions as the daemon makes them, where alarms of these kinds train, and
    ``at_once`` with a checkpoint for each batch."""

    async def note(*_: object) -> None:
        pass

    rules = Rules(minimum_labels=100, on=frozenset(on))
    respond = Responder(Triggers(lambda _model: rules, note=note, wake=lambda: None), lambda _model: 0.0)
    pipeline = await world.start(respond)
    for one in batches(lines, sizes):
        world.now += 10
        await pipeline.process(one)
        if at_once:
            await pipeline.flush()
    await pipeline.flush()


async def test_broken_data_never_trains_and_the_reason_is_stored(tmp_path: Path, database: Database) -> None:
    world = World.made(tmp_path, database, options=MonitorOptions(reference_rows=600))
    await responded(world, log(cents), [500] * 8, on=("concept", "drift"))
    mine = {"feature:income", "error"}
    alarms = [
        alarm
        for alarm in await world.rows(tables.alarms)
        if alarm["detector"] == "e_detector" and alarm["signal"] in mine
    ]
    numbers = {alarm["id"] for alarm in alarms}
    decisions = [one for one in await world.rows(tables.decisions) if one["alarm"] in numbers]
    jobs = [one for one in await world.rows(tables.jobs) if one["alarm"] in numbers]
    await world.close()
    assert {(alarm["signal"], alarm["kind"]) for alarm in alarms} == {
        ("feature:income", "quality"),
        ("feature:income", "drift"),
        ("error", "concept"),
    }
    assert {alarm["evidence"][CAUSE]["name"] for alarm in alarms} == {"data_broken"}
    assert {alarm["evidence"][CAUSE]["breakage"] for alarm in alarms} == {"unit_change"}
    assert jobs == []
    assert {(one["action"], one["reason"]) for one in decisions} == {("alert_only", "data_broken")}
    assert all("income is in another unit" in one["detail"]["cause"] for one in decisions)


def wide(errors: float) -> list[bytes]:
    """Numbers over some powers of ten, each of which is multiplied by something from a row on; errors become usual."""
    rng, lines = Random(11), []
    for number in range(1_600):
        moved = number >= CHANGE
        factors = (12.0, 4.0, 0.2, 3.0, 0.25, 5.0) if moved else (1.0,) * 6
        features = {f"f{place}": factor * rng.lognormvariate(0, 1.5) for place, factor in enumerate(factors)}
        event = prediction(number, rng) | {"features": features}
        lines.append(line(**event))
        missed = rng.random() < (errors if moved else 0.1)
        lines.append(line(**label(number, event["prediction"] ^ missed)))
    return lines


@pytest.mark.parametrize("size", [20, 3_200])
async def test_what_ten_rows_take_for_another_unit_does_not_hold_up_a_retrain_for_long(
    tmp_path: Path, database: Database, size: int
) -> None:
    world = World.made(tmp_path, database, options=MonitorOptions(reference_rows=600))
    await responded(world, wide(0.4), [2 * CHANGE, *[size] * (1_200 // size or 1)], at_once=True)
    alarms = {one["id"]: one for one in await world.rows(tables.alarms) if one["detector"] == "e_detector"}
    decisions = [one for one in await world.rows(tables.decisions) if one["alarm"] in alarms]
    jobs = [one["alarm"] for one in await world.rows(tables.jobs)]
    bodies = [one["body"] for one in await world.rows(tables.outbox)]
    await world.close()
    mine = {one["id"]: one for one in alarms.values() if one["signal"] in ("feature:f0", "error")}
    assert [alarm["evidence"][CAUSE]["instead_of"] for alarm in mine.values()] == ["data_broken"] * 2
    assert {alarm["evidence"][CAUSE]["name"] for alarm in alarms.values()} == {"concept_drift"}
    assert max(alarm["evidence"][CAUSE]["row"] for alarm in mine.values()) < CHANGE + 300
    (error,) = [number for number, alarm in mine.items() if alarm["signal"] == "error"]
    assert jobs == [error]
    decided = [(one["action"], one["reason"]) for one in decisions if one["alarm"] == error]
    notes = [note["fields"]["alarms"] for body in bodies for note in body["notes"] if note["kind"] == "cause"]
    said = [(one["signal"], one["before"], one["cause"].partition(":")[0]) for note in notes for one in note]
    assert all(len({tuple(one.values()) for one in note}) == len(note) for note in notes), "it is said once"
    if size == 20:
        assert decided[0] == ("alert_only", "data_broken")
        assert ("retrain", "error_rose") in decided, "once there are labels enough"
        assert ("errors", "broken data", "concept drift") in said
    else:
        assert decided == [("retrain", "error_rose")], "what is known by now counts"


def stuck() -> list[bytes]:
    """A count that is mostly 0 is always 9 from a row on, which ten rows do not tell; the errors tell at once."""
    rng, lines = Random(4), []
    for number in range(1_600):
        moved = number >= CHANGE
        count = 0 if rng.random() < 0.62 else rng.randrange(1, 10)
        features = {"logins": 9 if moved else count, "a": rng.gauss(0, 1), "b": rng.gauss(0, 1)}
        event = prediction(number, rng) | {"features": features}
        lines.append(line(**event))
        missed = rng.random() < (0.6 if moved else 0.05)
        lines.append(line(**label(number, event["prediction"] ^ missed)))
    return lines


@pytest.mark.parametrize("size", [100, 1_200])
async def test_what_later_rows_call_broken_data_does_not_train_whatever_comes_in_one_checkpoint(
    tmp_path: Path, database: Database, size: int
) -> None:
    world = World.made(tmp_path, database, options=MonitorOptions(reference_rows=600))
    await responded(world, stuck(), [2 * CHANGE, *[size] * (1_200 // size)], at_once=True)
    alarms = {one["id"]: one for one in await world.rows(tables.alarms) if one["detector"] == "e_detector"}
    jobs = await world.rows(tables.jobs)
    await world.close()
    (error,) = [one for one in alarms.values() if one["signal"] == "error"]
    assert error["row"] < CHANGE + 20
    assert error["evidence"][CAUSE]["name"] == "data_broken"
    assert error["evidence"][CAUSE]["signal"] == "feature:logins"
    assert error["evidence"][CAUSE]["instead_of"] == "concept_drift"
    assert [job for job in jobs if job["alarm"] in alarms] == []


async def test_a_changed_concept_trains(tmp_path: Path, database: Database) -> None:
    world = World.made(tmp_path, database, options=MonitorOptions(reference_rows=600))
    await responded(world, log(as_before), [500] * 8)
    (alarm,) = [one for one in await world.rows(tables.alarms) if one["kind"] == "concept"]
    jobs = await world.rows(tables.jobs)
    await world.close()
    assert alarm["evidence"][CAUSE]["name"] == "concept_drift"
    assert [job["alarm"] for job in jobs] == [alarm["id"]]


async def test_the_message_says_why(tmp_path: Path, database: Database) -> None:
    world = World.made(tmp_path, database, options=MonitorOptions(reference_rows=600))
    await responded(world, log(cents), [500] * 8)
    async with world.stores[-1].read() as connection:
        brief = await load(connection, 1, world.now)
    await world.close()
    message = compose(brief)
    assert "broken data: income is in another unit" in message.summary
    (why,) = [section for section in message.sections if section.title == "Why"]
    assert "divided by 100 (99 %)" in why.items[0].text


def test_what_has_no_cause_says_none() -> None:
    row = {"id": 1, "kind": "drift", "signal": "feature:age", "detector": "e_detector", "severity": "warning"}
    row |= {"state": "open", "row": 1, "ts": 0.0, "change_row": 1, "change_ts": 0.0, "raised": 0.0}
    row |= {"ranking": [], "acknowledged_by": None}
    alarms = [Alarm.from_row(row | {"evidence": evidence}) for evidence in ({}, {CAUSE: {"name": Cause.UNKNOWN}})]
    assert [alarm.why for alarm in alarms] == ["", ""]


@settings(max_examples=6)
@given(st.lists(st.integers(1, 900), max_size=12), st.sampled_from([cents, as_before, older]))
def test_the_cause_is_the_same_however_the_log_was_cut(
    sqlite_databases: Sqlite, sizes: list[int], change: Change
) -> None:
    async def causes(folder: Path, cut: list[int]) -> list[Any]:
        world = World.made(folder, sqlite_databases, options=MonitorOptions(reference_rows=600))
        await responded(world, log(change), cut)
        rows = await world.rows(tables.alarms)
        await world.close()
        return sorted((row["row"], row["signal"], row["kind"], repr(row["evidence"][CAUSE])) for row in rows)

    with tempfile.TemporaryDirectory() as folder:
        whole = asyncio.run(causes(Path(folder) / "whole", []))
        assert whole
        assert asyncio.run(causes(Path(folder) / "cut", sizes)) == whole


@pytest.mark.parametrize("change", [cents, as_before])
async def test_the_cause_is_the_same_after_a_restart(tmp_path: Path, database: Database, change: Change) -> None:
    found = []
    for name, stop in (("whole", None), ("stopped", 2_050)):
        (tmp_path / name).mkdir()
        world = World.made(tmp_path / name, database, options=MonitorOptions(reference_rows=600))
        lines = log(change)
        if stop is None:
            await responded(world, lines, [2_050])
        else:
            await responded(world, lines[:stop], [])
            await responded(world, lines, [stop])  # what is stored already is not taken again
        rows = await world.rows(tables.alarms)
        await world.close()
        found.append(sorted((row["row"], row["signal"], repr(row["evidence"][CAUSE])) for row in rows))
    assert found[0] == found[1] != []
