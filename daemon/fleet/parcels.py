"""Events of one model and partition as bytes: decoded by one worker, judged by another.

A parcel holds *pieces*: rows as they were decoded, in the order of the log, and when each event arrived. Nothing is
lost on the way: values whose type depends on what the model has learned so far travel as they came.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.events.columns import CATEGORY, NUMBER, Column, Untyped, column_of, untyped
from daemon.events.event_rules import INT64
from daemon.events.rows import FeatureRows, Labels, Predictions, Rows

NUMBERS, TEXTS, AS_THEY_CAME = "n", "t", "u"
CODEC: Final = "lz4"
NUMERIC: Final = frozenset({int, float, type(None)})
TEXT: Final = frozenset({str, type(None)})


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows with the arrivals (epoch seconds) of predictions, labels and features: never falling along ``order``."""

    rows: Rows
    arrivals: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

    def __len__(self) -> int:
        return sum(map(len, self.arrivals))

    @property
    def first(self) -> float:
        """When the first of its events arrived."""
        return min(float(one[0]) for one in self.arrivals if len(one))

    @property
    def last(self) -> float:
        """When the last of its events arrived."""
        return max(float(one[-1]) for one in self.arrivals if len(one))

    def split(self, arrival: float) -> "tuple[Piece | None, Piece | None]":
        """What arrived before a time, and what did not."""
        if self.last < arrival:
            return self, None
        late = [
            int(part.order[np.searchsorted(when, arrival)])
            for part, when in zip(self.rows.parts(), self.arrivals, strict=True)
            if part is not None and when[-1] >= arrival
        ]
        return self._between(-np.inf, min(late)), self._between(min(late), np.inf)

    def without_first(self, events: int) -> "Piece | None":
        """The piece without so many of its events."""
        if not events:
            return self
        orders = np.sort(np.concatenate([part.order for part in self.rows.parts() if part is not None]))
        return None if events >= len(orders) else self._between(float(orders[events]), np.inf)

    def _between(self, start: float, stop: float) -> "Piece | None":
        kept = []
        for part, when in zip(self.rows.parts(), self.arrivals, strict=True):
            kept.append(when if part is None else when[(part.order >= start) & (part.order < stop)])
        piece = Piece(self.rows.between(start, stop), (kept[0], kept[1], kept[2]))
        return piece if len(piece) else None


def piece_of(rows: Rows, arrivals: NDArray[np.float64]) -> Piece:
    """Rows as a piece; ``arrivals`` are those of the whole batch, of which ``rows.order`` are places."""
    nothing = np.empty(0)
    when = [nothing if part is None else arrivals[part.order] for part in rows.parts()]
    return Piece(rows, (when[0], when[1], when[2]))


def pack(pieces: Sequence[Mapping[str, Any]]) -> bytes:
    """A parcel of pieces that ``plain`` gave."""
    import pyarrow as pa

    raw = msgspec.msgpack.encode(pieces)
    return len(raw).to_bytes(4, "big") + bytes(pa.compress(raw, codec=CODEC, asbytes=True))


def unpack(data: bytes) -> list[Piece]:
    """The pieces of a parcel."""
    import pyarrow as pa

    size = int.from_bytes(data[:4], "big")
    raw = pa.decompress(memoryview(data)[4:], decompressed_size=size, codec=CODEC, asbytes=True)
    return [_piece(one) for one in msgspec.msgpack.decode(raw)]


def plain(piece: Piece) -> dict[str, Any]:
    """A piece as values that msgpack can hold. A column without any value is left out, as if it had not been sent."""
    rows = piece.rows
    predictions, labels, features = rows.parts()
    return {
        "last_ts": rows.last_ts,
        "arrivals": [one.tobytes() for one in piece.arrivals],
        "predictions": None if predictions is None else _plain_predictions(predictions),
        "labels": None if labels is None else {**_common(labels), "values": list(labels.values)},
        "features": None if features is None else {**_common(features), "columns": _plain_columns(features.features)},
    }


