"""Performance before labels come, through the whole pipeline: learned, estimated, distrusted and learned anew."""

from pathlib import Path
from typing import Any

import pytest
from databases import Database, Sqlite
from fleets import Fleet, partitioned
from pipelines import START, World, batches, estimated
from seeded_losses import HARD, log
from sqlalchemy import delete
from structlog.testing import capture_logs

from daemon import measuring
from daemon.checkpoint import ESTIMATE, MonitorSnapshot, Snapshot
from daemon.metrics import Metrics
from daemon.monitoring.charts import ESTIMATED
from daemon.monitoring.estimate_report import Turn
from daemon.monitoring.estimate_stream import EstimateStream
from daemon.monitoring.monitor import Monitor
from daemon.monitoring.options import EstimateOptions, MonitorOptions
from daemon.stores import tables
from detectors.columns import Stream

LEARNED = 600
CHUNK = 250
MORE_HARD = 5_000
FLIPPED = 8_000


def loans(_: str, **options: Any) -> Monitor:
    chosen = EstimateOptions(labels=LEARNED, chunk_rows=CHUNK, **options)
    return Monitor("loans", MonitorOptions(reference_rows=500, estimates=chosen), lambda *_: ())


def of(monitor: Monitor) -> EstimateStream:
    assert monitor.estimate is not None
    return monitor.estimate


@pytest.fixture(scope="module")
def traffic() -> list[bytes]:
    """More hard cases from one row on, which shows without labels; then flipped labels, which does not."""
    return list(
        log(
            12_000,
            hard=lambda row: HARD if row < MORE_HARD else 0.5,
            flipped=lambda row: 0.0 if row < FLIPPED else 0.3,
        )
    )


async def told(world: World, lines: list[bytes]) -> tuple[list[dict[str, Any]], list[Turn]]:
    """What is shown after each checkpoint, and where the estimates were trusted and distrusted."""
    reports, turns = [], []

    async def hear(_: object, found: MonitorSnapshot, __: float) -> None:
        turns.extend(found.findings.turns)

    pipeline = await world.start(respond=hear)
    for one in batches(lines, [400] * len(lines)):
        await pipeline.process(one)
        await pipeline.flush()
        monitor = pipeline.monitors["loans"]
        reports.append(of(monitor).report(monitor.task))
    return reports, turns


async def test_what_shows_before_labels_is_estimated_and_what_does_not_is_found_by_the_labels(
    tmp_path: Path, sqlite_databases: Sqlite, traffic: list[bytes]
) -> None:
    world = World.made(tmp_path, sqlite_databases, make=loans)
    reports, (wrong, again) = await told(world, traffic)
    assert [report["state"] for report in reports[:3]] == ["reference", "learning", "learning"]
    assert reports[1]["learning"][1] == LEARNED
    checked = {one["checked"]["last_row"]: one["checked"] for one in reports if one["checked"]}
    before = [one for row, one in checked.items() if row < MORE_HARD]
    harder = [one for row, one in checked.items() if MORE_HARD + CHUNK < row < FLIPPED]
    assert all(abs(one["value"] - 0.86) < 0.06 for one in before)
    assert all(abs(one["value"] - 0.725) < 0.08 for one in harder)
    held = [one["low"] <= one["real"] <= one["high"] for one in (*before, *harder)]
    assert len(held) > 20
    assert sum(held) / len(held) >= 0.9
    assert FLIPPED < wrong.row < FLIPPED + 300 + 400, (
        "300 rows until the first of these labels, then 400 labels at most"
    )
    assert (wrong.trusted, again.trusted) == (False, True)
    assert again.row > wrong.row + LEARNED
    distrusted = next(one for one in reports if one["state"] == "distrusted")
    assert distrusted["distrusted_since"] == {"row": wrong.row, "ts": wrong.ts}
    assert not distrusted["trusted"]
    assert (reports[-1]["state"], reports[-1]["trusted"]) == ("trusted", True)
    assert reports[-1]["checked"]["first_row"] > again.row
    assert reports[-1]["checked"]["low"] <= reports[-1]["checked"]["real"] <= reports[-1]["checked"]["high"]
    points = [row for row in await world.rows(tables.signals) if row["signal"] == ESTIMATED]
    assert [one["row"] for one in points] == sorted({one["row"] for one in points})
    assert points[-1]["row"] == reports[-1]["last_row"]
    assert round(1 - points[-1]["value"], 6) == reports[-1]["value"]
    await world.close()


async def outcome(world: World) -> Any:
    pipeline = await world.start()
    points = [row for row in await world.rows(tables.signals) if row["signal"] == ESTIMATED]
    return estimated(of(pipeline.monitors["loans"])), [(one["row"], one["value"], one["low"]) for one in points]


async def through(folder: Path, database: Database, log: list[bytes], size: int, deaths: int = 0) -> Any:
    """What comes of a log that is read so."""
    world = World.made(folder, database, make=loans)
    await world.read(log, size, deaths)
    found = await outcome(world)
    await world.close()
    return found


