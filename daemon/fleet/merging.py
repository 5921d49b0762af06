"""Pieces of several partitions -> the rows of one model, in an order that does not depend on who read them, or when.

Events follow each other as they arrived. Of those that arrived in the same moment, as all events of one record do, that
partition's go first whose events are earlier by their own time, while each partition stays in its own order.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.events.columns import Column, Untyped, untyped
from daemon.events.rows import FeatureRows, Labels, Predictions, Rows
from daemon.fleet.parcels import Piece
from daemon.transports.base import TopicPartition
from detectors.columns import INVALID


def merge(pieces: Sequence[tuple[TopicPartition, Piece]]) -> Rows:
    """One batch of pieces; those of one partition are given in their order."""
    parts: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    for _, piece in pieces:
        for some, part in zip(parts, piece.rows.parts(), strict=True):
            if part is not None:
                some.append(part)
    places = _places(pieces)
    predictions, labels, features = parts
    return Rows(
        _predictions(predictions, places[0]) if predictions else None,
        _labels(labels, places[1]) if labels else None,
        _features(features, places[2]) if features else None,
        max(piece.rows.last_ts for _, piece in pieces),
    )


def _places(pieces: Sequence[tuple[TopicPartition, Piece]]) -> list[NDArray[np.int64]]:
    """Of the predictions, labels and features of all pieces, one after the other: their places in the merge."""
    numbers = {target: number for number, target in enumerate(sorted({target for target, _ in pieces}))}
    begun = dict.fromkeys(numbers, 0)
    kinds, partitions, sequence, arrivals, times = ([] for _ in range(5))
    for target, piece in pieces:
        for number, (part, when) in enumerate(zip(piece.rows.parts(), piece.arrivals, strict=True)):
            if part is not None:
                kinds.append(np.full(len(when), number))
                partitions.append(np.full(len(when), numbers[target]))
                sequence.append(part.order + begun[target])
                arrivals.append(when)
                times.append(part.ts)
        begun[target] += max(int(part.order[-1]) for part in piece.rows.parts() if part is not None) + 1
    kind, partition, place, arrival, ts = map(np.concatenate, (kinds, partitions, sequence, arrivals, times))
    order = np.lexsort((place, partition, _never_falling(ts, arrival, partition, place), arrival))
    merged = np.empty(len(order), dtype=np.int64)
    merged[order] = np.arange(len(order))
    return [merged[kind == one] for one in range(3)]


def _never_falling(
    ts: NDArray[np.float64],
    arrival: NDArray[np.float64],
    partition: NDArray[np.int64],
    place: NDArray[np.int64],
) -> NDArray[np.int64]:
    """The rank of each event's time, but of no less than those before it in its partition that arrived with it."""
    in_order = np.lexsort((place, partition))
    _, rank = np.unique(ts, return_inverse=True)
    new_group = np.ones(len(ts), dtype=bool)
    new_group[1:] = (np.diff(arrival[in_order]) != 0) | (np.diff(partition[in_order]) != 0)
    above = np.cumsum(new_group) * (len(ts) + 1)  # so that no group's ranks reach into the next
    never_falling = np.empty(len(ts), dtype=np.int64)
    never_falling[in_order] = np.maximum.accumulate(rank[in_order] + above) - above
    return never_falling


def _predictions(parts: Sequence[Predictions], places: NDArray[np.int64]) -> Predictions:
    by_place = np.argsort(places)
    counts = [len(one) for one in parts]
    carrying = [np.arange(len(one)) if one.with_features is None else one.with_features for one in parts]
    columns, with_features = _carried(
        [one.features for one in parts], [len(one) for one in carrying], _offset(carrying, counts), places, by_place
    )
    classes: Any = None
    if any(one.score_classes is not None for one in parts):
        classes = _in_place([one.score_classes or [None] * len(one) for one in parts], by_place)
    return Predictions(
        places[by_place],
        _in_place([one.ids for one in parts], by_place),
        np.concatenate([one.ts for one in parts])[by_place],
        _in_place([one.versions for one in parts], by_place),
        _in_place([one.segments for one in parts], by_place),
        _in_place([one.values for one in parts], by_place),
        np.concatenate([one.scores for one in parts])[by_place],
        classes,
        columns,
        with_features,
    )


def _labels(parts: Sequence[Labels], places: NDArray[np.int64]) -> Labels:
    by_place = np.argsort(places)
    ids, values = (_in_place(some, by_place) for some in ([one.ids for one in parts], [one.values for one in parts]))
    return Labels(places[by_place], ids, np.concatenate([one.ts for one in parts])[by_place], values)


def _features(parts: Sequence[FeatureRows], places: NDArray[np.int64]) -> FeatureRows:
    by_place = np.argsort(places)
    counts = [len(one.ids) for one in parts]
    columns = _stacked([one.features for one in parts], counts)
    return FeatureRows(
        places[by_place],
        _in_place([one.ids for one in parts], by_place),
        np.concatenate([one.ts for one in parts])[by_place],
        {name: column[by_place] for name, column in columns.items()},
    )


def _offset(carrying: Sequence[NDArray[np.int64]], counts: Sequence[int]) -> NDArray[np.int64]:
    starts = np.cumsum([0, *counts[:-1]])
    return np.concatenate([one + start for one, start in zip(carrying, starts, strict=True)])


def _carried(
    columns: Sequence[dict[str, Column]],
    counts: Sequence[int],
    carrying: NDArray[np.int64],
    places: NDArray[np.int64],
    by_place: NDArray[np.int64],
) -> tuple[dict[str, Column], NDArray[np.int64] | None]:
    """The feature columns of predictions in their new order, and which predictions they are of; None for all."""
    sort = np.argsort(places[carrying])
    stacked = {name: column[sort] for name, column in _stacked(columns, counts).items()}
    if len(carrying) == len(places):
        return stacked, None
    rank = np.empty(len(places), dtype=np.int64)
    rank[by_place] = np.arange(len(places))
    return stacked, rank[carrying[sort]]


def _stacked(parts: Sequence[dict[str, Column]], counts: Sequence[int]) -> dict[str, Column]:
    """Columns one under the other; those of different types, or missing in a part, as values that came as they came."""
    names = dict.fromkeys(chain.from_iterable(part for part, count in zip(parts, counts, strict=True) if count))
    return {name: _stack([part.get(name) for part in parts], counts) for name in names}


def _stack(some: Sequence[Column | None], counts: Sequence[int]) -> Column:
    filled = [column for column, count in zip(some, counts, strict=True) if count]
    there = [column for column in filled if column is not None and not isinstance(column, Untyped)]
    if len(there) == len(filled) and len({column.dtype for column in there}) == 1:
        return np.concatenate(there)
    values: list[Any] = []
    for column, count in zip(some, counts, strict=True):
        values += [None] * count if column is None else _as_they_came(column)
    return untyped(values)


def _as_they_came(column: Column) -> list[Any]:
    values: list[Any] = column.tolist()
    if isinstance(column, Untyped):
        return values
    if column.dtype == object:
        return [np.inf if value == INVALID else value for value in values]
    return [None if value != value else value for value in values]  # noqa: PLR0124 (NaN is missing)


def _in_place(parts: Sequence[Sequence[Any]], by_place: NDArray[np.int64]) -> list[Any]:
    values = list(chain.from_iterable(parts))
    return [values[place] for place in by_place.tolist()]
