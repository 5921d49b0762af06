"""Performance as a user sees it: of the latest labelled rows of the version in service, whatever happened before."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest
from databases import Database
from pipelines import World, batch, batches
from seeded_events import line
from sklearn.metrics import f1_score, log_loss, roc_auc_score
from sqlalchemy import delete, select, update

from daemon.checkpoint import LABELLED
from daemon.monitoring.monitors import make_monitor
from daemon.monitoring.options import MonitorOptions
from daemon.monitoring.references import give
from daemon.monitoring.tasks import Task
from daemon.settings import ModelSettings
from daemon.stores import tables

OPTIONS = MonitorOptions(reference_rows=100, max_waiting=500, performance_rows=400)


@pytest.fixture
async def world(tmp_path: Path, database: Database) -> AsyncIterator[World]:
    world = World.made(tmp_path / "data", database, options=OPTIONS)
    yield world
    await world.close()


def rows_of(count: int, seed: int = 1) -> list[tuple[float, int]]:
    """Probabilities of class 1, and what came true."""
    rng = Random(seed)
    probabilities = [round(rng.betavariate(1, 2), 3) for _ in range(count)]
    return [(one, int(rng.random() < one)) for one in probabilities]


def events(rows: Sequence[tuple[float, int]], first: int = 0, delay: int = 150, **fields: Any) -> list[bytes]:
    """Predictions and, so many predictions later, their labels; every third sends probabilities by class."""
    lines = []
    for number, (probability, _) in enumerate(rows):
        by_class = {"0": 1 - probability, "1": probability}
        score: Any = by_class if number % 3 == 0 else probability
        said = {"model": "loans", "id": f"p{first + number}", "prediction": int(probability > 0.4), "score": score}
        lines.append(line(**said, **fields))
        if number >= delay:
            lines.append(label(first + number - delay, rows[number - delay][1]))
    return lines + [label(first + number, rows[number][1]) for number in range(max(0, len(rows) - delay), len(rows))]


def label(number: int, value: int) -> bytes:
    return line(type="label", model="loans", id=f"p{number}", label=value)


async def reported(world: World) -> dict[str, Any]:
    """What the store has of the model's performance, with the metrics by name."""
    async with world.stores[-1].read() as connection:
        found = (await connection.execute(select(tables.models.c.performance))).scalar_one()
    return found | {"metrics": {one["metric"]: one for one in found["metrics"]}}


async def test_what_is_reported_is_what_the_last_labels_say(world: World) -> None:
    rows = rows_of(900)
    pipeline = await world.start()
    for one in batches(events(rows), [70] * 20):
        await pipeline.process(one)
    await pipeline.flush()
    found = await reported(world)
    probabilities, labels = map(np.array, zip(*rows[-400:], strict=True))
    said = probabilities > 0.4
    assert (found["metric"], found["rows"], found["positive"]) == ("accuracy", 400, "1")
    for name, expected in (
        ("accuracy", (said == labels).mean()),
        ("f1", f1_score(labels, said)),
        ("auc", roc_auc_score(labels, probabilities)),
        ("log_loss", log_loss(labels, probabilities)),
    ):
        one = found["metrics"][name]
        assert one["value"] == pytest.approx(expected, rel=1e-5), name
        assert one["low"] < one["value"] < one["high"], name
        assert one["rows"] == 400
    assert found["metrics"]["rms_calibration_error"]["low"] == 0.0


async def test_a_label_that_is_put_right_counts_as_it_is_now(world: World) -> None:
    pipeline = await world.start()
    sent = [line(model="loans", id=f"p{number}", prediction=number % 2, score=0.5) for number in range(300)]
    wrong = [label(number, 0) for number in range(300)]
    await pipeline.process(batch(*sent, *wrong))
    await pipeline.flush()
    assert (await reported(world))["value"] == 0.5
    right = [label(number, number % 2) for number in range(300)]
    await pipeline.process(batch(*right, first=600))
    await pipeline.flush()
    found = await reported(world)
    assert (found["value"], found["metrics"]["f1"]["value"], found["rows"]) == (1.0, 1.0, 300)


