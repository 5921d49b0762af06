"""Reads the archive's Parquet files as one table, whatever each of them holds."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from retrain.base import Reason, RetrainError
from retrain.classes import class_texts
from retrain.storage.base import Storage, StorageError

FEATURE: Final = "feature:"
STREAM_SUFFIX: Final = ".arrows"
"""Of the newest rows, which the daemon hands over as Arrow streams: they are not in Parquet yet."""
INVALID: Final = "\0invalid"
"""Stands in the archive's text columns for a value of the wrong type; among numbers it is an infinity."""


def read(
    files: Sequence[str],
    storage: Storage | None = None,
    *,
    first_row: int | None = None,
    until_row: int | None = None,
) -> pa.Table:
    """The rows of ``files`` one under the other, those with ``first_row <= row < until_row`` where given.

    With ``storage``, names that are no absolute paths are its files.

    A column that some file lacks is null there. One that is numbers in one file and text in another becomes what most
    of its values are if it is a feature (a type that changed for a while must not turn a number into a category), text
    otherwise. Raises RetrainError for a file that cannot be read.
    """
    wanted: list[tuple[str, str, int]] = []
    if first_row is not None:
        wanted.append(("row", ">=", first_row))
    if until_row is not None:
        wanted.append(("row", "<", until_row))
    tables = []
    for name in files:
        try:
            tables.append(_file(name, storage, wanted))
        except MemoryError:
            raise
        except StorageError as error:
            hint = "driftd doctor tries the archive; then retrain again"
            raise RetrainError(Reason.BAD_ARCHIVE, str(error), hint) from error
        except (OSError, pa.ArrowException) as error:
            message = f"{Path(name).name}: {error}"
            hint = "a file of the archive is missing or damaged: retrain from rows that are held in other files"
            raise RetrainError(Reason.BAD_ARCHIVE, message, hint) from error
    types = _types(tables)
    return pa.concat_tables([_as(table, types) for table in tables]) if tables else pa.table({})


def _file(name: str, storage: Storage | None, wanted: list[tuple[str, str, int]]) -> pa.Table:
    if storage is not None and not Path(name).is_absolute():
        with storage.open(name) as file:
            return pq.read_table(file, filters=wanted or None)
    if not name.endswith(STREAM_SUFFIX):
        # partitioning: folders of the path must not be taken for columns
        return pq.read_table(name, filters=wanted or None, partitioning=None)
    with pa.memory_map(name) as source:
        table = pa.ipc.open_stream(source).read_all()
    return table.filter(pq.filters_to_expression(wanted)) if wanted else table


def column(table: pa.Table, name: str, kind: pa.DataType) -> pa.Array:
    """A column as Arrow text or float64; all null where ``table`` has none."""
    if name not in table.schema.names:
        return pa.nulls(table.num_rows, kind)
    return converted(table.column(name).combine_chunks(), kind)


def converted(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """``values`` as text, or as float64 with null for what is no number; invalid values become null."""
    if pa.types.is_string(kind):
        texts = class_texts(values.to_pylist())
        return pa.array([None if text == INVALID else text for text in texts], kind)
    if pa.types.is_integer(kind):
        return values.cast(kind)
    plain = values.to_pylist() if pa.types.is_string(values.type) else values.to_numpy(zero_copy_only=False)
    return pa.array(numbers(plain), pa.float64(), from_pandas=True)


def numbers(values: Sequence[Any] | NDArray[Any]) -> NDArray[np.float64]:
    """``values`` as float64; NaN for what is no number, infinities included."""
    try:
        result = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        result = np.array([_number(value) for value in values], dtype=np.float64)
    result[~np.isfinite(result)] = np.nan
    return result


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return np.nan


def _types(tables: Sequence[pa.Table]) -> dict[str, pa.DataType]:

    seen: dict[str, Counter[pa.DataType]] = {}
    for table in tables:
        for field in table.schema:
            values = table.column(field.name)
            seen.setdefault(field.name, Counter())[field.type] += len(values) - values.null_count
    return {name: _one_type(name, found) for name, found in seen.items()}


def _one_type(name: str, found: Counter[pa.DataType]) -> pa.DataType:

    filled = Counter({kind: rows for kind, rows in found.items() if not pa.types.is_null(kind)})
    if len(filled) < 2:  # noqa: PLR2004 (nothing to reconcile)
        return next(iter(filled), pa.string())
    text = sum(rows for kind, rows in filled.items() if pa.types.is_string(kind) or pa.types.is_large_string(kind))
    if text > filled.total() - text or (text and not name.startswith(FEATURE)):
        return pa.string()
    return pa.float64()


def _as(table: pa.Table, types: dict[str, pa.DataType]) -> pa.Table:

    columns = {}
    for name, kind in types.items():
        has_it = name in table.schema.names and table.schema.field(name).type == kind
        columns[name] = table.column(name) if has_it else column(table, name, kind)
    return pa.table(columns)
