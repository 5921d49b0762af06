"""Keeps every event in Parquet, for retraining and for questions.

Small checkpoints go into the store as Arrow chunks, in the transaction that moves the offset; once a model has enough
of them they are written to one file, which a second transaction names in their place. A checkpoint that is large by
itself becomes a file at once, written before the transaction that names it. A file that no row names is an orphan of a
crash and is swept at the next start.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.checkpoint import MonitorSnapshot
from daemon.stores import tables
from daemon.stores.engine import Store

DEFAULT_FILE_ROWS: Final = 50_000
LARGE_CHECKPOINT_ROWS: Final = 20_000
"""So many rows of one kind in one checkpoint become a file at once: to write them twice would cost more."""
LONGEST_FOLDER: Final = 100
"""Characters of a model's name, as part of a path; file systems take about twice as many."""


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one model and kind, ready to be named by the store: a chunk's bytes, or a file."""

    table: Any
    row: dict[str, Any]


class Archive:
    """The archive of all models, below ``folder``. Files hold ``file_rows`` rows or more."""

    def __init__(self, folder: Path, store: Store, file_rows: int = DEFAULT_FILE_ROWS) -> None:
        self.folder = folder
        self.file_rows = file_rows
        self._store = store

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
        return {"path": path, "bytes": write_parquet(self.folder / path, parts)}

    async def write(self, connection: AsyncConnection, blocks: Sequence[Block]) -> None:
        """Put blocks into the checkpoint."""
        for table in (tables.archive_chunks, tables.archive_files):
            rows = [block.row for block in blocks if block.table is table]
            if rows:
                await connection.execute(insert(table), rows)

    async def compact(self, file_rows: int | None = None) -> int:
        """Turn chunks into files where a model has ``file_rows`` rows of them. Returns the number of files."""
        chunks = tables.archive_chunks.c
        async with self._store.read() as connection:
            full = (
                await connection.execute(
                    select(chunks.model, chunks.kind)
                    .group_by(chunks.model, chunks.kind)
                    .having(func.sum(chunks.rows) >= (self.file_rows if file_rows is None else file_rows))
                )
            ).all()
        for model, kind in full:
            await self._compact_one(model, kind)
        return len(full)

    async def _compact_one(self, model: str, kind: str) -> None:
        from daemon.archive_tables import from_ipc

        chunks = tables.archive_chunks.c
        which = (chunks.model == model) & (chunks.kind == kind)
        async with self._store.read() as connection:
            rows = (await connection.execute(select(tables.archive_chunks).where(which).order_by(chunks.id))).all()
        known = [row.first_row for row in rows if row.first_row is not None]
        file = await asyncio.to_thread(lambda: self._file(model, kind, [from_ipc(row.data) for row in rows]))
        async with self._store.begin() as connection:
            await connection.execute(
                insert(tables.archive_files).values(
                    model=model,
                    kind=kind,
                    rows=sum(row.rows for row in rows),
                    first_row=min(known, default=None),
                    last_row=max((row.last_row for row in rows if row.last_row is not None), default=None),
                    last_ts=max(row.last_ts for row in rows),
                    **file,
                )
            )
            await connection.execute(delete(tables.archive_chunks).where(which, chunks.id <= rows[-1].id))

    async def sweep(self) -> int:
        """Remove files that no row of the store names; before the first checkpoint. Returns how many."""
        async with self._store.read() as connection:
            named = set((await connection.execute(select(tables.archive_files.c.path))).scalars())
        return await asyncio.to_thread(self._sweep, named)

    def _sweep(self, named: set[str]) -> int:
        files = self.folder.glob("*/*.parquet*")
        orphans = [path for path in files if path.relative_to(self.folder).as_posix() not in named]
        for path in orphans:
            path.unlink(missing_ok=True)
        return len(orphans)

    async def expire(self, model: str, before_ts: float) -> int:
        """Forget files whose newest event is older than ``before_ts``. Returns how many."""
        files = tables.archive_files.c
        old_ones = (files.model == model) & (files.last_ts < before_ts)
        async with self._store.begin() as connection:
            old = (await connection.execute(select(files.path).where(old_ones))).scalars().all()
            await connection.execute(delete(tables.archive_files).where(files.path.in_(old)))
        for path in old:
            (self.folder / path).unlink(missing_ok=True)
        return len(old)


def folder_of(model: str) -> str:
    """The name of a model as that of a folder, whatever characters it has."""
    name = quote(model, safe="")
    if len(name) <= LONGEST_FOLDER and not name.startswith("."):
        return name
    return f"{name[:LONGEST_FOLDER].replace('.', '%2E')}-{sha256(model.encode()).hexdigest()[:16]}"