async def test_a_version_that_takes_over_is_measured_on_its_own_rows(world: World) -> None:
    pipeline = await world.start()
    first = [line(model="loans", id=f"p{number}", prediction=number % 2, version="1") for number in range(300)]
    await pipeline.process(batch(*first, *(label(number, 1 - number % 2) for number in range(280))))
    await pipeline.flush()
    assert (await reported(world))["value"] == 0.0
    second = [line(model="loans", id=f"p{number}", prediction=number % 2, version="2") for number in range(300, 600)]
    late = [label(number, 1 - number % 2) for number in range(280, 300)]
    labels = [label(number, number % 2) for number in range(400, 600)]
    await pipeline.process(batch(*second, *late, *labels, first=580))
    await pipeline.flush()
    found = await reported(world)
    assert (found["value"], found["rows"], found["metrics"]["f1"]["value"]) == (1.0, 200, 1.0)


async def test_a_store_of_an_older_release_goes_on_with_what_it_has(world: World) -> None:
    rows = rows_of(900)
    lines = events(rows, delay=50)
    pipeline = await world.start()
    await pipeline.process(batch(*lines[:1_000]))
    await pipeline.flush()
    before = (await reported(world))["value"]
    await make_old(world)
    pipeline = await world.start()
    await pipeline.process(batch(lines[1_000], first=1_000))
    await pipeline.flush()
    assert (await reported(world))["value"] == pytest.approx(before, abs=1 / 400)
    for one in batches(lines[1_001:], [90] * 20, first=1_001):
        await pipeline.process(one)
    await pipeline.flush()
    found = await reported(world)
    _, labels = zip(*rows[-400:], strict=True)
    said = [probability > 0.4 for probability, _ in rows[-400:]]
    assert found["value"] == pytest.approx(np.mean(np.array(said) == labels))
    assert found["rows"] == 400
    since = found["metrics"]["auc"]["rows"]
    assert 300 < since < 400, "of the predictions that waited then no score is known"
    probabilities, labels = zip(*rows[-since:], strict=True)
    assert found["metrics"]["auc"]["value"] == pytest.approx(roc_auc_score(labels, probabilities))
    assert found["metrics"]["f1"]["rows"] > since


async def make_old(world: World) -> None:
    """Take from the store what releases before this one did not keep there."""
    async with world.stores[-1].begin() as connection:
        await connection.execute(delete(tables.states).where(tables.states.c.part == LABELLED))
        here = tables.states.c.part == "monitor"
        state = msgspec.msgpack.decode(
            (await connection.execute(select(tables.states.c.data).where(here))).scalar_one()
        )
        for name in ("score_classes", "undecided_scores", "undecided_revised"):
            del state[name]
        await connection.execute(update(tables.states).where(here).values(data=msgspec.msgpack.encode(state)))
        waiting = tables.waiting.c
        mine = waiting.partition == "predictions"
        for first, data in (await connection.execute(select(waiting.first, waiting.data).where(mine))).all():
            after, journal = msgspec.msgpack.decode(data)
            old = msgspec.msgpack.encode((after, [entry[:7] for entry in journal]))
            await connection.execute(update(tables.waiting).where(mine, waiting.first == first).values(data=old))


async def test_rows_of_classes_are_not_held_against_a_model_that_is_said_to_predict_numbers(world: World) -> None:
    pipeline = await world.start()
    await pipeline.process(batch(*events(rows_of(300))))
    monitor = pipeline.monitors["loans"]
    give(monitor, Task.BINARY, {})
    assert monitor.performance.report(Task.BINARY, None) is not None
    give(monitor, Task.REGRESSION, {})
    assert monitor.performance.report(Task.REGRESSION, None) is None


def test_over_how_many_rows_is_a_setting() -> None:
    monitor = make_monitor("loans", ModelSettings(performance_rows=321, positive="no"))
    assert (monitor.performance.labelled.most, monitor.performance.positive) == (321, "no")
