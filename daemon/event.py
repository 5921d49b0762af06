"""Bytes in, events out: typed where they fit, put aside with a reason where they do not."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

import msgspec

from daemon.event_formats import NotAnEvent, normalise

MAX_EVENT_BYTES = 1_048_576
MAX_NAME_CHARACTERS = 200
LATEST_TS = 32_503_680_000.0  # the year 3000: later is a unit that was mistaken

Value = str | int | float | bool
NO_FEATURES = msgspec.Raw()
OPENING_BRACE = ord("{")


class RejectReason(StrEnum):
    """Why an event was put aside."""

    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    WRONG_TYPE = "wrong_type"
    MISSING_FIELD = "missing_field"
    BAD_TIME = "bad_time"
    BAD_NAME = "bad_name"
    TOO_LARGE = "too_large"
    TOO_MANY_FEATURES = "too_many_features"
    TOO_MANY_MODELS = "too_many_models"


class Event(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One event as it travels, features still undecoded."""

    type: Literal["prediction", "label", "features"] = "prediction"
    id: str | int | float | None = None
    model: str = "default"
    version: str | int | float | None = None
    ts: datetime | float | None = None
    features: msgspec.Raw = NO_FEATURES
    prediction: Value | None = None
    score: float | dict[str, float | None] | None = None
    label: Value | None = None
    segment: dict[str, Value | None] | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that is no event: which, why, and what was expected."""

    line: int
    reason: RejectReason
    detail: str
    body: bytes
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """The events of some values in order, each with the number of its line, and the lines that are none.

    ``ends[v]`` is the number of lines up to and including those of value v.
    """

    events: list[Event]
    lines: Sequence[int]
    rejected: list[Rejected]
    ends: list[int]


_array = msgspec.json.Decoder(list[Event])
_single = msgspec.json.Decoder(Event)


def lines_of(value: bytes) -> list[bytes]:
    """The lines of a value that may hold many events; blank ones are kept out."""
    return [line for line in value.split(b"\n") if line and not line.isspace()]


def decode(values: Iterable[bytes]) -> Decoded:
    """Decode the lines of ``values``; lines are numbered from 0 over all of them."""
    lines: list[bytes] = []
    ends = []
    for value in values:
        lines += lines_of(value)
        ends.append(len(lines))
    largest = max(map(len, lines), default=0)
    if largest <= MAX_EVENT_BYTES:
        try:
            events = _array.decode(b"[" + b",".join(lines) + b"]")
        except (msgspec.DecodeError, UnicodeDecodeError):
            events = []
        # a line such as `{},{}` would shift the numbers of all that follow
        if len(events) == len(lines) and not any(map(problem, events)):
            return Decoded(events, range(len(lines)), [], ends)
    return _one_by_one(lines, ends)


def _one_by_one(lines: list[bytes], ends: list[int]) -> Decoded:
    events, numbers, rejected = [], [], []
    for number, line in enumerate(lines):
        one = decode_line(line, number)
        if isinstance(one, Rejected):
            rejected.append(one)
        else:
            for event in one:
                events.append(event)
                numbers.append(number)
    return Decoded(events, numbers, rejected, ends)


def decode_line(line: bytes, number: int = 0) -> list[Event] | Rejected:
    """The event of one line (a logged request of many rows holds several), or why it is none."""
    if len(line) > MAX_EVENT_BYTES:
        return Rejected(
            number, RejectReason.TOO_LARGE, f"{len(line)} bytes, at most {MAX_EVENT_BYTES} are taken", line[:4096]
        )
    try:
        event = _single.decode(line)
        if problem(event) is None:
            return [event]
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass  # it may still be one in another notation
    model: str | None = None
    try:
        plain = normalise(line)
        events = []
        for item in plain:
            name = item.get("model")
            model = name if isinstance(name, str) else None
            event = msgspec.convert(item, Event) if "features" not in item else _with_features(item)
            wrong = problem(event)
            if wrong is not None:
                return Rejected(number, wrong[0], wrong[1], line, model)
            events.append(event)
    except NotAnEvent as error:
        return Rejected(number, RejectReason(error.reason), error.detail, line, model)
    except msgspec.ValidationError as error:
        return Rejected(number, RejectReason.WRONG_TYPE, str(error), line, model)
    return events


def _with_features(item: dict[str, object]) -> Event:
    return _single.decode(msgspec.json.encode(item))


def problem(event: Event) -> tuple[RejectReason, str] | None:
    """What keeps a well-typed event from being used, if anything does."""
    features = has_features(event)
    if features is None:
        return RejectReason.WRONG_TYPE, "Expected `object`, got something else - at `$.features`"
    if event.type == "label":
        if event.id is None:
            return RejectReason.MISSING_FIELD, "a label needs the `id` of its prediction"
        if event.label is None:
            return RejectReason.MISSING_FIELD, "a label event needs a `label`"
    elif event.type == "features":
        if not features:
            return RejectReason.MISSING_FIELD, "a features event needs `features`"
    elif event.prediction is None and event.score is None and not features:
        return RejectReason.MISSING_FIELD, "a prediction event needs a `prediction`, a `score` or `features`"
    if not 0 < len(event.model) <= MAX_NAME_CHARACTERS or not event.model.isprintable():
        return RejectReason.BAD_NAME, f"`model` must be 1 to {MAX_NAME_CHARACTERS} printable characters"
    ts = event.ts
    if type(ts) is float and not 0.0 <= ts <= LATEST_TS:
        return RejectReason.BAD_TIME, f"`ts` is {ts:g}: ISO 8601 or epoch seconds are expected"
    return None


def has_features(event: Event) -> bool | None:
    """Whether the event carries features; None where what it carries is no object."""
    raw = memoryview(event.features)
    if not raw:
        return False
    return True if raw[0] == OPENING_BRACE else None if raw != b"null" else False


@dataclass(frozen=True, slots=True)
class Checked:
    """What a sender is told of a body."""

    accepted: int
    rejected: int
    errors: list[dict[str, object]]


def check(body: bytes) -> Checked:
    """How many events of a body would be taken, and why the others would not."""
    decoded = decode([body])
    return Checked(
        len(decoded.events),
        len(decoded.rejected),
        [{"line": one.line, "reason": one.reason.value, "detail": one.detail} for one in decoded.rejected],
    )


def epoch(ts: datetime | float | None, arrival: float) -> float:
    """An event's time as epoch seconds; a time without a zone is UTC, none at all is that of arrival."""
    if ts is None:
        return arrival
    if isinstance(ts, datetime):
        return (ts if ts.tzinfo is not None else ts.replace(tzinfo=UTC)).timestamp()
    return ts
