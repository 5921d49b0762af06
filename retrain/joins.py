"""Predictions, labels and features of the archive, joined as they were known at the cut-off."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retrain.archive import FEATURE, column, read
from retrain.base import Reason, RetrainError
from retrain.classes import all_whole
from retrain.job import Job, Task
from retrain.storage.base import Storage

TEXT_COLUMNS: Final = ("id", "version", "segment", "score_classes")
NUMBER_COLUMNS: Final = ("ts", "score")


def labelled_rows(job: Job, first_row: int, storage: Storage | None = None) -> pa.Table:
    """The labelled predictions from ``first_row`` on, by row: event columns, ``label`` and ``feature:NAME``.

    Of an id's labels the latest that was received by the cut-off wins, of its predictions and of its features that
    came apart the first. Classes are text in ``prediction``, and in ``label`` too unless all of them are whole
    numbers. Features are float64 or text, null where missing or invalid. Raises RetrainError.
    """
    events = read(job.dataset.files, storage, first_row=first_row, until_row=job.until_row)
    if not {"row", "id"} <= set(events.schema.names):
        raise RetrainError(
            Reason.TOO_FEW_ROWS, "the archive holds no predictions of these rows", "name the archive's files in the job"
        )
    events = _first_of_each_id(_outside(events, job.dataset.quarantine).sort_by("row"))
    labels = known_labels(read(job.dataset.labels, storage), job.cutoff_ts)
    ids = events.column("id").to_pylist()
    found = [name is not None and labels.get(name) is not None for name in ids]
    events = events.filter(pa.array(found, pa.bool_()))
    target = pa.array([labels[name] for name, known in zip(ids, found, strict=True) if known])
    kind = pa.float64() if job.task == "regression" else pa.string()
    columns = {"row": column(events, "row", pa.int64())}
    columns |= {name: column(events, name, pa.string()) for name in TEXT_COLUMNS}
    columns |= {name: column(events, name, pa.float64()) for name in NUMBER_COLUMNS}
    columns["prediction"] = column(events, "prediction", kind)
    columns["label"] = _label(column(pa.table({"label": target}), "label", kind), job.task)
    columns |= _features(events, read(job.dataset.features, storage), job)
    table = pa.table(columns)
    return table.filter(table.column("label").is_valid())


def known_labels(labels: pa.Table, cutoff_ts: float) -> dict[str, Any]:
    """The latest label of each id among those received by ``cutoff_ts``; of two received together the later row."""
    if not labels.num_rows:
        return {}
    received = labels.column("received").to_numpy()
    order = np.argsort(received, kind="stable")
    latest = labels.take(order[received[order] <= cutoff_ts])
    return dict(zip(latest.column("id").to_pylist(), latest.column("label").to_pylist(), strict=True))


def _label(values: pa.Array, task: Task) -> pa.Array:

    if task != "regression" and all_whole(name for name in values.unique().to_pylist() if name is not None):
        return values.cast(pa.int64())
    return values


def _outside(events: pa.Table, quarantine: Sequence[tuple[int, int]]) -> pa.Table:

    rows = events.column("row").to_numpy()
    keep = np.ones(len(rows), dtype=np.bool_)
    for first, end in quarantine:
        keep &= (rows < first) | (rows >= end)
    return events.filter(pa.array(keep))


def _first_of_each_id(events: pa.Table) -> pa.Table:

    seen: set[str | None] = set()
    keep = []
    for name in events.column("id").to_pylist():
        keep.append(name is None or name not in seen)
        seen.add(name)
    return events.filter(pa.array(keep, pa.bool_()))


def _features(events: pa.Table, apart: pa.Table, job: Job) -> dict[str, pa.Array]:
    """The feature columns of ``events``; a row without any takes those that came apart for its id."""
    names = [name for name in dict.fromkeys((*events.schema.names, *apart.schema.names)) if name.startswith(FEATURE)]
    names = [name for name in names if name.removeprefix(FEATURE) not in job.dataset.exclude]
    source = _rows_apart(events, apart, job.cutoff_ts)
    columns = {}
    for name in names:
        kind = _kind(name, events, apart)
        columns[name] = column(events, name, kind)
        if source is not None:
            theirs = column(apart, name, kind).take(source)
            columns[name] = pc.if_else(source.is_valid(), theirs, columns[name])
    return columns


def _kind(name: str, *tables: pa.Table) -> pa.DataType:
    """The type of a feature, from the first table that has a value of it."""
    for table in tables:
        if name in table.schema.names and table.column(name).null_count < table.num_rows:
            return pa.string() if pa.types.is_string(table.schema.field(name).type) else pa.float64()
    return pa.float64()


def _rows_apart(events: pa.Table, apart: pa.Table, cutoff_ts: float) -> pa.Array | None:
    """For each event without features the row of ``apart`` that holds them; None where that is so for none."""
    if not apart.num_rows or not events.num_rows:
        return None
    place: dict[str, int] = {}
    for index, (name, ts) in enumerate(
        zip(apart.column("id").to_pylist(), apart.column("ts").to_pylist(), strict=True)
    ):
        if ts is None or ts <= cutoff_ts:
            place.setdefault(name, index)
    came_with = np.zeros(events.num_rows, dtype=np.bool_)
    for name in events.schema.names:
        if name.startswith(FEATURE):
            came_with |= events.column(name).is_valid().to_numpy()
    ids = events.column("id").to_pylist()
    rows = [None if has else place.get(name) for name, has in zip(ids, came_with, strict=True)]
    return pa.array(rows, pa.int64()) if any(row is not None for row in rows) else None
