"""Decodes many events of one known model at once, by Arrow's JSON reader, while other threads go on.

It is strict: where anything is out of the ordinary it answers None, and the events are decoded the usual way. What it
does decode comes out as the usual way would have it. To be imported where it is needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
from numpy.typing import NDArray

from daemon.events.columns import NUMBER, Column
from daemon.events.event_rules import LATEST_TS, EventLimits, as_text, is_name
from daemon.events.rows import Labels, Predictions, Rows
from daemon.transports.base import Record

FEATURE_PREFIX: Final = "feature:"
TIME: Final = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$"
"""The one notation of times that is taken here."""
TYPES: Final = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


@dataclass(frozen=True, slots=True)
class Habits:
    """In which of the ways that are open to them a model's senders write its events, as far as it was seen."""

    times: type
    predictions: type
    labels: type
    segments: tuple[str, ...] = ()


def habits_of(rows: Rows, *, numeric_times: bool) -> Habits | None:
    """The habits that show in some rows; None where they are mixed."""
    predictions = _one_type(() if rows.predictions is None else rows.predictions.values)
    labels = _one_type(() if rows.labels is None else rows.labels.values)
    if predictions is None or labels is None:
        return None
    segments = () if rows.predictions is None else _fields_of_segments(rows.predictions.segments)
    return Habits(float if numeric_times else str, predictions, labels, segments)


def _fields_of_segments(segments: Sequence[Mapping[str, Any] | None]) -> tuple[str, ...]:
    """The names of the fields, where all have a text in every segment."""
    carried = [one for one in segments if one is not None]
    names = tuple(carried[0]) if carried else ()
    alike = all(one.keys() == carried[0].keys() and set(map(type, one.values())) <= {str} for one in carried)
    return names if alike else ()


def _one_type(values: Sequence[Any]) -> type | None:
    types = set(map(type, values)) or {int}
    if types == {int, float}:
        return float
    return next(iter(types)) if len(types) == 1 and types <= TYPES.keys() else None


