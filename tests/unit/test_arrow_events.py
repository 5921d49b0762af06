"""Decoding by Arrow: what it takes, and what it leaves to the usual way."""

from typing import Any

import pytest
from seeded_events import line

from daemon.events.arrow_events import ArrowDecoder, Habits
from daemon.events.event_rules import EventLimits
from daemon.events.rows import Rows
from daemon.transports.base import Record


def decoded(*values: bytes, events: int | None = None, segments: tuple[str, ...] = ()) -> tuple[Rows, int] | None:
    """The rows of records that came at 100, 200, ..., of NDJSON each."""
    records = [
        Record(place, 100.0 * (place + 1), None, value, events or value.count(b"\n") + 1)
        for place, value in enumerate(values)
    ]
    habits = Habits(float, int, int, segments)
    decoder = ArrowDecoder("loans", {"age": "number"}, habits, EventLimits(text_chars=20))
    return decoder.decode(records)


def prediction(**fields: Any) -> bytes:
    return line(**({"model": "loans", "id": "a", "prediction": 1, "features": {"age": 1.5}} | fields))


def test_an_event_without_a_time_gets_that_of_its_record() -> None:
    found = decoded(
        b"\n".join([prediction(id="a"), prediction(id="b", ts=7.0)]),
        b"\n".join([prediction(id="c", ts=8), line(type="label", model="loans", id="a", label=1)]),
    )
    assert found is not None
    rows, events = found
    assert events == 4
    assert rows.predictions is not None
    assert rows.labels is not None
    assert rows.predictions.ts.tolist() == [100.0, 7.0, 8.0]
    assert rows.labels.ts.tolist() == [200.0]
    assert rows.last_ts == 200.0


def test_where_it_is_not_clear_of_which_record_an_event_is_it_declines() -> None:
    value = b"\n".join([prediction(), prediction(id="b")])
    assert decoded(value, events=3) is None
    assert decoded(b"\n".join([prediction(ts=1), prediction(id="b", ts=2)]), events=3) is not None


@pytest.mark.parametrize(
    "odd",
    [
        prediction(model="churn"),
        prediction(ts=-1),
        prediction(ts=1e12),
        prediction(ts="2026-11-20T12:00:00Z"),
        prediction(id=7),
        prediction(id=""),
        prediction(id="a" * 21),
        prediction(prediction="yes"),
        prediction(prediction=None),
        prediction(score=float("inf")),
        prediction(features={"age": 1, "late": 2}),
        prediction(features={"age": "old"}),
        prediction(segment={"state": "MA"}),
        prediction(label=1),
        line(type="label", model="loans", id="a", label=None),
        line(type="label", model="loans", label=1),
        line(type="features", model="loans", id="a", features={"age": 1}),
        b"[" + prediction() + b"]",
        prediction()[:-1],
        prediction()[:-1] + b', "features": {"age": ' + b"[" * 200_000 + b"}",
        prediction()[:-1] + b', "segment": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
        prediction(prediction=10**30),
        b'{"model": "loans", "id": "\xff", "prediction": 1}',
    ],
)
def test_what_is_out_of_the_ordinary_is_left_to_the_usual_way(odd: bytes) -> None:
    assert decoded(prediction(id="x"), odd, prediction(id="y")) is None


def test_segments_of_text_are_read_as_the_usual_way_reads_them() -> None:
    carried = [{"state": "MA", "channel": "web"}, None, {"channel": "shop", "state": "NY"}]
    values = [prediction(segment=one) if one else prediction() for one in carried]
    found = decoded(*values, segments=("state", "channel"))
    assert found is not None
    rows, _ = found
    assert rows.predictions is not None
    assert list(rows.predictions.segments) == carried


@pytest.mark.parametrize(
    "odd",
    [{"state": "MA"}, {"state": "MA", "channel": None}, {"state": "MA", "channel": 1}, {}, {"age": "1"}, "web",
     {"state": "MA", "channel": "b" * 21}],
)  # fmt: skip
def test_a_segment_out_of_the_ordinary_is_left_to_the_usual_way(odd: object) -> None:
    assert decoded(prediction(segment=odd), segments=("state", "channel")) is None
