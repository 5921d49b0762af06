"""The neighbours' notations come out as our own."""

import json
from typing import Any

import pytest

from daemon.events.event import check, decode
from daemon.events.event_formats import ALIASES, FIELDS, normalise

NOW = 1_795_176_000.0


def events(document: dict[str, Any]) -> list[dict[str, Any]]:
    return normalise(json.dumps(document).encode())


def test_our_own_notation_stays_what_it_is() -> None:
    event = {
        "type": "prediction",
        "id": "8c1f",
        "model": "loans",
        "version": "3",
        "ts": NOW,
        "features": {"age": 41, "state": "MA", "income": None},
        "prediction": 1,
        "score": 0.83,
        "segment": {"channel": "web"},
    }
    assert events(event) == [event]


@pytest.mark.parametrize(("theirs", "ours"), ALIASES.items())
def test_a_field_may_have_its_neighbours_name(theirs: str, ours: str) -> None:
    assert ours in FIELDS
    value: Any = {"segment": {"a": "b"}, "ts": NOW, "score": 0.5}.get(ours, "x")
    [event] = [one for one in events({"features": {}, theirs: value}) if ours in one][:1]
    assert event[ours] == value


def test_our_own_name_wins_over_a_neighbours() -> None:
    assert events({"prediction": 1, "y_pred": 0, "id": "a", "identifier": "b"}) == [{"prediction": 1, "id": "a"}]


def test_a_row_of_an_evaluation_is_a_prediction_and_its_label() -> None:
    row = {"id": "a", "model": "loans", "timestamp": NOW, "y_pred": 1, "y_true": 0}
    assert events(row) == [
        {"id": "a", "model": "loans", "ts": NOW, "prediction": 1, "label": 0, "type": "prediction"},
        {"id": "a", "model": "loans", "ts": NOW, "prediction": 1, "label": 0, "type": "label"},
    ]
    decoded = decode([json.dumps(row).encode()])
    assert (decoded.fields.predictions.predictions, decoded.fields.labels.labels) == ((1,), (0,))


def test_times_come_in_many_forms() -> None:
    times = ["2026-11-20T12:00:00Z", "2026-11-20T13:00:00+01:00", "2026-11-20T12:00:00", NOW, NOW * 1000, int(NOW)]
    assert [events({"prediction": 1, "ts": ts})[0]["ts"] for ts in times] == [NOW] * 6


def test_cloud_events_are_opened() -> None:
    envelope = {
        "specversion": "1.0",
        "type": "org.example.scored",
        "source": "/x",
        "id": "e1",
        "time": "2026-11-20T12:00:00Z",
    }
    [event] = events({**envelope, "data": {"model": "loans", "prediction": 1}})
    assert event == {"id": "e1", "ts": NOW, "model": "loans", "prediction": 1}
    [event] = events({**envelope, "data": {"id": "own", "prediction": 1}})
    assert event["id"] == "own"
    assert check(json.dumps({**envelope, "data": "text"}).encode()).errors[0]["reason"] == "wrong_type"


def test_logged_requests_become_features_and_responses_predictions() -> None:
    logged = {"specversion": "1.0", "id": "r", "inferenceservicename": "loans"}
    request = {
        "inputs": [
            {"name": "age", "shape": [2], "data": [41, 17]},
            {"name": "x", "shape": [2, 2], "data": [1, 2, 3, 4]},
        ]
    }
    assert events({**logged, "data": request | {"id": "r"}}) == [
        {"id": "r/0", "model": "loans", "type": "features", "features": {"age": 41, "x_0": 1, "x_1": 2}},
        {"id": "r/1", "model": "loans", "type": "features", "features": {"age": 17, "x_0": 3, "x_1": 4}},
    ]
    response = {
        "id": "r",
        "model_name": "loans",
        "model_version": "2",
        "outputs": [{"name": "y", "shape": [2], "data": [1, 0]}],
    }
    assert events(response) == [
        {"id": "r/0", "model": "loans", "version": "2", "type": "prediction", "prediction": 1},
        {"id": "r/1", "model": "loans", "version": "2", "type": "prediction", "prediction": 0},
    ]


def test_rows_of_the_older_protocol_are_numbered_or_named() -> None:
    assert events({"instances": [[41, "MA"], {"age": 17}]}) == [
        {"type": "features", "features": {"0": 41, "1": "MA"}},
        {"type": "features", "features": {"age": 17}},
    ]
    assert events({"predictions": [0.5], "id": "a"}) == [{"id": "a", "type": "prediction", "prediction": 0.5}]


@pytest.mark.parametrize(
    "document",
    [
        {"inputs": 1},
        {"inputs": [1]},
        {"inputs": [{"name": "a", "data": 1}]},
        {"inputs": [{"name": "a", "shape": [2], "data": [1, 2, 3]}]},
        {"instances": [3]},
        {"predictions": {"a": 1}},
        {"outputs": [{}]},
    ],
)
def test_a_request_that_is_none_is_put_aside(document: dict[str, Any]) -> None:
    assert [error["reason"] for error in check(json.dumps(document).encode()).errors] == ["wrong_type"]


def test_ids_keep_every_digit() -> None:
    assert events({"id": 12345678901234567890123, "prediction": 1})[0]["id"] == "12345678901234567890123"