class ArrowDecoder:
    """Decodes events of ``model`` whose features are those of ``schema``."""

    def __init__(self, model: str, schema: Mapping[str, str], habits: Habits, limits: EventLimits) -> None:
        self.model = model
        self.limits = limits
        self._kinds = dict(schema)
        self._numeric_times = habits.times is float
        features = pa.struct([(name, pa.float64() if kind == NUMBER else pa.string()) for name, kind in schema.items()])
        fields = [(name, pa.string()) for name in ("type", "id", "model", "version")]
        fields += [("ts", pa.float64() if self._numeric_times else pa.string()), ("features", features)]
        fields += [("prediction", TYPES[habits.predictions]), ("score", pa.float64()), ("label", TYPES[habits.labels])]
        segment = [(name, pa.string()) for name in habits.segments]
        fields += [("segment", pa.struct(segment) if segment else pa.null())]
        self._segment = habits.segments
        self._options = pj.ParseOptions(explicit_schema=pa.schema(fields), unexpected_field_behavior="error")

    def decode(self, records: Sequence[Record]) -> tuple[Rows, int] | None:
        """The rows of ``records`` and the number of their events, or None where the usual way has to look at them."""
        values = [record.value for record in records]
        document = b"\n".join(values)
        sizes = np.fromiter(map(len, values), np.int64, len(values))
        if sizes.max() > self.limits.event_bytes or not _are_whole(document, sizes):
            return None
        if not (document.isascii() or _is_text(document)):
            return None
        try:
            options = pj.ReadOptions(use_threads=False, block_size=len(document) + 1)
            table = pj.read_json(pa.BufferReader(document), options, self._options).combine_chunks()
            rows = self._rows(table, records) if self._names_are_known(table) else None
        except pa.ArrowException:
            return None
        return None if rows is None else (rows, table.num_rows)

    def _names_are_known(self, table: pa.Table) -> bool:
        models = {one or "default" for one in pc.unique(table["model"]).to_pylist()}
        versions = pc.unique(table["version"]).to_pylist()
        return models == {self.model} and all(
            one is None or is_name(as_text(one), self.limits.name_chars) for one in versions
        )

    def _rows(self, table: pa.Table, records: Sequence[Record]) -> Rows | None:
        types = set(pc.unique(table["type"]).to_pylist())
        if not types <= {"prediction", "label", None} or not self._texts_fit(table):
            return None
        ts = self._times(table["ts"], records)
        if ts is None:
            return None
        is_label = pc.fill_null(pc.equal(table["type"], "label"), fill_value=False)
        order = is_label.to_numpy()
        given, late = np.flatnonzero(~order), np.flatnonzero(order)
        predictions = labels = None
        if len(given):
            predictions = self._predictions(table.filter(pc.invert(is_label)).combine_chunks(), given, ts[given])
        if len(late):
            labels = self._labels(table.select(["id", "label"]).filter(is_label), late, ts[late])
        if (predictions is None and len(given)) or (labels is None and len(late)):
            return None
        return Rows(predictions, labels, None, float(ts.max()))

    def _texts_fit(self, table: pa.Table) -> bool:
        texts = [table[name] for name in ("id", "prediction", "label") if table[name].type == pa.string()]
        features = _features(table)
        texts += [features.field(place) for place, kind in enumerate(self._kinds.values()) if kind != NUMBER]
        texts += table["segment"].combine_chunks().flatten() if self._segment else []
        return all((pc.max(pc.utf8_length(one)).as_py() or 0) <= self.limits.text_chars for one in texts)

    def _times(self, column: pa.ChunkedArray, records: Sequence[Record]) -> NDArray[np.float64] | None:
        given = column.drop_null() if column.null_count else column
        ts: NDArray[np.float64]
        if self._numeric_times:
            ts = given.to_numpy()
        elif pc.all(pc.match_substring_regex(given, TIME), min_count=0).as_py():
            ts = given.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy() / 1e6
        else:
            return None
        if len(ts) and (ts.min() < 0.0 or ts.max() > LATEST_TS):
            return None
        if not column.null_count:
            return ts
        # those without a time get that of their record
        arrived = np.array([record.timestamp for record in records], dtype=np.float64)
        stamps = arrived.repeat([record.events for record in records])
        if len(stamps) != len(column):
            return None
        stamps[column.is_valid().to_numpy()] = ts
        return stamps

    def _predictions(self, table: pa.Table, order: NDArray[np.int64], ts: NDArray[np.float64]) -> Predictions | None:
        values, scores = table["prediction"], table["score"].to_numpy()
        if values.null_count or table["label"].null_count < len(table) or np.isinf(scores).any() or not _finite(values):
            return None
        ids = table["id"].to_pylist()
        if "" in ids:
            return None
        versions = pc.unique(table["version"]).to_pylist()
        named = versions * len(ids) if len(versions) == 1 else table["version"].to_pylist()
        features = _features(table)
        kept = {"id": table["id"], "ts": ts, **{name: table[name] for name in ("version", "prediction", "score")}}
        names = [FEATURE_PREFIX + name for name in self._kinds]
        kept |= dict(zip(names, features.flatten(), strict=True))
        carrying = None
        if features.null_count:
            carrying = np.flatnonzero(features.is_valid().to_numpy(zero_copy_only=False))
            features = features.drop_null()
        columns = self._columns(features) if len(features) else {}
        segments = self._segments(table["segment"])
        if segments is None:
            return None
        return Predictions(
            order, ids, ts, named, segments, _plain(values), scores, None, columns, carrying, pa.table(kept)
        )

    def _segments(self, column: pa.ChunkedArray) -> list[dict[str, str] | None] | None:
        """The segment of each row; None where some lack a field, because absent and null are not told apart here."""
        if column.null_count == len(column):
            return [None] * len(column)
        parts = column.combine_chunks().flatten()
        if any(one.null_count != column.null_count for one in parts):
            return None
        made: dict[tuple[str | None, ...], dict[str, str] | None] = {}
        rows = list(zip(*(_texts(one).tolist() for one in parts), strict=True))
        for row in set(rows):
            made[row] = None if None in row else dict(zip(self._segment, row, strict=True))
        return list(map(made.__getitem__, rows))

    def _labels(self, table: pa.Table, order: NDArray[np.int64], ts: NDArray[np.float64]) -> Labels | None:
        values = table["label"]
        if values.null_count or table["id"].null_count or not _finite(values):
            return None
        ids = table["id"].to_pylist()
        return None if "" in ids else Labels(order, ids, ts, _plain(values))

    def _columns(self, features: pa.StructArray) -> dict[str, Column]:
        columns = {}
        for place, (name, kind) in enumerate(self._kinds.items()):
            column = features.field(place)
            columns[name] = column.to_numpy(zero_copy_only=False) if kind == NUMBER else _texts(column)
        return columns


def _features(table: pa.Table) -> pa.StructArray:
    return table["features"].combine_chunks()


def _texts(column: pa.StringArray) -> Column:
    """Text as Python has it, one object for each that differs."""
    coded = column.dictionary_encode()
    words = np.array([*coded.dictionary.to_pylist(), None], dtype=object)
    return np.asarray(words[coded.indices.fill_null(len(words) - 1).to_numpy()])


def _plain(values: pa.ChunkedArray) -> list[Any]:
    return list(values.to_pylist() if values.type == pa.string() else values.to_numpy().tolist())


def _finite(values: pa.ChunkedArray) -> bool:
    return values.type != pa.float64() or bool(np.isfinite(values.to_numpy()).all())


def _are_whole(document: bytes, sizes: NDArray[np.int64]) -> bool:
    """Whether no document of a value can go on in the next one: values of these sizes, with a line end in between."""
    octets = np.frombuffer(document, np.uint8)
    behind = np.cumsum(sizes + 1) - 1
    first, last, before_last = octets[behind - sizes], octets[behind - 1], octets[np.maximum(behind - 2, 0)]
    closed = (last == _CLOSING) | ((last == _LINE_END) & (before_last == _CLOSING))
    return bool(sizes.min() > 1 and (first == _OPENING).all() and closed.all())


_OPENING, _CLOSING, _LINE_END = (ord(one) for one in "{}\n")


def _is_text(document: bytes) -> bool:
    try:
        document.decode()
    except UnicodeDecodeError:
        return False
    return True
