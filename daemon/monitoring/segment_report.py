"""A model's segments as they are shown: how many rows each has, how the model does by them, what moved in them."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daemon.monitoring import gaps
from daemon.monitoring.segment_fields import Field, SegmentFields
from daemon.monitoring.segments import StreamSegments
from detectors.columns import Stream
from detectors.segments import LEAST_ROWS, OTHER, SLOTS, Ranking

MOST_MOVED: Final = 3


def report(
    fields: SegmentFields, streams: Mapping[Stream, StreamSegments], positive: str | None
) -> dict[str, Any] | None:
    """What ``GET /v1/models/{model}/segments`` answers; None where the model has no segments."""
    if not fields.fields or not fields.chosen:
        return None
    compared = [_compare(streams[stream], positive) for stream in (Stream.PREDICTION, Stream.OUTCOME)]
    moved: dict[str, list[list[Any]]] = {}
    for stream in streams.values():
        for segment, signal, effect in _moved(stream):
            moved.setdefault(segment, []).append([signal, effect])
    prediction = streams[Stream.PREDICTION]
    now = prediction.current()
    before = np.zeros_like(now)
    if prediction.before is not None:
        before[: len(prediction.before)] = prediction.before
    return {
        "least_rows": LEAST_ROWS,
        "learning": prediction.before is None or prediction.within is None,
        "fields": [
            {
                "field": one.name,
                "segments": [
                    {
                        "segment": name,
                        "rows": _rows(now, place, slot),
                        "reference_rows": _rows(before, place, slot),
                        **{key: value for part in compared for key, value in part.of(one.name, name).items()},
                        "drift": moved.get(f"{one.feature or one.name}={name}", [])[:MOST_MOVED],
                    }
                    for slot, name in _slots(one)
                    if _rows(now, place, slot) or _rows(before, place, slot)
                ],
                "gaps": {key: value for part in compared for key, value in part.gap(one.name).items()},
            }
            for place, one in enumerate(fields.fields)
        ],
    }


class _Compared:
    """A stream's figure by segment, now and in the reference."""

    def __init__(self, measure: gaps.Measure | None, now: Any, before: Any) -> None:
        self._measure, self._now, self._before = measure, now, before

    def of(self, field: str, name: str) -> dict[str, Any]:
        if self._measure is None:
            return {}
        now, before = (some.get(field, {}).get(name) for some in (self._now, self._before))
        return {self._measure.metric: {"now": gaps.rate_as_dict(now), "reference": gaps.rate_as_dict(before)}}

    def gap(self, field: str) -> dict[str, Any]:
        if self._measure is None:
            return {}
        now, before = (
            next((gaps.as_dict(one) for one in gaps.gaps(self._measure, some) if one.field == field), None)
            for some in (self._now, self._before)
        )
        return {self._measure.metric: {"now": now, "reference": before}}


def _compare(stream: StreamSegments, positive: str | None) -> _Compared:
    measure = None if stream.whole is None else gaps.measure_of(stream.whole, positive)
    if measure is None:
        return _Compared(None, {}, {})
    found = [
        {} if counts is None else gaps.rates(measure, stream.signals, counts, stream.fields)
        for counts in (stream.current(), stream.before)
    ]
    return _Compared(measure, *found)


def _moved(stream: StreamSegments) -> list[tuple[str, str, float]]:
    """Pairs that moved for certain in the current period, most moved first."""
    if stream.within is None or stream.stream is Stream.OUTCOME:
        return []
    within = stream.within
    counts = stream.current()[within.places].reshape(len(within.reference.signals), within.reference.width)
    return Ranking(within).of(counts, len(within.reference.signals))


def _slots(one: Field) -> list[tuple[int, str]]:
    return [*enumerate(one.names), (OTHER, "(other)")]


def _rows(counts: NDArray[np.int64], place: int, slot: int) -> int:
    return int(counts[place * SLOTS + slot, 0].sum()) if place * SLOTS + slot < len(counts) and counts.size else 0
