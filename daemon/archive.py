"""Keeps every event in Parquet, for retraining and for questions.

Small checkpoints go into the store as Arrow chunks, in the transaction that moves the offset; once a model has enough
of them they are written to one file, which a second transaction names in their place. A file that no row names is an
orphan of a crash and is swept at the next start.
"""

import asyncio
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

import numpy as np
from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon import tasks
from daemon.monitor import FEATURE_PREFIX, Findings
from daemon.stores import tables
from daemon.stores.engine import Store
from daemon.tasks import Task
from detectors.columns import number_as_text

if TYPE_CHECKING:
    import pyarrow as pa

DEFAULT_FILE_ROWS = 50_000


class Archive:
    """The archive of all models, below ``folder``."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder = folder
        self._store = store

    async def write(
        self, connection: AsyncConnection, model: str, task: Task | None, findings: Findings, received: float
    ) -> None:
        """Put what ``findings`` holds into the checkpoint."""
        if not (findings.predictions or findings.labels or findings.features):
            return
        blocks = await asyncio.to_thread(_blocks, task, findings, received)
        for kind, table, first_row, last_row, last_ts in blocks:
            await connection.execute(
                insert(tables.archive_chunks).values(
                    model=model,
                    kind=kind,
                    rows=table.num_rows,
                    first_row=first_row,
                    last_row=last_row,
                    last_ts=last_ts,
                    data=_ipc(table),
                )
            )

    async def compact(self, file_rows: int = DEFAULT_FILE_ROWS) -> int:
        """Turn chunks into files where a model has ``file_rows`` rows of them. Returns the number of files."""
        chunks = tables.archive_chunks.c
        async with self._store.read() as connection:
            full = (
                await connection.execute(
                    select(chunks.model, chunks.kind)
                    .group_by(chunks.model, chunks.kind)
                    .having(func.sum(chunks.rows) >= file_rows)
                )
            ).all()
        for model, kind in full:
            await self._compact_one(model, kind)
        return len(full)

    async def _compact_one(self, model: str, kind: str) -> None:
        chunks = tables.archive_chunks.c
        async with self._store.read() as connection:
            rows = (
                await connection.execute(
                    select(tables.archive_chunks).where(chunks.model == model, chunks.kind == kind).order_by(chunks.id)
                )
            ).all()
        path = f"{quote(model, safe='')}/{kind}-{rows[0].id:012d}-{uuid4().hex[:8]}.parquet"
        size = await asyncio.to_thread(_write_parquet, self.folder / path, [row.data for row in rows])
        known = [row.first_row for row in rows if row.first_row is not None]
        async with self._store.begin() as connection:
            await connection.execute(
                insert(tables.archive_files).values(
                    path=path,
                    model=model,
                    kind=kind,
                    rows=sum(row.rows for row in rows),
                    first_row=min(known, default=None),
                    last_row=max((row.last_row for row in rows if row.last_row is not None), default=None),
                    last_ts=max(row.last_ts for row in rows),
                    bytes=size,
                )
            )
            await connection.execute(
                delete(tables.archive_chunks).where(
                    chunks.model == model, chunks.kind == kind, chunks.id <= rows[-1].id
                )
            )

    async def sweep(self) -> int:
        """Remove files that no row of the store names. Returns how many."""
        async with self._store.read() as connection:
            named = set((await connection.execute(select(tables.archive_files.c.path))).scalars())
        orphans = [
            path for path in self.folder.glob("*/*.parquet*") if path.relative_to(self.folder).as_posix() not in named
        ]
        for path in orphans:
            path.unlink(missing_ok=True)
        return len(orphans)

    async def expire(self, model: str, before_ts: float) -> int:
        """Forget files whose newest event is older than ``before_ts``. Returns how many."""
        files = tables.archive_files.c
        async with self._store.begin() as connection:
            old = (
                (await connection.execute(select(files.path).where(files.model == model, files.last_ts < before_ts)))
                .scalars()
                .all()
            )
            await connection.execute(delete(tables.archive_files).where(files.path.in_(old)))
        for path in old:
            (self.folder / path).unlink(missing_ok=True)
        return len(old)


Block = tuple[str, "pa.Table", int | None, int | None, float]


def _blocks(task: Task | None, findings: Findings, received: float) -> list[Block]:
    import pyarrow as pa

    blocks: list[Block] = []
    events = [
        pa.table(
            {
                "row": rows,
                "id": pa.array(predictions.ids, pa.string()),
                "ts": predictions.ts,
                "version": pa.array(predictions.versions, pa.string()),
                "segment": _json(predictions.segments),
                "prediction": _values(predictions.values, task),
                "score": pa.array(predictions.scores, pa.float64(), from_pandas=True),
                "score_classes": _json(predictions.score_classes or [None] * len(rows)),
                **_features(predictions.features, predictions.with_features, len(rows)),
            }
        )
        for predictions, rows in findings.predictions
        if len(rows)
    ]
    if events:
        first = next(rows for _, rows in findings.predictions if len(rows))
        last = [rows for _, rows in findings.predictions if len(rows)][-1]
        latest = max(float(predictions.ts.max()) for predictions, rows in findings.predictions if len(rows))
        blocks.append(("events", _concatenate(events), int(first[0]), int(last[-1]), latest))
    if findings.labels:
        labels = [
            pa.table(
                {
                    "id": pa.array(one.ids, pa.string()),
                    "ts": one.ts,
                    "received": np.full(len(one.ids), received),
                    "label": _values(one.values, task),
                    "row": rows,
                }
            )
            for one, rows in findings.labels
        ]
        latest = max(float(one.ts.max()) for one, _ in findings.labels)
        blocks.append(("labels", _concatenate(labels), None, None, latest))
    apart = [one for one in findings.features if one.ids]
    if apart:
        rows_apart = [
            pa.table(
                {
                    "id": pa.array(one.ids, pa.string()),
                    "ts": one.ts,
                    **_features(one.features, None, len(one.ids)),
                }
            )
            for one in apart
        ]
        latest = max(float(one.ts.max()) for one in apart)
        blocks.append(("features", _concatenate(rows_apart), None, None, latest))
    return blocks


def _values(values: Sequence[Any], task: Task | None) -> "pa.Array":
    import pyarrow as pa

    column = tasks.column(values, task)
    if column.dtype == object:
        return pa.array(column, pa.string())
    return pa.array(np.where(np.isfinite(column), column, np.nan), pa.float64(), from_pandas=True)


def _json(values: Iterable[Any]) -> "pa.Array":
    import pyarrow as pa

    return pa.array(
        [None if value is None else json.dumps(value, separators=(",", ":")) for value in values], pa.string()
    )


def _features(features: dict[str, Any], places: Any, count: int) -> dict[str, Any]:
    import pyarrow as pa

    columns = {}
    for name, column in features.items():
        values = column
        if places is not None:
            values = np.full(count, None if column.dtype == object else np.nan, dtype=column.dtype)
            values[places] = column
        if values.dtype == object:
            columns[FEATURE_PREFIX + name] = pa.array(values, pa.string())
        else:
            columns[FEATURE_PREFIX + name] = pa.array(values, pa.float64(), from_pandas=True)
    return columns


def _concatenate(parts: list["pa.Table"]) -> "pa.Table":
    import pyarrow as pa

    if len(parts) == 1:
        return parts[0]
    # a column may be numbers in one part and text in another: text holds both
    types: dict[str, set[pa.DataType]] = {}
    for part in parts:
        for field in part.schema:
            types.setdefault(field.name, set()).add(field.type)
    mixed = {name for name, some in types.items() if len(some) > 1}
    if mixed:
        parts = [_as_text(part, mixed) for part in parts]
    return pa.concat_tables(parts, promote_options="default")


def _as_text(part: "pa.Table", names: set[str]) -> "pa.Table":
    import pyarrow as pa

    for place, field in enumerate(part.schema):
        if field.name in names and field.type != pa.string():
            values = part.column(place).to_pylist()
            texts = [None if value is None else number_as_text(value) for value in values]
            part = part.set_column(place, field.name, pa.array(texts, pa.string()))
    return part


def _ipc(table: "pa.Table") -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _write_parquet(path: Path, chunks: list[bytes]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    table = _concatenate([pa.ipc.open_stream(chunk).read_all() for chunk in chunks])
    temporary = path.with_suffix(".parquet.part")
    pq.write_table(table, temporary, compression="zstd")
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.rename(path)
    return path.stat().st_size
