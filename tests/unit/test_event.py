"""What is taken for an event, what is not, and what a sender is told."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from odd_documents import odd_documents
from seeded_events import anything, line, ordinary

from daemon.events.documents import documents_of
from daemon.events.event import Decoded, check, decode
from daemon.events.event_rules import EventLimits, RejectReason

GOOD = b'{"model": "loans", "id": "1", "prediction": 1}'
SMALL = EventLimits(event_bytes=2_000, features=3, text_chars=20)


def reasons(body: bytes, limits: EventLimits = SMALL) -> list[str]:
    return [str(error["reason"]) for error in check(body, limits).errors]


def taken(*values: bytes) -> Decoded:
    decoded = decode(values)
    assert not decoded.rejected
    return decoded


# --- each by name

EVENTS: dict[str, tuple[bytes, RejectReason | None]] = {
    "not JSON": (b"prediction=1", RejectReason.NOT_JSON),
    "half an event": (b'{"prediction": 1', RejectReason.NOT_JSON),
    "a number": (b"17", RejectReason.NOT_AN_OBJECT),
    "a text": (b'"prediction"', RejectReason.NOT_AN_OBJECT),
    "null": (b"null", RejectReason.NOT_AN_OBJECT),
    "an empty object": (b"{}", RejectReason.MISSING_FIELD),
    "a prediction without anything": (b'{"id": 1, "model": "m"}', RejectReason.MISSING_FIELD),
    "a prediction of null": (b'{"id": 1, "prediction": null}', RejectReason.MISSING_FIELD),
    "a score alone": (b'{"score": 0.5}', None),
    "features alone": (b'{"features": {"a": 1}}', None),
    "a label without an id": (b'{"type": "label", "label": 1}', RejectReason.MISSING_FIELD),
    "a label with an empty id": (b'{"type": "label", "id": "", "label": 1}', RejectReason.MISSING_FIELD),
    "a label of null": (b'{"type": "label", "id": 1, "label": null}', RejectReason.MISSING_FIELD),
    "a label that does not say it is one": (b'{"id": 1, "label": 1}', None),
    "features that are null": (b'{"prediction": 1, "features": null}', None),
    "a features event whose features are null": (b'{"type": "features", "features": null}', RejectReason.MISSING_FIELD),
    "features that are an array": (b'{"prediction": 1, "features": [1]}', RejectReason.WRONG_TYPE),
    "features of a label that are an array": (b'{"type": "label", "id": 1, "label": 1, "features": [1]}', None),
    "a feature of null": (b'{"features": {"a": null}}', None),
    "a feature of another type": (b'{"features": {"a": [1, {"b": 2}]}}', None),
    "a feature of NaN": (b'{"features": {"a": NaN}}', None),
    "a feature of infinity": (b'{"features": {"a": -Infinity, "b": 1e999}}', None),
    "a feature with more digits than a float": (b'{"features": {"a": ' + b"9" * 1_000 + b"}}", None),
    "too many features": (line(features=dict.fromkeys("abcd", 1)), RejectReason.TOO_MANY_FEATURES),
    "as many features as are allowed": (line(features=dict.fromkeys("abc", 1)), None),
    "a feature without a name": (b'{"features": {"": 1}}', RejectReason.BAD_NAME),
    "a feature's name that cannot be printed": (b'{"features": {"a\\u0007": 1}}', RejectReason.BAD_NAME),
    "a feature's name that is too long": (line(features={"a" * 21: 1}), RejectReason.BAD_NAME),
    "a feature's text that is too long": (line(features={"a": "b" * 21}), RejectReason.TEXT_TOO_LONG),
    "a class that is too long": (line(prediction="b" * 21), RejectReason.TEXT_TOO_LONG),
    "a label that is too long": (line(type="label", id=1, label="b" * 21), RejectReason.TEXT_TOO_LONG),
    "an id that is too long": (line(id="b" * 21, prediction=1), RejectReason.TEXT_TOO_LONG),
    "an id of too many digits": (b'{"prediction": 1, "id": ' + b"9" * 21 + b"}", RejectReason.TEXT_TOO_LONG),
    "a segment that is too long": (line(segment={"a": "b" * 21}, prediction=1), RejectReason.TEXT_TOO_LONG),
    "a class of a score that is too long": (line(score={"b" * 21: 1.0}), RejectReason.TEXT_TOO_LONG),
    "a whole number for an id": (b'{"prediction": 1, "id": 12345678901234567890}', None),
    "a float for an id": (b'{"prediction": 1, "id": 1.5}', None),
    "a boolean for an id": (b'{"prediction": 1, "id": true}', None),
    "null for an id": (b'{"prediction": 1, "id": null}', None),
    "an array for an id": (b'{"prediction": 1, "id": [1]}', RejectReason.WRONG_TYPE),
    "infinity for an id": (b'{"prediction": 1, "id": 1e999}', RejectReason.WRONG_TYPE),
    "a prediction of NaN": (b'{"prediction": NaN}', RejectReason.WRONG_TYPE),
    "a prediction beyond any float": (b'{"prediction": ' + b"9" * 1_000 + b"}", RejectReason.WRONG_TYPE),
    "a prediction beyond 64 bits": (b'{"prediction": 99999999999999999999}', None),
    "a prediction that is an object": (b'{"prediction": {"a": 1}}', RejectReason.WRONG_TYPE),
    "a score of NaN": (b'{"prediction": 1, "score": NaN}', None),
    "a score that is text": (b'{"prediction": 1, "score": "high"}', RejectReason.WRONG_TYPE),
    "scores by class": (b'{"score": {"a": 0.2, "b": 0.8}}', None),
    "a type of its own": (b'{"type": "guess", "prediction": 1}', RejectReason.WRONG_TYPE),
    "an empty model": (b'{"model": "", "prediction": 1}', RejectReason.BAD_NAME),
    "a model with a line end": (b'{"model": "a\\nb", "prediction": 1}', RejectReason.BAD_NAME),
    "a model that is a number": (b'{"model": 7, "prediction": 1}', RejectReason.WRONG_TYPE),
    "an empty version": (b'{"version": "", "prediction": 1}', RejectReason.BAD_NAME),
    "a version that is a number": (b'{"version": 3, "prediction": 1}', None),
    "1970": (b'{"prediction": 1, "ts": 0}', None),
    "1970 in words": (b'{"prediction": 1, "ts": "1970-01-01T00:00:00Z"}', None),
    "1969": (b'{"prediction": 1, "ts": "1969-12-31T23:59:59Z"}', RejectReason.BAD_TIME),
    "a second before 1970": (b'{"prediction": 1, "ts": -1}', RejectReason.BAD_TIME),
    "2100": (b'{"prediction": 1, "ts": "2100-01-01T00:00:00+01:00"}', None),
    "2100 in seconds": (b'{"prediction": 1, "ts": 4102444800}', None),
    "the year 5000": (b'{"prediction": 1, "ts": "5000-01-01T00:00:00Z"}', RejectReason.BAD_TIME),
    "milliseconds": (b'{"prediction": 1, "ts": 1795176000123}', None),
    "a date": (b'{"prediction": 1, "ts": "2026-11-20"}', None),
    "a time without a zone": (b'{"prediction": 1, "ts": "2026-11-20T12:00:00"}', None),
    "yesterday": (b'{"prediction": 1, "ts": "yesterday"}', RejectReason.BAD_TIME),
    "a time that is true": (b'{"prediction": 1, "ts": true}', RejectReason.BAD_TIME),
    "a time that is an array": (b'{"prediction": 1, "ts": [1]}', RejectReason.BAD_TIME),
    "a time of NaN": (b'{"prediction": 1, "ts": NaN}', RejectReason.BAD_TIME),
    "invalid UTF-8": (b'{"prediction": "\xff"}', RejectReason.NOT_JSON),
    "invalid UTF-8 in a feature": (b'{"features": {"a": "\xff"}}', RejectReason.NOT_JSON),
    "invalid UTF-8 in a feature's name": (b'{"features": {"\xff": 1}}', RejectReason.NOT_JSON),
    "half of a surrogate pair": (b'{"prediction": "\\ud800"}', RejectReason.NOT_JSON),
    "half of a surrogate pair in a feature": (b'{"features": {"a": "\\udc00"}}', RejectReason.NOT_JSON),
    "both halves": (b'{"features": {"a": "\\ud83d\\ude00"}}', None),
    "deep nesting": (b'{"features": {"a": ' + b"[" * 500 + b"]" * 500 + b"}}", RejectReason.NOT_JSON),
    "nesting as deep as is allowed": (b'{"features": {"a": ' + b"[" * 64 + b"]" * 64 + b"}}", None),
    "deep nesting in a field that nobody asked for": (
        b'{"prediction": 1, "x": ' + b"[" * 500 + b"]" * 500 + b"}",
        RejectReason.NOT_JSON,
    ),
    "the same key twice": (b'{"prediction": 1, "prediction": 0}', None),
    "the same feature twice": (b'{"features": {"a": 1, "a": "x"}}', None),
    "a field that nobody asked for": (b'{"prediction": 1, "tenant": "x"}', None),
    "too many bytes": (line(prediction=1, x="y" * 2_000), RejectReason.TOO_LARGE),
    "a byte order mark": (b'\xef\xbb\xbf{"prediction": 1}', None),
    "UTF-16": ('{"prediction": 1}'.encode("utf-16"), RejectReason.NOT_JSON),
    "a segment with nulls": (b'{"prediction": 1, "segment": {"channel": null}}', None),
    "a segment that is a text": (b'{"prediction": 1, "segment": "web"}', RejectReason.WRONG_TYPE),
}


@pytest.mark.parametrize("name", EVENTS)
def test_each_is_taken_or_put_aside_for_its_reason(name: str) -> None:
    body, reason = EVENTS[name]
    assert reasons(body) == ([] if reason is None else [reason.value])


# marks of an encoding stand at the beginning of a value
@pytest.mark.parametrize("name", [name for name, (body, _) in EVENTS.items() if body[:1] not in b"\xef\xff"])
def test_company_changes_nothing(name: str) -> None:
    body, reason = EVENTS[name]
    found = check(b"\n".join((GOOD, body, GOOD)), SMALL)
    assert (found.accepted, found.rejected) == ((3, 0) if reason is None else (2, 1))
    assert [error["line"] for error in found.errors] == ([] if reason is None else [1])


def test_every_reason_but_those_of_the_pipeline_has_a_case() -> None:
    assert {reason for _, reason in EVENTS.values()} == {None, *RejectReason} - {RejectReason.TOO_MANY_MODELS}


def test_an_answer_says_what_was_expected() -> None:
    found = check(b'{"model": "m", "score": "high"}')
    assert found.errors == [
        {"line": 0, "reason": "wrong_type", "detail": "Expected `float | object | null`, got `str` - at `$.score`"}
    ]


def test_an_answer_holds_nothing_that_cannot_be_shown() -> None:
    [error] = check(b'{"type": "\\u001b[2J' + b"x" * 1_000 + b'"}').errors
    detail = str(error["detail"])
    assert detail.isprintable()
    assert len(detail) <= 300


# --- how events lie in values


def test_a_value_holds_any_number_of_documents_however_they_are_laid_out() -> None:
    pretty = json.dumps({"model": "m", "prediction": 1, "features": {"a": 1}}, indent=2).encode()
    assert len(taken(GOOD).fields) == 1
    assert len(taken(GOOD + b"\n" + GOOD).fields) == 2
    assert len(taken(GOOD + b"\r\n\r\n" + GOOD + b"\r\n").fields) == 2
    assert len(taken(GOOD + b" " + GOOD).fields) == 2  # two on one line
    assert len(taken(GOOD + GOOD).fields) == 2
    assert len(taken(pretty).fields) == 1  # one over several lines
    assert len(taken(pretty + b"\n" + pretty).fields) == 2
    assert len(taken(b"[" + GOOD + b"," + pretty + b"]").fields) == 2
    assert len(taken(b"", b"  \n ", GOOD).fields) == 1


def test_two_events_with_a_comma_between_them_are_no_json() -> None:
    assert reasons(GOOD + b"," + GOOD) == ["not_json"]


def test_an_event_does_not_go_on_in_the_next_value() -> None:
    decoded = decode([b'{"model": "m",', b'"prediction": 1}', GOOD])
    assert (len(decoded.fields), len(decoded.rejected)) == (1, 2)
    assert decoded.ends == [0, 0, 1]


def test_one_bad_line_costs_no_other() -> None:
    body = b"\n".join([GOOD, b"{", GOOD, b"", b"nothing", GOOD])
    decoded = decode([GOOD, body])
    assert (len(decoded.fields), decoded.ends) == (4, [1, 4])
    assert [(one.value, one.line, one.body) for one in decoded.rejected] == [(1, 1, b"{"), (1, 3, b"nothing")]
    assert decoded.lines == {1: [0, 2, 4]}


def test_an_event_larger_than_allowed_costs_no_other() -> None:
    body = b"\n".join([GOOD, line(prediction=1, note="x" * 3_000), GOOD])
    found = check(body, SMALL)
    assert (found.accepted, found.rejected) == (2, 1)
    many = b"\n".join([GOOD] * 100)
    assert check(many, SMALL).accepted == 100  # it is events that are limited here, not bodies


def test_an_event_of_10_mb_is_put_aside_whole() -> None:
    large = line(prediction=1, note="x" * 10_000_000)
    [rejected] = decode([large]).rejected
    assert rejected.reason is RejectReason.TOO_LARGE
    assert rejected.body == large


def test_documents_are_those_that_are_decoded() -> None:
    assert documents_of(b'{"a":\n1} [1, [2]]\n3') == [b'{"a":\n1}', b"1", b"[2]", b"3"]
    assert documents_of(b'{"a": 1}\nx\n[1,\n2]') == [b'{"a": 1}', b"x", b"[1,", b"2]"]
    assert documents_of(b"") == []


# --- what a sender is told is what happens


@given(st.lists(odd_documents, max_size=6))
def test_a_sender_is_told_exactly_what_happens(documents: list[bytes]) -> None:
    body = b"\n".join(documents)
    told, parts = check(body, SMALL), documents_of(body)
    assert told.accepted == sum(check(one, SMALL).accepted for one in parts)
    assert told.rejected == sum(check(one, SMALL).rejected for one in parts)


@given(st.integers(0, 10**9))
def test_good_events_in_bulk_are_what_they_are_one_by_one(seed: int) -> None:
    for log in (anything(seed, 40), ordinary(seed, 40)):
        bulk = check(b"\n".join(log))
        assert bulk.accepted == sum(check(one).accepted for one in log)
        assert bulk.rejected == sum(check(one).rejected for one in log)
