"""Keeps every event in Parquet, for retraining and for questions.

Small checkpoints go into the store as Arrow chunks, in the transaction that moves the offset; once a model has enough
of them they are written to one file, which a second transaction names in their place. A checkpoint that is large by
itself becomes a file at once, written before the transaction that names it. A file that no row names and that is older
than any checkpoint on its way is an orphan of a crash, and is swept.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

import structlog
from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.checkpoint import MonitorSnapshot
from daemon.stores import tables
from daemon.stores.engine import Store
from retrain.storage.base import ARCHIVE, Storage, StorageRefused

log = structlog.get_logger(__name__)

DEFAULT_FILE_ROWS: Final = 50_000
LARGE_CHECKPOINT_ROWS: Final = 20_000
"""So many rows of one kind in one checkpoint become a file at once: to write them twice would cost more."""
MOST_FILE_ROWS: Final = 1_000_000
"""Of rows that have waited as chunks, so many at most are read at once and become one file, and a chunk's more."""
UNNAMED_SECONDS: Final = 3_600.0
"""A file is named by the store within so long after it was written, or never."""
ORPHAN_SECONDS: Final = 24 * UNNAMED_SECONDS
"""From this age on a file without a name is an orphan, whichever node wrote it, and however wrong its clock is."""
LONGEST_FOLDER: Final = 100
"""Characters of a model's name, as part of a path; file systems take about twice as many."""


CHUNKS_AT_ONCE: Final = 10_000
"""Parameters of one statement, below the limits of both databases."""


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one model and kind, ready to be named by the store: a chunk's bytes, or a file."""

    table: Any
    row: dict[str, Any]


class Overtaken(Exception):
    """Another worker has made a file of the same chunks: nothing of this one's counts."""


