"""Events of one model, a list per field: what a log, a request or a file of history is turned into."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.columns import Column, FeatureDecoder
from daemon.event import Event, epoch, has_features
from daemon.tasks import from_score, score_value


@dataclass(frozen=True, slots=True)
class Predictions:
    """Prediction events. ``order`` is the place of each among all events of the batch.

    ``features`` holds columns for the events ``with_features`` (None: for all).
    """

    order: NDArray[np.int64]
    ids: list[str | None]
    ts: NDArray[np.float64]
    versions: list[str | None]
    segments: list[dict[str, Any] | None]
    values: list[Any]
    scores: NDArray[np.float64]
    score_classes: list[dict[str, Any] | None] | None
    features: dict[str, Column]
    with_features: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, places: Sequence[int]) -> "Predictions":
        """Only those at ``places``."""
        index = np.array(places, dtype=np.int64)
        features, with_features = self.features, self.with_features
        if with_features is None:
            features = {name: column[index] for name, column in features.items()}
        else:
            kept = np.flatnonzero(np.isin(with_features, index))
            features = {name: column[kept] for name, column in features.items()}
            with_features = np.searchsorted(index, with_features[kept])
        return Predictions(
            self.order[index],
            [self.ids[place] for place in places],
            self.ts[index],
            [self.versions[place] for place in places],
            [self.segments[place] for place in places],
            [self.values[place] for place in places],
            self.scores[index],
            None if self.score_classes is None else [self.score_classes[place] for place in places],
            features,
            with_features,
        )


@dataclass(frozen=True, slots=True)
class Labels:
    """Label events."""

    order: NDArray[np.int64]
    ids: list[str]
    ts: NDArray[np.float64]
    values: list[Any]


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Features that came as events of their own."""

    order: NDArray[np.int64]
    ids: list[str | None]
    ts: NDArray[np.float64]
    features: dict[str, Column]

    def at(self, places: Sequence[int]) -> "FeatureRows":
        """Only those at ``places``."""
        index = np.array(places, dtype=np.int64)
        columns = {name: column[index] for name, column in self.features.items()}
        return FeatureRows(self.order[index], [self.ids[place] for place in places], self.ts[index], columns)


@dataclass(frozen=True, slots=True)
class Rows:
    """A batch of one model."""

    predictions: Predictions | None = None
    labels: Labels | None = None
    features: FeatureRows | None = None
    last_ts: float = 0.0


def from_events(events: Sequence[Event], arrival: float, decoder: FeatureDecoder) -> Rows:
    """Events of one model, in order, as rows. ``arrival`` is the time of those that carry none."""
    by_type: dict[str, list[tuple[int, Event]]] = {}
    for numbered in enumerate(events):
        by_type.setdefault(numbered[1].type, []).append(numbered)
    ts = {kind: np.array([epoch(event.ts, arrival) for _, event in some]) for kind, some in by_type.items()}
    return Rows(
        _predictions(by_type["prediction"], ts["prediction"], decoder) if "prediction" in by_type else None,
        _labels(by_type["label"], ts["label"]) if "label" in by_type else None,
        _features(by_type["features"], ts["features"], decoder) if "features" in by_type else None,
        max(float(times.max()) for times in ts.values()),
    )


def _predictions(some: list[tuple[int, Event]], ts: NDArray[np.float64], decoder: FeatureDecoder) -> Predictions:
    events = [event for _, event in some]
    carrying = [bool(has_features(event)) for event in events]
    raws = [event.features for event, carries in zip(events, carrying, strict=True) if carries]
    scores = [event.score for event in events]
    by_class = any(isinstance(score, dict) for score in scores)
    return Predictions(
        _order(some),
        _ids(events),
        ts,
        [_text(event.version) for event in events],
        [event.segment for event in events],
        [from_score(event.score) if event.prediction is None else event.prediction for event in events],
        np.array([score_value(score) for score in scores] if by_class else scores, dtype=np.float64),
        [score if isinstance(score, dict) else None for score in scores] if by_class else None,
        decoder(raws) if raws else {},
        None if len(raws) == len(events) else np.flatnonzero(carrying),
    )


def _labels(some: list[tuple[int, Event]], ts: NDArray[np.float64]) -> Labels:
    events = [event for _, event in some]
    return Labels(_order(some), [one or "" for one in _ids(events)], ts, [event.label for event in events])


def _features(some: list[tuple[int, Event]], ts: NDArray[np.float64], decoder: FeatureDecoder) -> FeatureRows:
    events = [event for _, event in some]
    return FeatureRows(_order(some), _ids(events), ts, decoder([event.features for event in events]))


def _order(some: list[tuple[int, Event]]) -> NDArray[np.int64]:
    return np.array([place for place, _ in some], dtype=np.int64)


def _ids(events: list[Event]) -> list[str | None]:
    return [one if isinstance(one, str) else _text(one) for one in [event.id for event in events]]


def _text(value: str | float | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(int(value)) if value == int(value) else str(value)
