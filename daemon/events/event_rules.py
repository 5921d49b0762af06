"""What an event is, how large it may be, and why one is put aside."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from math import isfinite
from typing import Annotated, Any, Final, Literal, NamedTuple, cast

import msgspec
from msgspec import Meta

MOST_NAME_CHARACTERS: Final = 200
"""Of a model or a version. Model and signal together are keys of the store, which have to fit into its indexes."""
MOST_FEATURE_CHARACTERS: Final = 400
"""Of a feature's name."""
LATEST_TS: Final = 32_503_680_000.0  # the year 3000: later is a unit that was mistaken
DEEPEST: Final = 64
INT64: Final = range(-(2**63), 2**63)
DETAIL_CHARACTERS: Final = 300

Value = str | int | float | bool
NO_FEATURES: Final = msgspec.Raw(b"null")


class RejectReason(StrEnum):
    """Why an event was put aside."""

    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    WRONG_TYPE = "wrong_type"
    MISSING_FIELD = "missing_field"
    BAD_TIME = "bad_time"
    BAD_NAME = "bad_name"
    TEXT_TOO_LONG = "text_too_long"
    TOO_LARGE = "too_large"
    TOO_MANY_FEATURES = "too_many_features"
    TOO_MANY_MODELS = "too_many_models"


@dataclass(frozen=True, slots=True)
class EventLimits:
    """What is refused: events of more bytes or features, and features, classes and names of more characters."""

    event_bytes: int = 1 << 20
    features: int = 2_000
    text_chars: int = 4_096

    @property
    def name_chars(self) -> int:
        """Most characters of the name of a model or a version."""
        return min(self.text_chars, MOST_NAME_CHARACTERS)

    @property
    def feature_chars(self) -> int:
        """Most characters of the name of a feature."""
        return min(self.text_chars, MOST_FEATURE_CHARACTERS)


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


@cache
def strict_event(limits: EventLimits) -> type[Event]:
    """An event that does not decode where it breaks a limit that types can tell."""
    text = Annotated[str, Meta(max_length=limits.text_chars)]
    whole = Annotated[int, Meta(ge=INT64.start, le=INT64.stop - 1)]
    value = text | whole | float | bool | None
    fields: list[tuple[str, Any, Any]] = [
        ("id", text | int | float | None, None),
        ("version", text | int | float | None, None),
        ("prediction", value, None),
        ("score", float | dict[text, float | None] | None, None),
        ("label", value, None),
        ("segment", dict[text, value] | None, None),
    ]
    return cast(
        "type[Event]", msgspec.defstruct("StrictEvent", fields, bases=(Event,), forbid_unknown_fields=True, gc=False)
    )


class Problem(NamedTuple):
    """What is wrong with an event, for a machine and for a person."""

    reason: RejectReason
    detail: str


def problem_of(event: Event, limits: EventLimits) -> Problem | None:
    """What keeps a well-typed event from being used, features aside, if anything does."""
    return _missing(event) or _bad_text(event, limits) or _bad_time(event) or _bad_number(event)


def has_features(event: Event) -> bool:
    """Whether the event carries features, of whatever kind."""
    raw = event.features
    return raw is not NO_FEATURES and bytes(raw) not in (b"null", b"")


def _missing(event: Event) -> Problem | None:
    detail = None
    if event.type == "label":
        if event.id is None or event.id == "":
            detail = "a label needs the `id` of its prediction"
        elif event.label is None:
            detail = "a label event needs a `label`"
    elif event.type == "features":
        if not has_features(event):
            detail = "a features event needs `features`"
    elif event.prediction is None and event.score is None and not has_features(event):
        detail = "a prediction event needs a `prediction`, a `score` or `features`"
    return None if detail is None else Problem(RejectReason.MISSING_FIELD, detail)


def _bad_text(event: Event, limits: EventLimits) -> Problem | None:
    most = limits.text_chars
    for name, text, longest in (
        ("model", event.model, limits.name_chars),
        ("version", event.version, limits.name_chars),
    ):
        if text is not None and not is_name(as_text(text), longest):
            return Problem(RejectReason.BAD_NAME, f"`{name}` must be 1 to {longest} printable characters")
    texts: list[tuple[str, object]] = [("id", None if event.id is None else as_text(event.id))]
    texts += [("prediction", event.prediction), ("label", event.label)]
    if isinstance(event.score, dict):
        texts += [("score", name) for name in event.score]
    for name, value in (event.segment or {}).items():
        texts += [("segment", name), ("segment", value)]
    for name, held in texts:
        if isinstance(held, str) and len(held) > most:
            detail = f"`{name}` holds a text of {len(held)} characters, at most {most} are taken"
            return Problem(RejectReason.TEXT_TOO_LONG, detail)
    return None


def _bad_time(event: Event) -> Problem | None:
    ts = epoch(event.ts, 0.0)
    if 0.0 <= ts <= LATEST_TS:
        return None
    return Problem(RejectReason.BAD_TIME, f"`ts` is {ts:g}: ISO 8601 or epoch seconds from 1970 on are expected")


def _bad_number(event: Event) -> Problem | None:
    for name, value in (("prediction", event.prediction), ("label", event.label)):
        if isinstance(value, int) and value not in INT64:
            return Problem(RejectReason.WRONG_TYPE, f"`{name}` is a whole number of more than 64 bits")
    for name, value in (("id", event.id), ("version", event.version)):
        if isinstance(value, float) and not isfinite(value):
            return Problem(RejectReason.WRONG_TYPE, f"`{name}` is not a finite number")
    return None


def problem_of_features(features: dict[str, Any], limits: EventLimits) -> Problem | None:
    """What keeps a features object from being used, if anything does. Values of any type are taken."""
    if len(features) > limits.features:
        detail = f"{len(features)} features, at most {limits.features} are taken"
        return Problem(RejectReason.TOO_MANY_FEATURES, detail)
    most = limits.text_chars
    for name, value in features.items():
        if not is_name(name, limits.feature_chars):
            detail = f"a feature's name must be 1 to {limits.feature_chars} printable characters"
            return Problem(RejectReason.BAD_NAME, detail)
        if isinstance(value, str) and len(value) > most:
            detail = f"a feature is a text of {len(value)} characters, at most {most} are taken"
            return Problem(RejectReason.TEXT_TOO_LONG, detail)
        if isinstance(value, list | dict) and is_deep(value):
            return Problem(RejectReason.NOT_JSON, f"nested more than {DEEPEST} deep")
    return None


def is_name(text: str, longest: int) -> bool:
    """Whether a text can stand for something in tables, pages and messages."""
    return 0 < len(text) <= longest and text.isprintable()


def is_deep(value: object, depth: int = 1) -> bool:
    """Whether arrays and objects are nested deeper than is taken."""
    if not isinstance(value, list | dict):
        return False
    inside = value.values() if isinstance(value, dict) else value
    return depth > DEEPEST or any(is_deep(one, depth + 1) for one in inside)


def as_text(value: str | float) -> str:
    """An id or a version as text, the same however it was written: 3, 3.0 and "3" are one."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and isfinite(value) and value.is_integer():
        return str(int(value))
    return str(value)


def epoch(ts: datetime | float | None, arrival: float) -> float:
    """An event's time as epoch seconds; a time without a zone is UTC, none at all is that of arrival."""
    if ts is None:
        return arrival
    if isinstance(ts, datetime):
        return (ts if ts.tzinfo is not None else ts.replace(tzinfo=UTC)).timestamp()
    return ts