async def test_neither_batches_nor_crashes_nor_workers_change_what_is_estimated(
    tmp_path: Path, sqlite_databases: Sqlite, traffic: list[bytes]
) -> None:
    expected = await through(tmp_path / "whole", sqlite_databases, traffic, 100_000)
    assert len(expected[1]) > 15
    assert await through(tmp_path / "cut", sqlite_databases, traffic, 370) == expected
    assert await through(tmp_path / "broken", sqlite_databases, traffic, 1_100, deaths=4) == expected

    world = World.made(tmp_path / "fleet", sqlite_databases, make=loans, now=START + 1e6)
    fleet = Fleet(world, partitioned(traffic, 2, [number % 2 for number in range(len(traffic))], START))
    for name in ("a", "b"):
        await fleet.join(name)
    await fleet.assign({"a": [0], "b": [1]})
    while await fleet.read("a", 0, 1_000) | await fleet.read("b", 1, 1_000):
        world.now += 3.0
        await fleet.flush("a")
        await fleet.flush("b")
        await fleet.judge("a")
    await fleet.finish()
    assert await outcome(world) == expected
    await world.close()


async def test_where_few_rows_can_be_kept_it_learns_from_a_sample_of_those_whose_labels_come_late(
    tmp_path: Path, sqlite_databases: Sqlite
) -> None:
    lines = list(log(14_000, delay=3_000))
    world = World.made(tmp_path, sqlite_databases, make=lambda model: loans(model, most_values=2_400))
    reports, _ = await told(world, lines)
    most = 2_400 // len(("kind", "noise", "prediction", "score"))
    assert reports[3]["learning"] == [0, 3 * most // 4]
    assert reports[-1]["state"] == "trusted"
    assert reports[-1]["value"] == pytest.approx(0.86, abs=0.04)
    await world.close()


async def test_another_version_is_learned_anew(tmp_path: Path, sqlite_databases: Sqlite, traffic: list[bytes]) -> None:
    world = World.made(tmp_path, sqlite_databases, make=loans)
    pipeline = await world.start()
    for one in batches(traffic[:5_000], [500] * 20):
        await pipeline.process(one)
    monitor = pipeline.monitors["loans"]
    assert of(monitor).report(monitor.task)["state"] == "trusted"
    references = {stream: window.reference for stream, window in monitor.windows.items()}

    def switch(one: Monitor) -> None:
        one.adopt("2", {Stream.PREDICTION: None, Stream.OUTCOME: None})

    await pipeline.change("loans", switch)
    report = of(monitor).report(monitor.task)
    assert (report["state"], report["value"], report["checked"]) == ("reference", None, None)
    rows = monitor.rows
    for one in batches(traffic[5_000:], [500] * 50, 5_000):
        await pipeline.process(one)
    assert monitor.windows[Stream.PREDICTION].reference is not references[Stream.PREDICTION]
    chunks = of(monitor).chunks.chunks
    assert chunks[0].first_row > rows + LEARNED
    await world.close()


async def test_a_store_of_an_older_release_goes_on_and_learns_from_then_on(
    tmp_path: Path, sqlite_databases: Sqlite, traffic: list[bytes]
) -> None:
    world = World.made(tmp_path, sqlite_databases, make=loans)
    pipeline = await world.start()
    for one in batches(traffic[:6_000], [500] * 20):
        await pipeline.process(one)
    await pipeline.flush()
    async with world.stores[-1].begin() as connection:
        await connection.execute(delete(tables.states).where(tables.states.c.part.startswith(ESTIMATE)))
    await world.close()
    pipeline = await world.start()
    rows = pipeline.monitors["loans"].rows
    for one in batches(traffic[6_000:10_000], [500] * 20, 6_000):
        await pipeline.process(one)
    assert of(pipeline.monitors["loans"]).chunks.chunks[0].first_row >= rows + LEARNED
    await world.close()


async def test_features_and_labels_are_no_condition(tmp_path: Path, sqlite_databases: Sqlite) -> None:
    world = World.made(tmp_path, sqlite_databases, make=loans)
    pipeline = await world.start()
    for one in batches(list(log(3_000, features=None)), [500] * 20):
        await pipeline.process(one)
    monitor = pipeline.monitors["loans"]
    report = of(monitor).report(monitor.task)
    assert report["state"] == "trusted"
    assert report["value"] == pytest.approx(0.86, abs=0.03), "by prediction and score"
    await world.close()


def test_that_estimates_are_distrusted_is_logged_once() -> None:
    monitor = loans("loans")
    monitor.findings.turns += [Turn(8_200, START, trusted=False), Turn(9_100, START + 900, trusted=True)]
    found = MonitorSnapshot("loans", monitor, monitor.findings, {}, {}, {}, [], frozenset(), 0)
    with capture_logs() as logs:
        measuring.measure(Metrics(), Snapshot({}, monitors=[found]), START)
    assert [(one["log_level"], one["event"], one["since_row"]) for one in logs] == [
        ("warning", measuring.DISTRUSTED, 8_200),
        ("info", measuring.TRUSTED, 9_100),
    ]
