"""Events as they are worked on: by type, a tuple per field."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray

from daemon.events.event_rules import Event, epoch


@dataclass(frozen=True, slots=True)
class Fields:
    """Events of one type. ``order`` is the place of each among all events, ``ts`` its time (NaN where it has none)."""

    order: NDArray[np.int64]
    ts: NDArray[np.float64]
    ids: tuple[str | float | None, ...]
    models: tuple[str, ...]
    versions: tuple[str | float | None, ...]
    features: tuple[Any, ...]
    predictions: tuple[Any, ...]
    scores: tuple[Any, ...]
    labels: tuple[Any, ...]
    segments: tuple[dict[str, Any] | None, ...]
    known: Any = None
    """What has decoded the features already; None where they are still JSON."""

    def __len__(self) -> int:
        return len(self.ids)

    def carrying(self) -> NDArray[np.int64]:
        """Those of ``order`` that carry features."""
        return self.order[[bytes(raw) != b"null" for raw in self.features]]

    def at(self, places: NDArray[np.int64]) -> "Fields":
        """Only the events at ``places``."""
        if len(places) == len(self):
            return self
        take = _getter(places)
        return Fields(
            self.order[places],
            self.ts[places],
            take(self.ids),
            take(self.models),
            take(self.versions),
            take(self.features),
            take(self.predictions),
            take(self.scores),
            take(self.labels),
            take(self.segments),
            self.known,
        )


@dataclass(frozen=True, slots=True)
class EventFields:
    """Events of all types."""

    predictions: Fields
    labels: Fields
    features: Fields

    def __len__(self) -> int:
        return len(self.predictions) + len(self.labels) + len(self.features)

    def parts(self) -> tuple[Fields, Fields, Fields]:
        """Predictions, labels and features."""
        return self.predictions, self.labels, self.features

    def before(self, place: int) -> "EventFields":
        """Those before a place."""
        return EventFields(*(part.at(np.flatnonzero(part.order < place)) for part in self.parts()))

    def since(self, place: int) -> "EventFields":
        """Those from a place on."""
        return EventFields(*(part.at(np.flatnonzero(part.order >= place)) for part in self.parts()))

    def without(self, places: Sequence[int]) -> "EventFields":
        """All but those at ``places``."""
        return EventFields(*(part.at(np.flatnonzero(~np.isin(part.order, places))) for part in self.parts()))

    def models(self) -> dict[str, int]:
        """The models, each with the place of its first event, in that order."""
        first: dict[str, int] = {}
        for part in self.parts():
            if len(set(part.models)) == 1:
                first[part.models[0]] = min(int(part.order[0]), first.get(part.models[0], int(part.order[0])))
                continue
            # backwards, so that the first of each stays
            found = dict(zip(reversed(part.models), reversed(part.order.tolist()), strict=True))
            for model, place in found.items():
                first[model] = min(place, first.get(model, place))
        return dict(sorted(first.items(), key=itemgetter(1)))

    def by_model(self) -> dict[str, "EventFields"]:
        """The events of each model."""
        models = self.models()
        if len(models) < 2:  # noqa: PLR2004 (one is all)
            return dict.fromkeys(models, self)
        parts = [_by_model(part) for part in self.parts()]
        nothing = np.empty(0, dtype=np.int64)
        return {
            model: EventFields(
                *(part.at(places.get(model, nothing)) for part, places in zip(self.parts(), parts, strict=True))
            )
            for model in models
        }


def fields_of(events: Sequence[Event], ts: NDArray[np.float64], known: Any = None) -> EventFields:
    """Events by type; ``ts`` are their times, ``known`` what has decoded their features."""
    labels = [place for place, event in enumerate(events) if event.type == "label"]
    features = [place for place, event in enumerate(events) if event.type == "features"]
    rest = np.ones(len(events), dtype=bool)
    rest[labels] = False
    rest[features] = False
    predictions = list(events) if rest.all() else [event for event in events if event.type == "prediction"]
    return EventFields(
        _fields(predictions, np.flatnonzero(rest), ts, known),
        _fields([events[place] for place in labels], np.array(labels, dtype=np.int64), ts, known),
        _fields([events[place] for place in features], np.array(features, dtype=np.int64), ts, known),
    )


def times_of(events: Sequence[Event]) -> NDArray[np.float64]:
    """Times in epoch seconds, NaN for events that carry none."""
    stamps: list[Any] = [event.ts for event in events]
    kinds = set(map(type, stamps))
    if kinds == {datetime} and None not in set(map(_zone, stamps)):
        return np.fromiter(map(datetime.timestamp, stamps), np.float64, len(stamps))
    return np.array([epoch(ts, np.nan) for ts in stamps], dtype=np.float64)


_zone = attrgetter("tzinfo")


def _fields(events: list[Event], order: NDArray[np.int64], ts: NDArray[np.float64], known: Any) -> Fields:
    if not events:
        return Fields(order, np.empty(0), *([()] * 8))
    columns = zip(*map(astuple, events), strict=True)
    _, ids, models, versions, _, features, predictions, scores, labels, segments = columns
    at = ts[order]
    return Fields(order, at, ids, models, versions, features, predictions, scores, labels, segments, known)


def _getter(places: NDArray[np.int64]) -> Any:
    chosen = places.tolist()
    if len(chosen) > 1:
        return itemgetter(*chosen)
    return lambda values: tuple(values[place] for place in chosen)


def _by_model(part: Fields) -> dict[str, NDArray[np.int64]]:
    places: dict[str, list[int]] = {}
    for place, model in enumerate(part.models):
        places.setdefault(model, []).append(place)
    return {model: np.array(some, dtype=np.int64) for model, some in places.items()}
