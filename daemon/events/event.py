"""Bytes in, events out: typed where they fit, put aside with a reason where they do not."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import msgspec

from daemon.events.columns import Known
from daemon.events.documents import documents_of
from daemon.events.event_features import UNREADABLE, FeatureCheck
from daemon.events.event_fields import EventFields, fields_of, times_of
from daemon.events.event_formats import NotAnEvent, normalise
from daemon.events.event_rules import (
    DETAIL_CHARACTERS,
    LATEST_TS,
    MOST_NAME_CHARACTERS,
    Event,
    EventLimits,
    Problem,
    RejectReason,
    as_text,
    is_name,
    problem_of,
    strict_event,
)

__all__ = ["Checked", "Decoded", "Event", "EventDecoder", "EventLimits", "RejectReason", "Rejected", "check", "decode"]

DEFAULT_LIMITS: Final = EventLimits()


@dataclass(frozen=True, slots=True)
class Rejected:
    """A document that is no event: which one of which value, why, what was expected, and the model if it names one."""

    value: int
    line: int
    reason: RejectReason
    detail: str
    body: bytes
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """The events of some values, in order, and what is none.

    ``ends[v]`` is the number of events up to and including those of value v. ``lines[v]`` are the numbers, within value
    v, of the documents that its events came from, where that is not one event each.
    """

    fields: EventFields
    ends: list[int]
    rejected: list[Rejected] = field(default_factory=list)
    lines: dict[int, list[int]] = field(default_factory=dict)
    numeric_times: bool = True  # as far as the first one tells


@dataclass(frozen=True, slots=True)
class Checked:
    """What a sender is told of a body."""

    accepted: int
    rejected: int
    errors: list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class _Refusal:
    problem: Problem
    model: str | None = None

    def at(self, value: int, line: int, document: bytes) -> Rejected:
        reason, detail = self.problem
        detail = "".join(one if one.isprintable() else "?" for one in detail[:DETAIL_CHARACTERS])
        return Rejected(value, line, reason, detail, document, self.model)


class EventDecoder:
    """Decodes values within ``limits``.

    Values that are in order throughout are decoded in one go, any other document by document. What is in order there
    is so here, and so the way does not show in what comes of an event.
    """

    def __init__(self, limits: EventLimits) -> None:
        self.limits = limits
        self.features = FeatureCheck(limits)
        strict = strict_event(limits)
        self._documents = msgspec.json.Decoder(strict)
        self._array = msgspec.json.Decoder(list[strict])  # type: ignore[valid-type]

    def decode(self, values: Sequence[bytes], known: Known | None = None) -> Decoded:
        """The events of ``values``, and what is none. Features are looked at where they are made into columns.

        Where all are of the model that is ``known``, they are decoded with their features in one pass.
        """
        if known is not None:
            fast = self._at_once(values, known)
            if fast is not None and fast.fields.models().keys() == {known.model}:
                return fast
        fast = self._at_once(values)
        if fast is not None:
            return fast
        events: list[Event] = []
        ends: list[int] = []
        rejected: list[Rejected] = []
        lines: dict[int, list[int]] = {}
        for number, value in enumerate(values):
            try:
                found = self._events(value)
                fields_ok = self._sound(fields_of(found, times_of(found)))
            except UNREADABLE:
                fields_ok = False
            if not fields_ok:
                found, lines[number], wrong = self._one_by_one(number, value)
                rejected += wrong
            events += found
            ends.append(len(events))
        return Decoded(fields_of(events, times_of(events)), ends, rejected, lines)

    def _at_once(self, values: Sequence[bytes], known: Known | None = None) -> Decoded | None:
        events: list[Event] = []
        ends = []
        try:
            for value in values:
                events += self._events(value, known)
                ends.append(len(events))
        except UNREADABLE:
            return None
        fields = fields_of(events, times_of(events), None if known is None else known.features)
        numeric = next((isinstance(one.ts, float) for one in events if one.ts is not None), True)
        return Decoded(fields, ends, numeric_times=numeric) if self._sound(fields) else None

    def _events(self, value: bytes, known: Known | None = None) -> list[Event]:
        """The events of a value, as far as types tell. Raises one of UNREADABLE."""
        most = self.limits.event_bytes
        if len(value) > most and max(map(len, documents_of(value)), default=0) > most:
            raise msgspec.ValidationError("too large")
        if value[:1] == b"[":
            return self._array.decode(value)
        return self._documents.decode_lines(value) if known is None else known.events.decode_lines(value)

    def _sound(self, fields: EventFields) -> bool:
        """Whether nothing but their features can be wrong with any of them: a few passes in place of a look at each."""
        most = self.limits.text_chars
        for part in fields.parts():
            if not len(part):
                continue
            if ((part.ts < 0.0) | (part.ts > LATEST_TS)).any():
                return False
            longest = self.limits.name_chars
            if not all(is_name(model, longest) for model in set(part.models)):
                return False
            if not all(version is None or is_name(as_text(version), longest) for version in set(part.versions)):
                return False
            if (
                set(map(type, part.ids)) & {int, float}
                and max(len(as_text(one)) for one in part.ids if one is not None) > most
            ):
                return False
        return _complete(fields)

    def _one_by_one(self, number: int, value: bytes) -> tuple[list[Event], list[int], list[Rejected]]:
        events: list[Event] = []
        lines: list[int] = []
        rejected: list[Rejected] = []
        for line, document in enumerate(documents_of(value)):
            found = self._read(document)
            if isinstance(found, _Refusal):
                rejected.append(found.at(number, line, document))
            else:
                events += found
                lines += [line] * len(found)
        return events, lines, rejected

    def _read(self, document: bytes) -> list[Event] | _Refusal:
        """The event of one document (a logged request of many rows holds several), or why it is none."""
        if len(document) > self.limits.event_bytes:
            detail = f"{len(document)} bytes, at most {self.limits.event_bytes} are taken"
            return _Refusal(Problem(RejectReason.TOO_LARGE, detail))
        model: str | None = None
        events = []
        try:
            fast = self._at_once([document]) if document[:1] == b"{" else None
            if fast is not None:
                events = self._events(document)
            else:
                for item in normalise(document):
                    model = _name(item.get("model"))
                    events.append(_loose.decode(msgspec.json.encode(item)))
        except NotAnEvent as error:
            return _Refusal(Problem(error.reason, error.detail), model)
        except msgspec.ValidationError as error:
            return _Refusal(Problem(RejectReason.WRONG_TYPE, str(error)), model)
        except UnicodeEncodeError:
            return _Refusal(Problem(RejectReason.NOT_JSON, "not JSON: half of a surrogate pair is no text"), model)
        for event in events:
            problem = problem_of(event, self.limits) or self.features.problem(event)
            if problem is not None:
                return _Refusal(problem, _name(event.model))
        return events

    def check(self, body: bytes) -> Checked:
        """How many events of a body would be taken, and why the others would not."""
        decoded = self._at_once([body])
        if decoded is not None:
            raws = decoded.fields.predictions.features + decoded.fields.features.features
            if self.features.objects(raws) is not None:
                return Checked(len(decoded.fields), 0, [])
        events, _, rejected = self._one_by_one(0, body)
        errors: list[dict[str, object]] = [
            {"line": one.line, "reason": one.reason.value, "detail": one.detail} for one in rejected
        ]
        return Checked(len(events), len(rejected), errors)


@cache
def decoder_for(limits: EventLimits) -> EventDecoder:
    """The decoder of these limits."""
    return EventDecoder(limits)


def decode(values: Iterable[bytes], limits: EventLimits = DEFAULT_LIMITS) -> Decoded:
    """The events of some values, and what is none."""
    return decoder_for(limits).decode(list(values))


def check(body: bytes, limits: EventLimits = DEFAULT_LIMITS) -> Checked:
    """How many events of a body would be taken, and why the others would not: exactly what the pipeline will do."""
    return decoder_for(limits).check(body)


_loose: Final = msgspec.json.Decoder(Event)


def _complete(fields: EventFields) -> bool:
    predictions, labels, features = fields.parts()
    if predictions.labels.count(None) < len(predictions):
        return False  # a prediction that brings its label along is two events
    if None in labels.labels or not all(map(_is_id, labels.ids)):
        return False
    if not all(map(_is_present, features.features)):
        return False
    return None not in predictions.predictions or all(
        prediction is not None or score is not None or _is_present(raw)
        for prediction, score, raw in zip(
            predictions.predictions, predictions.scores, predictions.features, strict=True
        )
    )


def _is_id(one: object) -> bool:
    return one is not None and one != ""


def _is_present(features: Any) -> bool:
    return features is not None and not (isinstance(features, msgspec.Raw) and bytes(features) == b"null")


def _name(model: object) -> str | None:
    return model if isinstance(model, str) and is_name(model, MOST_NAME_CHARACTERS) else None
