"""What a features object may hold, and why it is put aside."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from daemon.events.event_formats import NotAnEvent, feature_value, parse
from daemon.events.event_rules import (
    DEEPEST,
    Event,
    EventLimits,
    Problem,
    RejectReason,
    has_features,
    problem_of_features,
)

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for a document that it cannot read; it may still be one in another notation."""

Features = dict[str, Any]

_anything = msgspec.json.Decoder(Any)


class FeatureCheck:
    """Looks at features objects within ``limits``, many at once where they are in order."""

    def __init__(self, limits: EventLimits) -> None:
        self.limits = limits
        text = Annotated[str, Meta(max_length=limits.text_chars)]
        name = Annotated[str, Meta(min_length=1, max_length=limits.feature_chars)]
        value = text | int | float | bool | list[Any] | dict[str, Any] | None
        self._objects = msgspec.json.Decoder(list[dict[name, value] | None])

    def objects(self, raws: Sequence[msgspec.Raw]) -> list[Features | None] | None:
        """The objects of ``raws``, None for a null; or None where something may be wrong with one of them."""
        document = b"[" + b",".join(raws) + b"]"
        try:
            found: list[Features | None] = self._objects.decode(document)
        except UNREADABLE:
            return None
        present = [features for features in found if features]
        if max(map(len, present), default=0) > self.limits.features:
            return None
        if not all(map(str.isprintable, set().union(*present))):
            return None
        nested = document.count(b"[") + document.count(b"{") - len(found) >= DEEPEST
        return None if nested and any(problem_of_features(one, self.limits) for one in present) else found

    def read(self, raw: msgspec.Raw) -> Features | Problem | None:
        """One object, what is wrong with it, or None for a null."""
        try:
            features: Any = _anything.decode(raw)
        except UNREADABLE:
            try:
                features = parse(bytes(raw))
            except NotAnEvent as error:
                return Problem(error.reason, error.detail)
            if isinstance(features, dict):
                features = {name: feature_value(value) for name, value in features.items()}
        if features is None:
            return None
        if not isinstance(features, dict):
            return Problem(RejectReason.WRONG_TYPE, "`features` must be an object of names and values")
        return problem_of_features(features, self.limits) or features

    def problem(self, event: Event) -> Problem | None:
        """What keeps an event's features from being used, if anything does; those of a label are not looked at."""
        if event.type == "label" or not has_features(event):
            return None
        found = self.read(event.features)
        return found if isinstance(found, Problem) else None
