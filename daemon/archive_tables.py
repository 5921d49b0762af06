"""What a checkpoint has found of a model, as Arrow tables, and these as bytes. To be imported where it is needed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from daemon.events.columns import Column
from daemon.events.rows import FeatureRows, Labels, Predictions
from daemon.monitoring import tasks
from daemon.monitoring.findings import Findings
from daemon.monitoring.schema import FEATURE_PREFIX
from daemon.monitoring.tasks import Task
from detectors.columns import number_as_text
from retrain.storage.base import Storage


def tables_of(
    task: Task | None, findings: Findings, received: float, horizon: int
) -> Iterator[tuple[str, pa.Table, dict[str, Any]]]:
    """Kind, table, and what the store is to know of it, for each kind of which there are rows.

    ``horizon`` is the first row for which a label that has come by now is not kept any more.
    """
    predictions = [(one, rows) for one, rows in findings.predictions if len(rows)]
    if predictions:
        latest = max(float(one.ts.max()) for one, _ in predictions)
        known = {"first_row": int(predictions[0][1][0]), "last_row": int(predictions[-1][1][-1]), "last_ts": latest}
        yield "events", _events(predictions, task), known
    if findings.labels:
        latest = max(float(one.ts.max()) for one, _ in findings.labels)
        yield "labels", _labels(findings.labels, task, received), _span(findings.labels, horizon) | {"last_ts": latest}
    apart = [one for one in findings.features if len(one.ids)]
    if apart:
        unknown = {"first_row": None, "last_row": None}
        yield "features", _apart(apart), unknown | {"last_ts": max(float(one.ts.max()) for one in apart)}


def _span(parts: Sequence[tuple[Labels, Sequence[int]]], horizon: int) -> dict[str, int]:
    """From the first to the last row that the labels may be of: those that wait may be of any up to the horizon."""
    rows = np.array(list(chain.from_iterable(rows for _, rows in parts)), dtype=np.int64)
    known = rows[rows >= 0]
    first = int(known.min()) if len(known) else horizon
    return {"first_row": first, "last_row": int(known.max()) if len(known) == len(rows) else horizon}


def _events(parts: Sequence[tuple[Predictions, NDArray[np.int64]]], task: Task | None) -> pa.Table:
    runs = groupby(parts, lambda part: part[0].table is not None)
    return _concatenated([(_from_arrow if ready else _from_lists)(list(run), task) for ready, run in runs])


def _from_arrow(parts: Sequence[tuple[Predictions, NDArray[np.int64]]], task: Task | None) -> pa.Table:
    rows = np.concatenate([rows for _, rows in parts])
    table = pa.concat_tables([_typed(one.table, task) for one, _ in parts], promote_options="default")
    nothing = pa.nulls(len(rows), pa.string())
    columns = {name: table[name] for name in table.column_names}
    carried = any(any(one.segments) for one, _ in parts)
    segments = _json(list(chain.from_iterable(one.segments for one, _ in parts))) if carried else nothing
    return pa.table({"row": rows, "segment": segments, "score_classes": nothing} | columns)


def _typed(table: pa.Table, task: Task | None) -> pa.Table:
    """Predictions as ``_values`` would have them."""
    values = table["prediction"]
    if task is Task.REGRESSION or (task is None and values.type != pa.string()):
        values = values.cast(pa.float64())
    elif values.type == pa.float64():
        values = _values(values.to_pylist(), task)
    elif values.type != pa.string():
        values = values.cast(pa.int64()).cast(pa.string())
    return table.set_column(table.column_names.index("prediction"), "prediction", values)


def _from_lists(parts: Sequence[tuple[Predictions, NDArray[np.int64]]], task: Task | None) -> pa.Table:
    some = [one for one, _ in parts]
    rows = np.concatenate([rows for _, rows in parts])
    classes = chain.from_iterable(one.score_classes or [None] * len(one) for one in some)
    return pa.table(
        {
            "row": rows,
            "id": _texts(chain.from_iterable(one.ids for one in some)),
            "ts": np.concatenate([one.ts for one in some]),
            "version": _texts(chain.from_iterable(one.versions for one in some)),
            "segment": _json(list(chain.from_iterable(one.segments for one in some))),
            "prediction": _values([value for one in some for value in one.values], task),
            "score": pa.array(np.concatenate([one.scores for one in some]), from_pandas=True),
            "score_classes": _json(list(classes)),
            **_features([(len(one), one.features, one.with_features) for one in some]),
        }
    )


def _labels(parts: Sequence[tuple[Labels, Sequence[int]]], task: Task | None, received: float) -> pa.Table:
    some = [one for one, _ in parts]
    rows = np.array(list(chain.from_iterable(rows for _, rows in parts)), dtype=np.int64)
    return pa.table(
        {
            "id": _texts(chain.from_iterable(one.ids for one in some)),
            "ts": np.concatenate([one.ts for one in some]),
            "received": np.full(len(rows), received),
            "label": _values([value for one in some for value in one.values], task),
            "row": rows,
        }
    )


def _apart(some: Sequence[FeatureRows]) -> pa.Table:
    return pa.table(
        {
            "id": _texts(chain.from_iterable(one.ids for one in some)),
            "ts": np.concatenate([one.ts for one in some]),
            **_features([(len(one.ids), one.features, None) for one in some]),
        }
    )


def _texts(values: Any) -> pa.Array:
    return pa.array(list(values), pa.string())


def _values(values: Sequence[Any], task: Task | None) -> pa.Array:
    column = tasks.column(values, task)
    if column.dtype == object:
        return pa.array(column, pa.string())
    return pa.array(np.where(np.isfinite(column), column, np.nan), pa.float64(), from_pandas=True)


def _json(values: list[Any]) -> pa.Array:
    if values.count(None) == len(values):
        return pa.nulls(len(values), pa.string())
    # rows that are alike may share one object, which is written once
    alike = {id(value): value for value in values}
    texts = {key: None if value is None else json.dumps(value, separators=(",", ":")) for key, value in alike.items()}
    return pa.array([texts[id(value)] for value in values], pa.string())


def _features(
    parts: Sequence[tuple[int, Mapping[str, Column], NDArray[np.int64] | None]],
) -> dict[str, pa.Array]:
    """Each feature as one column; one that is numbers in one part and text in another is text."""
    columns = {}
    for name in dict.fromkeys(chain.from_iterable(features for _, features, _ in parts)):
        as_text = any(name in features and features[name].dtype == object for _, features, _ in parts)
        column = np.concatenate(
            [_column(features.get(name), count, places, as_text=as_text) for count, features, places in parts]
        )
        kind = pa.string() if as_text else pa.float64()
        columns[FEATURE_PREFIX + name] = pa.array(column, kind, from_pandas=True)
    return columns


def _column(column: Column | None, count: int, places: NDArray[np.int64] | None, *, as_text: bool) -> Column:
    if column is not None and as_text and column.dtype != object:
        texts = np.empty(len(column), dtype=object)
        texts[:] = [number_as_text(value) for value in column.tolist()]
        column = texts
    if column is not None and places is None:
        return column
    whole = np.full(count, None, dtype=object) if as_text else np.full(count, np.nan)
    if column is not None:
        whole[places] = column
    return whole


def ipc(table: pa.Table) -> bytes:
    """A table as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def from_ipc(data: bytes) -> pa.Table:
    """The reverse of ``ipc``."""
    return pa.ipc.open_stream(data).read_all()


