"""The folder of one retrain: everything that the child process needs, and where it leaves what came of it.

The archive's chunks are written out as they are, in Arrow's own stream format, and its files are linked, so that
neither compaction nor expiry takes them away from under the child; of an archive that is no folder the child reads them
itself. Nothing here loads Arrow.
"""

import asyncio
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Select, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.lifecycle.broken import breaks
from daemon.lifecycle.facts import JOINED
from daemon.lifecycle.jobs import Job
from daemon.lifecycle.recipe import Recipe
from daemon.lifecycle.triggers import RECOVERED
from daemon.stores.tables import alarms, archive_chunks, archive_files, counters, models
from detectors.base import Kind
from retrain.job import JOB_FILE, Champion, DatasetSettings
from retrain.job import Job as JobFile
from retrain.job import Task as TaskName
from retrain.storage.base import ARCHIVE, JOBS, MODELS, Storage
from retrain.storage.folder import FolderStorage

KINDS: Final = ("events", "labels", "features")
INPUTS: Final = "archive"
CANDIDATE: Final = "candidate"
CHUNK_SUFFIX: Final = ".arrows"
"""Of an Arrow IPC stream."""
LEAST_LABELLED_SHARE: Final = 0.01


class NothingToLearn(Exception):
    """The model's task is not known yet: no prediction of it was ever taken."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the daemon keeps things. ``jobs`` and ``models`` are folders of this machine, absolute.

    ``storage`` is what all nodes see; where ``shared`` is false it is the data folder, and what lies in ``jobs`` and
    ``models`` is there already.
    """

    jobs: Path
    models: Path
    storage: Storage
    shared: bool

    @classmethod
    def below(cls, data_dir: Path, storage: Storage | None = None) -> "Places":
        """Lay them out in the data folder, and in ``storage`` if that is another place."""
        data_dir = data_dir.absolute()
        if storage is None or (storage.folder is not None and storage.folder.resolve() == data_dir.resolve()):
            return cls(data_dir / JOBS, data_dir / MODELS, FolderStorage(data_dir), shared=False)
        return cls(data_dir / JOBS, data_dir / MODELS, storage, shared=True)

    def job(self, job: int) -> Path:
        """Return the folder of one retrain."""
        return self.jobs / str(job)


async def prepare(
    connection: AsyncConnection,
    job: Job,
    recipe: Recipe,
    places: Places,
) -> Path:
    """Make the folder of a claimed job, with ``job.json`` and the archive in it, and return it.

    Everything is read over ``connection``, which only reads. Raises NothingToLearn, OSError.
    """
    folder = places.job(job.id)
    inputs = folder / INPUTS
    await asyncio.to_thread(_empty, inputs)
    row = (await connection.execute(select(models.c.task, models.c.rows).where(models.c.model == job.model))).first()
    if row is None or row.task is None:
        raise NothingToLearn(f"no prediction of {job.model} was ever taken")
    since = max(job.since_row or 0, row.rows - await _span(connection, job.model, recipe.window_rows), 0)
    found = {kind: await _inputs(connection, job.model, kind, since, (places.storage, inputs)) for kind in KINDS}
    task: TaskName = row.task
    job_file = JobFile(
        job=job.id,
        model=job.model,
        task=task,
        version=job.version or "",
        cutoff_ts=job.cutoff or 0.0,
        dataset=DatasetSettings(
            files=found["events"],
            labels=found["labels"],
            features=found["features"],
            quarantine=await _quarantined(connection, job.model),
            exclude=recipe.exclude,
            maximum_rows=recipe.window_rows,
        ),
        champion=None if job.champion is None else Champion(version=job.champion),
        since_row=since,
        until_row=row.rows,
        trainer=recipe.trainer,
        gate=recipe.gate,
        limits=recipe.limits,
        output=str(folder / CANDIDATE),
        registry=str(places.models),
        storage=places.storage.place if places.shared else None,
        positive=recipe.positive,
    )
    await asyncio.to_thread((folder / JOB_FILE).write_bytes, msgspec.json.format(msgspec.json.encode(job_file)))
    return folder


def tidy(folder: Path) -> None:
    """Remove what nobody needs once the retrain is over: its inputs, and the candidate, which the registry has."""
    for name in (INPUTS, CANDIDATE):
        shutil.rmtree(folder / name, ignore_errors=True)


async def _span(connection: AsyncConnection, model: str, labelled: int) -> int:
    """How many rows hold about ``labelled`` rows with a label."""
    names = ("prediction", JOINED)
    query = select(counters.c.name, counters.c.value).where(counters.c.model == model, counters.c.name.in_(names))
    counts: dict[str, int] = dict((await connection.execute(query)).all())
    share = counts.get(JOINED, 0) / max(counts.get("prediction", 0), 1)
    return math.ceil(labelled / max(min(share, 1.0), LEAST_LABELLED_SHARE))


async def _inputs(
    connection: AsyncConnection, model: str, kind: str, since: int, way: tuple[Storage, Path]
) -> tuple[str, ...]:
    """Write out, link or name everything of one kind that may hold rows from ``since`` on.

    The chunks first: one that is made part of a file meanwhile is then there twice, and not lost.
    """
    storage, inputs = way
    chunks = []
    for (number,) in (await connection.execute(_wanted(archive_chunks, archive_chunks.c.id, model, kind, since))).all():
        data = select(archive_chunks.c.data).where(archive_chunks.c.id == number)
        path = inputs / f"{kind}-{number:012d}{CHUNK_SUFFIX}"
        content = (await connection.execute(data)).scalar()
        if content is not None:
            await asyncio.to_thread(path.write_bytes, content)
            chunks.append(str(path))
    names = (await connection.execute(_wanted(archive_files, archive_files.c.path, model, kind, since))).scalars().all()
    if storage.folder is None:
        return (*(f"{ARCHIVE}/{name}" for name in names), *chunks)
    files = await asyncio.to_thread(_link, [storage.folder / ARCHIVE / name for name in names], inputs)
    return (*files, *chunks)


def _wanted(table: Table, column: ColumnElement[Any], model: str, kind: str, since: int) -> Select[Any]:
    recent = table.c.last_row.is_(None) | (table.c.last_row >= since)
    return select(column).where(table.c.model == model, table.c.kind == kind, recent).order_by(column)


async def _quarantined(connection: AsyncConnection, model: str) -> tuple[tuple[int, int], ...]:
    """The rows whose data was broken and has been whole again since; while it is broken nothing trains anyway."""
    over = (alarms.c.model == model) & (alarms.c.closed_reason == RECOVERED)
    began = func.coalesce(alarms.c.change_row, alarms.c.row)
    columns = (began, alarms.c.closed_row, alarms.c.kind, alarms.c.signal, alarms.c.evidence)
    query = select(*columns).where(over, alarms.c.closed_row > began).order_by(began)
    rows = (await connection.execute(query)).all()
    return tuple((first, after) for first, after, kind, *alarm in rows if breaks(Kind(kind), *alarm))


def _empty(inputs: Path) -> None:
    shutil.rmtree(inputs, ignore_errors=True)  # of an attempt before
    inputs.mkdir(parents=True)


def _link(files: list[Path], inputs: Path) -> tuple[str, ...]:
    """Link files into the folder, each under a name of its own; where that cannot be done they stay where they are."""
    named = []
    for number, file in enumerate(files):
        link = inputs / f"{number:06d}-{file.name}"
        try:
            os.link(file, link)
        except FileNotFoundError:
            continue  # it has expired since
        except OSError:
            link = file
        named.append(str(link))
    return tuple(named)