def kinds_of(rows: Rows) -> dict[str, str]:
    """Feature -> the type that its values in these rows have, where all have one."""
    found = {}
    for part in (rows.predictions, rows.features):
        for name, column in {} if part is None else part.features.items():
            plain_column = _plain_column(column)
            if plain_column is not None and plain_column[0] != AS_THEY_CAME:
                found[name] = NUMBER if plain_column[0] == NUMBERS else CATEGORY
    return found


def _common(part: Predictions | Labels | FeatureRows) -> dict[str, Any]:
    # differences, because they are mostly 1, which takes next to no room
    order = np.diff(part.order, prepend=0).astype(np.int32)
    return {"order": order.tobytes(), "ids": list(part.ids), "ts": part.ts.tobytes()}


def _plain_predictions(one: Predictions) -> dict[str, Any]:
    scored = bool(np.isfinite(one.scores).any())
    segmented = any(segment is not None for segment in one.segments)
    return {
        **_common(one),
        "versions": list(one.versions[:1]) if len(set(one.versions)) == 1 else list(one.versions),
        "segments": [_plain_segment(segment) for segment in one.segments] if segmented else None,
        "values": list(one.values),
        "scores": one.scores.tobytes() if scored else None,
        "score_classes": None if one.score_classes is None else list(one.score_classes),
        "columns": _plain_columns(one.features),
        "with_features": None if one.with_features is None else one.with_features.tobytes(),
    }


def _plain_segment(segment: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if segment is None else {name: _short(value) for name, value in segment.items()}


def _short(value: Any) -> Any:
    """Msgpack knows no integers of more than 64 bits; as a feature's value they are taken as floats anyway."""
    if type(value) is not int or value in INT64:
        return value
    try:
        return float(value)
    except OverflowError:
        return np.inf


def _plain_columns(columns: Mapping[str, Column]) -> dict[str, tuple[str, Any]]:
    found = {name: _plain_column(column) for name, column in columns.items()}
    return {name: one for name, one in found.items() if one is not None}


def _plain_column(column: Column) -> tuple[str, Any] | None:
    if column.dtype != object:
        return None if np.isnan(column).all() else (NUMBERS, column.tobytes())
    values = column.tolist()
    kinds = set(map(type, values))
    if kinds <= {type(None)}:
        return None
    if kinds <= TEXT or not isinstance(column, Untyped):
        return TEXTS, values
    if kinds <= NUMERIC:
        # whatever type the column is to have, a float says as much as the number that was sent
        return NUMBERS, column_of(values, NUMBER).tobytes()
    return AS_THEY_CAME, [_short(value) for value in values]


def _piece(data: Mapping[str, Any]) -> Piece:
    when = [np.frombuffer(one) for one in data["arrivals"]]
    predictions, labels, features = data["predictions"], data["labels"], data["features"]
    rows = Rows(
        None if predictions is None else _predictions(predictions),
        None if labels is None else Labels(*_read(labels), labels["values"]),
        None if features is None else FeatureRows(*_read(features), _columns(features["columns"])),
        data["last_ts"],
    )
    return Piece(rows, (when[0], when[1], when[2]))


def _read(data: Mapping[str, Any]) -> tuple[NDArray[np.int64], Any, NDArray[np.float64]]:
    order = np.cumsum(np.frombuffer(data["order"], np.int32), dtype=np.int64)
    return order, data["ids"], np.frombuffer(data["ts"])


def _predictions(data: Mapping[str, Any]) -> Predictions:
    order, ids, ts = _read(data)
    count = len(ids)
    versions, segments, scores = data["versions"], data["segments"], data["scores"]
    with_features = data["with_features"]
    return Predictions(
        order,
        ids,
        ts,
        versions * count if len(versions) == 1 else versions,
        [None] * count if segments is None else segments,
        data["values"],
        np.full(count, np.nan) if scores is None else np.frombuffer(scores),
        data["score_classes"],
        _columns(data["columns"]),
        None if with_features is None else np.frombuffer(with_features, np.int64),
    )


def _columns(data: Mapping[str, tuple[str, Any]]) -> dict[str, Column]:
    return {name: _column(kind, values) for name, (kind, values) in data.items()}


def _column(kind: str, values: Any) -> Column:
    if kind == NUMBERS:
        return np.frombuffer(values)
    if kind == AS_THEY_CAME:
        return untyped(values)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column