def write_parquet(storage: Storage, name: str, parts: list[pa.Table]) -> int:
    """Write tables, one after the other, to a file that is whole or not there. Returns its size in bytes."""
    table = _concatenated(parts)
    # a dictionary of numbers that hardly repeat costs half of the time and gains nothing
    texts = [field.name for field in table.schema if pa.types.is_string(field.type) and field.name != "id"]
    with storage.create(name) as sink:
        pq.write_table(table, sink, compression="zstd", compression_level=1, use_dictionary=texts)
        size: int = sink.tell()
    return size


def _concatenated(parts: list[pa.Table]) -> pa.Table:
    if len(parts) == 1:
        return parts[0]
    # a column may be numbers in one part and text in another: text holds both
    types: dict[str, set[pa.DataType]] = {}
    for part in parts:
        for field in part.schema:
            types.setdefault(field.name, set()).add(field.type)
    mixed = {name for name, some in types.items() if len(some) > 1}
    return pa.concat_tables([_as_text(part, mixed) for part in parts], promote_options="default")


def _as_text(part: pa.Table, names: set[str]) -> pa.Table:
    for place, field in enumerate(part.schema):
        if field.name in names and field.type != pa.string():
            texts = [None if value is None else number_as_text(value) for value in part.column(place).to_pylist()]
            part = part.set_column(place, field.name, pa.array(texts, pa.string()))
    return part
