"""Every event is kept, once, and can be read by whatever reads Parquet."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
from databases import Database, Sqlite
from pipelines import World, batch
from seeded_events import label, line, prediction

from daemon.archive import ORPHAN_SECONDS, Archive, folder_of
from daemon.lifecycle import jobs
from daemon.lifecycle.job_folder import Places, prepare
from daemon.lifecycle.policy import Trigger
from daemon.lifecycle.recipe import Recipe
from daemon.monitoring.options import MonitorOptions
from daemon.stores import tables
from retrain.job import DatasetSettings, read_job
from retrain.joins import labelled_rows
from retrain.storage import open_storage
from retrain.storage.base import ARCHIVE, Storage, StorageRefused


@pytest.fixture
async def world(tmp_path: Path, database: Database, storage: Storage) -> AsyncIterator[World]:
    world = World.made(tmp_path, database, options=MonitorOptions(reference_rows=10), storage=storage)
    yield world
    await world.close()


def events(count: int, first: int = 0, **fields: Any) -> list[bytes]:
    return [line(**prediction(number, Random(number), **fields)) for number in range(first, first + count)]


async def read(world: World, kind: str = "events") -> list[dict[str, Any]]:
    assert world.storage is not None
    rows = []
    for file in await world.rows(tables.archive_files):
        if file["kind"] == kind:
            with world.storage.open(f"{ARCHIVE}/{file['path']}") as source:
                rows += pq.read_table(source).to_pylist()
    return rows


async def test_small_checkpoints_wait_in_the_store_and_become_one_file(world: World, storage: Storage) -> None:
    pipeline = await world.start()
    archive = world.archive_of(pipeline)
    for first in (0, 20, 40):
        await pipeline.process(batch(*events(20, first), first=first))
        await pipeline.flush()
    assert await archive.compact(100) == 0
    assert len(await world.rows(tables.archive_chunks)) == 3
    assert await archive.compact(60) == 1
    assert await world.rows(tables.archive_chunks) == []
    [file] = await world.rows(tables.archive_files)
    assert (file["model"], file["kind"], file["rows"], file["first_row"], file["last_row"]) == (
        "loans",
        "events",
        60,
        0,
        59,
    )
    assert file["path"].startswith("loans/events-")
    assert [(one.name, one.bytes) for one in storage.files(ARCHIVE)] == [(f"archive/{file['path']}", file["bytes"])]
    assert [one["row"] for one in await read(world)] == list(range(60))


async def test_a_large_checkpoint_is_a_file_at_once(world: World) -> None:
    world.file_rows = 30
    pipeline = await world.start()
    labels = [line(**label(number, 1)) for number in range(10)]
    await pipeline.process(batch(*events(40), *labels))
    await pipeline.flush()
    assert [(row["kind"], row["rows"]) for row in await world.rows(tables.archive_files)] == [("events", 40)]
    assert [(row["kind"], row["rows"]) for row in await world.rows(tables.archive_chunks)] == [("labels", 10)]


async def test_what_is_read_is_what_was_sent(world: World) -> None:
    pipeline = await world.start()
    sent = {
        "id": "a",
        "version": "3",
        "ts": 1_795_176_000.5,
        "features": {"age": 41, "state": "MA", "income": None, "odd": [1]},
        "prediction": "yes",
        "score": {"yes": 0.8, "no": 0.2},
        "segment": {"channel": "web"},
    }
    rest = [line(model="m", id=str(number), prediction="no", features={"age": 1}) for number in range(12)]
    labels = [
        line(type="label", model="m", id="a", ts=5, label="no"),
        line(type="label", model="m", id="x", ts=6, label="yes"),
    ]
    apart = [line(type="features", model="m", id="a", ts=7, features={"zip": "02139"})]
    await pipeline.process(batch(line(model="m", **sent), *rest, *labels, *apart))
    await pipeline.flush()
    await world.archive_of(pipeline).compact(1)
    first = (await read(world))[0]
    assert first == {
        "row": 0,
        "id": "a",
        "ts": 1_795_176_000.5,
        "version": "3",
        "segment": '{"channel":"web"}',
        "prediction": "yes",
        "score": 0.8,
        "score_classes": '{"yes":0.8,"no":0.2}',
        "feature:age": 41.0,
        "feature:state": "MA",
        "feature:odd": float("inf"),
    }
    found = await read(world, "labels")
    assert [(one["id"], one["ts"], one["label"], one["row"]) for one in found] == [
        ("a", 5.0, "no", 0),
        ("x", 6.0, "yes", -1),
    ]
    assert all(one["received"] == world.now for one in found)
    [alone] = await read(world, "features")
    assert {name: value for name, value in alone.items() if value is not None} == {
        "id": "a",
        "ts": 7.0,
        "feature:zip": "02139",
    }


async def test_a_feature_that_changes_its_type_is_kept_as_text(world: World) -> None:
    pipeline = await world.start()
    for first, value in ((0, 1), (5, "x"), (10, 0.1)):
        some = [
            line(model="m", id=str(number), prediction=1, features={"a": value}) for number in range(first, first + 5)
        ]
        await pipeline.process(batch(*some, first=first))
        await pipeline.flush()
    await world.archive_of(pipeline).compact(1)
    assert [one["feature:a"] for one in await read(world)] == ["1"] * 5 + ["x"] * 5 + ["0.1"] * 5


async def test_numbers_are_numbers_for_a_regression(world: World) -> None:
    pipeline = await world.start()
    some = [line(model="m", id=str(number), prediction=number * 1.5) for number in range(30)]
    await pipeline.process(batch(*some, line(type="label", model="m", id="1", label=2)))
    await pipeline.flush()
    await world.archive_of(pipeline).compact(1)
    assert [one["prediction"] for one in await read(world)][:3] == [0.0, 1.5, 3.0]
    assert [one["label"] for one in await read(world, "labels")] == [2.0]


async def test_old_files_are_let_go_and_newer_ones_are_not(world: World, storage: Storage) -> None:
    world.file_rows = 1
    pipeline = await world.start()
    archive = world.archive_of(pipeline)
    for first, ts in ((0, 1_000.0), (5, 2_000.0)):
        await pipeline.process(batch(*events(5, first, ts=ts), first=first))
        await pipeline.flush()
    assert await archive.expire("loans", 1_500.0) == 1
    assert {one["ts"] for one in await read(world)} == {2_000.0}
    assert len(storage.files(ARCHIVE)) == 1
    assert await archive.expire("other", 9_999.0) == 0


@pytest.mark.parametrize("model", ["loans", "a/b", "..", ".", "ü" * 200, "a b%", "con", "x" * 200])
def test_whatever_a_model_is_called_its_folder_is_a_folder_of_its_own(tmp_path: Path, model: str) -> None:
    folder = tmp_path / folder_of(model)
    folder.mkdir()
    assert folder.parent == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == [folder_of(model)]
    assert folder_of(model) != folder_of(model + "x")


async def test_an_archive_that_holds_nothing_yet_has_nothing_to_sweep(world: World) -> None:
    pipeline = await world.start()
    assert await world.archive_of(pipeline).sweep(time.time()) == 0


async def test_only_old_files_that_nothing_names_are_swept(world: World, storage: Storage) -> None:
    world.file_rows = 1
    pipeline = await world.start()
    archive = world.archive_of(pipeline)
    await pipeline.process(batch(*events(5)))
    await pipeline.flush()
    [named] = storage.files(ARCHIVE)
    with storage.create(f"{ARCHIVE}/loans/events-ffff.parquet") as sink:
        sink.write(b"of another node, which has not named it yet")
    assert await archive.sweep(time.time() + ORPHAN_SECONDS - 600) == 0
    assert await archive.sweep(time.time() + ORPHAN_SECONDS + 600) == 1
    assert storage.files(ARCHIVE) == [named]


async def test_a_storage_that_does_not_hold_what_the_store_names_is_refused(world: World, tmp_path: Path) -> None:
    world.file_rows = 1
    pipeline = await world.start()
    await world.archive_of(pipeline).check()
    await pipeline.process(batch(*events(5)))
    await pipeline.flush()
    await world.archive_of(pipeline).check()
    with pytest.raises(StorageRefused, match="copy archive/, jobs/ and"):
        await Archive(open_storage(str(tmp_path / "another")), world.stores[-1]).check()


async def test_two_nodes_that_make_a_file_of_the_same_chunks_make_one(world: World, storage: Storage) -> None:
    pipeline = await world.start()
    for first in (0, 20):
        await pipeline.process(batch(*events(20, first), first=first))
        await pipeline.flush()
    other = Archive(storage, world.stores[-1])
    assert sorted(await asyncio.gather(world.archive_of(pipeline).compact(40), other.compact(40))) == [0, 1]
    assert [one["row"] for one in await read(world)] == list(range(40))
    assert len(storage.files(ARCHIVE)) == 1


async def test_many_chunks_become_files_of_a_bounded_size(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.archive.MOST_FILE_ROWS", 40)
    pipeline = await world.start()
    for first in range(0, 100, 20):
        await pipeline.process(batch(*events(20, first), first=first))
        await pipeline.flush()
    assert await world.archive_of(pipeline).compact(50) == 2
    assert await world.archive_of(pipeline).compact(20) == 1
    assert [one["row"] for one in await read(world)] == list(range(100))
    assert sorted(row["rows"] for row in await world.rows(tables.archive_files)) == [20, 40, 40]


async def test_the_folder_is_laid_out_as_ever(tmp_path: Path, sqlite_databases: Sqlite) -> None:
    world = World.made(tmp_path, sqlite_databases, options=MonitorOptions(reference_rows=10), file_rows=1)
    await (pipeline := await world.start()).process(batch(*events(5)))
    await pipeline.flush()
    [file] = await world.rows(tables.archive_files)
    assert (tmp_path / "archive" / "loans" / file["path"].partition("/")[2]).stat().st_size == file["bytes"]
    await world.close()


async def test_a_retrain_of_later_rows_reads_no_label_file_of_earlier_ones(world: World) -> None:
    world.file_rows = 1
    pipeline = await world.start()
    for first in (0, 100, 200):
        labels = [line(**label(number, number % 2)) for number in range(first, first + 100)]
        await pipeline.process(batch(*events(100, first), *labels, first=2 * first))
        await pipeline.flush()
    inputs = {since: await prepared(world, since) for since in (0, 150, 250)}
    assert {since: [len(found.labels), len(found.files)] for since, found in inputs.items()} == {
        0: [3, 3],
        150: [2, 2],
        250: [1, 1],
    }
    for since in (150, 250):
        rows = [one for one in await rows_of(world, inputs[0], since) if one["row"] >= since]
        assert await rows_of(world, inputs[since], since) == rows
        assert len(rows) == 300 - since


async def test_a_label_that_came_before_its_prediction_is_read_with_the_rows_it_may_be_of(world: World) -> None:
    world.file_rows = 1
    pipeline = await world.start()
    await pipeline.process(batch(*events(50), *[line(**label(number, 1)) for number in range(40, 60)]))
    await pipeline.flush()
    await pipeline.process(batch(*events(50, 50), first=70))
    await pipeline.flush()
    found = await prepared(world, 55)
    assert [one["row"] for one in await rows_of(world, found, 55)] == [55, 56, 57, 58, 59]
    [file] = [row for row in await world.rows(tables.archive_files) if row["kind"] == "labels"]
    assert (file["first_row"], file["last_row"]) == (40, 50 + world.options.max_waiting)


async def test_joined_small_parts_hold_every_row_that_their_parts_do(world: World) -> None:
    pipeline = await world.start()
    for first, labelled in ((0, range(10)), (20, (35, 22)), (40, ())):
        labels = [line(**label(number, 1)) for number in labelled]
        await pipeline.process(batch(*events(20, first), *labels, first=first + first // 20 * 10))
        await pipeline.flush()
    await world.archive_of(pipeline).compact(1)
    spans = {row["kind"]: (row["first_row"], row["last_row"]) for row in await world.rows(tables.archive_files)}
    assert spans == {"events": (0, 59), "labels": (0, 35)}


async def prepared(world: World, since: int) -> DatasetSettings:
    """What a retrain of the rows from ``since`` on is given to read."""
    places = Places.below(world.folder, world.storage)
    async with world.stores[-1].begin() as connection:
        job, _ = await jobs.enqueue(connection, "loans", Trigger.MANUAL, world.now, since_row=since)
        await jobs.claim(connection, "me", world.now)
    async with world.stores[-1].begin() as connection:
        folder = await prepare(connection, job, Recipe(), places)
        await jobs.finish(connection, job.id, "me", world.now, "failed")
    return read_job(folder).dataset


async def rows_of(world: World, dataset: DatasetSettings, since: int) -> list[dict[str, Any]]:
    """The labelled rows that a retrain makes of it."""
    folder = max((world.folder / "jobs").iterdir(), key=lambda path: int(path.name))
    job = msgspec.structs.replace(read_job(folder), dataset=dataset, cutoff_ts=world.now)
    found: list[dict[str, Any]] = labelled_rows(job, since, world.storage).to_pylist()
    return found
