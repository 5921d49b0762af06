"""Features come out as one column each, the same on the fast way and on the slow one."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.events.columns import CATEGORY, NUMBER, BadFeatures, FeatureDecoder, Untyped, column_of, typed
from daemon.events.event_rules import EventLimits, RejectReason
from detectors.columns import INVALID

SCHEMA = {"age": NUMBER, "state": CATEGORY}
LIMITS = EventLimits(features=4, text_chars=10)


def raws(*rows: Any) -> list[msgspec.Raw]:
    return [msgspec.Raw(row if isinstance(row, bytes) else json.dumps(row).encode()) for row in rows]


def plain(columns: dict[str, Any]) -> dict[str, list[Any]]:
    return {name: [None if one != one else one for one in column.tolist()] for name, column in columns.items()}  # noqa: PLR0124


def decoded(*rows: Any, schema: dict[str, str] = SCHEMA) -> dict[str, list[Any]]:
    columns, places = FeatureDecoder(schema, LIMITS)(raws(*rows))
    assert places is None
    return plain(columns)


def test_what_fits_the_schema_is_taken_as_it_is() -> None:
    assert decoded({"age": 41, "state": "MA"}, {"state": "NY", "age": 1.5}, {}) == {
        "age": [41.0, 1.5, None],
        "state": ["MA", "NY", None],
    }


def test_what_does_not_fit_is_invalid_and_costs_no_other() -> None:
    assert decoded({"age": 41, "state": "MA"}, {"age": "41", "state": [1]}, {"age": True, "state": None}) == {
        "age": [41.0, np.inf, np.inf],
        "state": ["MA", INVALID, None],
    }


def test_numbers_that_are_none_are_missing_or_invalid() -> None:
    rows = [b'{"age": NaN}', b'{"age": Infinity}', b'{"age": -1e999}', b'{"age": ' + b"9" * 400 + b"}", {"age": 1}]
    assert decoded(*rows)["age"] == [None, np.inf, np.inf, np.inf, 1.0]


def test_classes_that_are_booleans_or_numbers_are_text() -> None:
    assert decoded({"state": True}, {"state": 3}, {"state": 3.0}, {"state": 0.5}, {"state": "3"})["state"] == [
        "true",
        "3",
        "3",
        "0.5",
        "3",
    ]


def test_null_is_no_object_and_an_empty_one_is() -> None:
    columns, places = FeatureDecoder(SCHEMA, LIMITS)(raws({"age": 1}, b"null", {}, b"null"))
    assert places is not None
    assert places.tolist() == [0, 2]
    assert plain(columns) == {"age": [1.0, None], "state": [None, None]}


def test_without_a_schema_values_are_kept_as_they_come_and_typed_once_all_are_there() -> None:
    columns, _ = FeatureDecoder(None, LIMITS)(raws({"a": 1, "b": 2, "c": None}, {"a": [1], "b": "x"}))
    assert all(isinstance(column, Untyped) for column in columns.values())
    assert plain(typed(columns, {})) == {"a": [1.0, np.inf], "b": ["2", "x"]}
    assert plain(typed(columns, {"a": CATEGORY})) == {"a": ["1", INVALID], "b": ["2", "x"]}


def test_a_feature_appears_with_its_first_value() -> None:
    columns, _ = FeatureDecoder(SCHEMA, LIMITS)(raws({"age": 1, "late": None}, {"age": 1}))
    assert list(columns) == ["age", "state"]
    columns, _ = FeatureDecoder(SCHEMA, LIMITS)(raws({"age": 1, "late": None}, {"age": 1, "late": 2}))
    assert plain(columns)["late"] == [None, 2]
    assert isinstance(columns["late"], Untyped)


def test_no_more_features_appear_than_a_model_may_have() -> None:
    columns, _ = FeatureDecoder(SCHEMA, LIMITS, most=3)(raws({"x": 1, "y": 1, "z": 1}))
    assert list(columns) == ["age", "state", "x"]


@pytest.mark.parametrize("schema", [SCHEMA, {}, {"f0": NUMBER, "f1": NUMBER, "f2": NUMBER, "f3": NUMBER, "f4": NUMBER}])
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({f"f{number}": 1 for number in range(5)}, RejectReason.TOO_MANY_FEATURES),
        ({"state": "x" * 11}, RejectReason.TEXT_TOO_LONG),
        ({"unknown": "x" * 11}, RejectReason.TEXT_TOO_LONG),
        ({"": 1}, RejectReason.BAD_NAME),
        ({"a\n": 1}, RejectReason.BAD_NAME),
        (b"[1]", RejectReason.WRONG_TYPE),
        (b'{"age": "\xff"}', RejectReason.NOT_JSON),
        (b'{"age": ' + b"[" * 80 + b"]" * 80 + b"}", RejectReason.NOT_JSON),
    ],
)
def test_what_cannot_be_used_is_named_with_its_place(schema: dict[str, str], bad: Any, reason: RejectReason) -> None:
    decoder = FeatureDecoder(schema, LIMITS)
    good = {"age": 1, "state": "MA"} if "age" in schema else {"f0": 1}
    decoder(raws(good, good))  # the fast way is open
    with pytest.raises(BadFeatures) as refused:
        decoder(raws(good, bad, good, b"null"))
    assert {place: problem.reason for place, problem in refused.value.problems.items()} == {1: reason}


def test_10_000_features_are_decoded_where_they_are_allowed() -> None:
    names = [f"f{number}" for number in range(10_000)]
    decoder = FeatureDecoder(dict.fromkeys(names, NUMBER), EventLimits(features=10_000))
    columns, _ = decoder(raws(*[dict.fromkeys(names, value) for value in (1, 2)]))
    assert len(columns) == 10_000
    assert all(column.tolist() == [1.0, 2.0] for column in columns.values())


values = st.sampled_from([None, 1, 2.5, "x", "y", True, [1], {"a": 1}, 10**30])


@given(
    st.lists(st.dictionaries(st.sampled_from(["age", "state"]), values), min_size=1, max_size=8),
    st.permutations(["age", "state"]),
)
def test_both_ways_come_to_the_same(rows: Sequence[dict[str, Any]], order: list[str]) -> None:
    schema = {name: SCHEMA[name] for name in order}
    decoder = FeatureDecoder(schema, LIMITS)
    decoder(raws({"age": 1, "state": "MA"}))
    one_by_one = [plain(decoder(raws(row))[0]) for row in rows]
    together = plain(decoder(raws(*rows))[0])
    slow = plain(FeatureDecoder(schema, LIMITS).from_objects(rows))
    for name in schema:
        assert together[name] == slow[name] == [row[name][0] for row in one_by_one]


def test_a_column_of_plain_values_has_the_type_that_all_of_them_have() -> None:
    assert column_of([1, None, 2.5]).dtype == np.float64
    assert column_of([None, None]).dtype == np.float64
    assert column_of([1, "x", True, None]).tolist() == ["1", "x", "true", None]
    assert column_of(["1", 2], NUMBER).tolist() == [np.inf, 2.0]