class Archive:
    """The archive of all models in ``storage``. Files hold ``file_rows`` rows or more."""

    def __init__(self, storage: Storage, store: Store, file_rows: int = DEFAULT_FILE_ROWS) -> None:
        self.storage = storage
        self.file_rows = file_rows
        self._store = store

    async def check(self) -> None:
        """Try the storage out, and whether it holds what the store names. Raises StorageError."""
        await asyncio.to_thread(self.storage.check)
        files = tables.archive_files.c
        async with self._store.read() as connection:
            model = (await connection.execute(select(files.model).order_by(files.last_ts.desc()).limit(1))).scalar()
            named = (await connection.execute(select(files.path).where(files.model == model))).scalars().all()
        if model is None:
            return
        there = await asyncio.to_thread(self.storage.files, f"{ARCHIVE}/{folder_of(model)}")
        if not {f"{ARCHIVE}/{path}" for path in named} & {one.name for one in there}:
            raise StorageRefused(
                f"no file of {model} that the store names is at {self.storage.place}: copy archive/, jobs/ and models/"
                " of where they were before to there, or set DRIFTD_ARCHIVE_URL as it was"
            )

    async def prepare(self, monitors: Sequence[MonitorSnapshot], received: float) -> list[Block]:
        """Encode what a checkpoint has found, and write what is large to files. Raises OSError."""
        if not any(one.findings.predictions or one.findings.labels or one.findings.features for one in monitors):
            return []
        return await asyncio.to_thread(self._blocks, monitors, received)

    def _blocks(self, monitors: Sequence[MonitorSnapshot], received: float) -> list[Block]:
        from daemon.archive_tables import ipc, tables_of

        blocks = []
        for one in monitors:
            horizon = one.row["rows"] + one.monitor.options.max_waiting
            for kind, table, span in tables_of(one.row["task"], one.findings, received, horizon):
                row = {"model": one.model, "kind": kind, "rows": table.num_rows, **span}
                if table.num_rows >= min(self.file_rows, LARGE_CHECKPOINT_ROWS):
                    blocks.append(Block(tables.archive_files, row | self._file(one.model, kind, [table])))
                else:
                    blocks.append(Block(tables.archive_chunks, row | {"data": ipc(table)}))
        return blocks

    def _file(self, model: str, kind: str, parts: list[Any]) -> dict[str, Any]:
        from daemon.archive_tables import write_parquet

        path = f"{folder_of(model)}/{kind}-{uuid4().hex}.parquet"
        return {"path": path, "bytes": write_parquet(self.storage, f"{ARCHIVE}/{path}", parts)}

    async def write(self, connection: AsyncConnection, blocks: Sequence[Block]) -> None:
        """Put blocks into the checkpoint."""
        for table in (tables.archive_chunks, tables.archive_files):
            rows = [block.row for block in blocks if block.table is table]
            if rows:
                await connection.execute(insert(table), rows)

    async def compact(self, file_rows: int | None = None) -> int:
        """Turn chunks into files where a model has ``file_rows`` rows of them. Returns the number of files.

        While a file cannot be written the rows stay in the chunks.
        """
        least = self.file_rows if file_rows is None else file_rows
        chunks = tables.archive_chunks.c
        async with self._store.read() as connection:
            full = (
                await connection.execute(
                    select(chunks.model, chunks.kind)
                    .group_by(chunks.model, chunks.kind)
                    .having(func.sum(chunks.rows) >= least)
                )
            ).all()
        files = 0
        for model, kind in full:
            for first, last in await self._groups(model, kind, least):
                try:
                    files += await self._compact_one(model, kind, first, last)
                except OSError as error:
                    log.warning("archived events wait in the store", model=model, error=str(error))
                    return files
        return files

    async def _groups(self, model: str, kind: str, least: int) -> list[tuple[int, int]]:
        """Cut the chunks of a model into runs, each given by its first and last id, that become one file each."""
        chunks = tables.archive_chunks.c
        which = (chunks.model == model) & (chunks.kind == kind)
        async with self._store.read() as connection:
            found = (await connection.execute(select(chunks.id, chunks.rows).where(which).order_by(chunks.id))).all()
        groups, first, rows = [], None, 0
        for place, chunk in enumerate(found):
            first, rows = chunk.id if first is None else first, rows + chunk.rows
            if rows >= MOST_FILE_ROWS or (rows >= least and place == len(found) - 1):
                groups.append((first, chunk.id))
                first, rows = None, 0
        return groups

    async def _compact_one(self, model: str, kind: str, first: int, last: int) -> int:
        from daemon.archive_tables import from_ipc

        chunks = tables.archive_chunks.c
        which = (chunks.model == model) & (chunks.kind == kind) & chunks.id.between(first, last)
        async with self._store.read() as connection:
            rows = (await connection.execute(select(tables.archive_chunks).where(which).order_by(chunks.id))).all()
        if not rows:
            return 0
        file = await asyncio.to_thread(lambda: self._file(model, kind, [from_ipc(row.data) for row in rows]))
        known = [row.first_row for row in rows if row.first_row is not None]
        named = {
            "model": model,
            "kind": kind,
            "rows": sum(row.rows for row in rows),
            "first_row": min(known, default=None),
            "last_row": max((row.last_row for row in rows if row.last_row is not None), default=None),
            "last_ts": max(row.last_ts for row in rows),
            **file,
        }
        try:
            await self._exchange([row.id for row in rows], named)
        except Overtaken:
            await asyncio.to_thread(self.storage.remove, f"{ARCHIVE}/{file['path']}")
            return 0
        return 1

    async def _exchange(self, chunks: Sequence[int], file: Mapping[str, Any]) -> None:
        """Name a file in place of these chunks. Raises Overtaken where they are no longer there."""
        async with self._store.begin([file["model"]]) as connection:
            await _take_out(connection, chunks)
            await connection.execute(insert(tables.archive_files).values(**file))

    async def sweep(self, now: float) -> int:
        """Remove files that no row of the store names and that are old enough not to wait for one. Returns how many."""
        files = await asyncio.to_thread(self.storage.files, ARCHIVE)
        old = {one.name for one in files if one.modified < now - ORPHAN_SECONDS}
        # after the files, so that none is named in between
        async with self._store.read() as connection:
            named = (await connection.execute(select(tables.archive_files.c.path))).scalars()
            orphans = sorted(old - {f"{ARCHIVE}/{path}" for path in named})
        await asyncio.to_thread(self._remove, orphans)
        return len(orphans)

    def _remove(self, names: Sequence[str]) -> None:
        for name in names:
            self.storage.remove(name)

    async def expire(self, model: str, before_ts: float) -> int:
        """Forget files whose newest event is older than ``before_ts``. Returns how many."""
        files = tables.archive_files.c
        old_ones = (files.model == model) & (files.last_ts < before_ts)
        async with self._store.begin() as connection:
            old = (await connection.execute(select(files.path).where(old_ones))).scalars().all()
            await connection.execute(delete(tables.archive_files).where(files.path.in_(old)))
        await asyncio.to_thread(self._remove, [f"{ARCHIVE}/{path}" for path in old])
        return len(old)


async def _take_out(connection: AsyncConnection, numbers: Sequence[int]) -> None:
    """Delete these chunks and no others: one with a lower number may be committed after one with a higher."""
    chunks = tables.archive_chunks
    for start in range(0, len(numbers), CHUNKS_AT_ONCE):
        some = numbers[start : start + CHUNKS_AT_ONCE]
        if (await connection.execute(delete(chunks).where(chunks.c.id.in_(some)))).rowcount < len(some):
            raise Overtaken


def folder_of(model: str) -> str:
    """The name of a model as that of a folder, whatever characters it has."""
    name = quote(model, safe="")
    if len(name) <= LONGEST_FOLDER and not name.startswith("."):
        return name
    return f"{name[:LONGEST_FOLDER].replace('.', '%2E')}-{sha256(model.encode()).hexdigest()[:16]}"
