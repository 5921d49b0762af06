"""Events of one model, a list per field: what a log, a request or a file of history is turned into."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.events.columns import BadFeatures, Column, FeatureDecoder
from daemon.events.event_fields import EventFields, Fields
from daemon.events.event_rules import Problem, as_text
from daemon.monitoring.tasks import from_score, score_value


@dataclass(frozen=True, slots=True)
class Predictions:
    """Prediction events. ``order`` is the place of each among all events of the batch.

    ``features`` holds columns for the events ``with_features`` (None: for all).
    """

    order: NDArray[np.int64]
    ids: Sequence[str | None]
    ts: NDArray[np.float64]
    versions: Sequence[str | None]
    segments: Sequence[dict[str, Any] | None]
    values: Sequence[Any]
    scores: NDArray[np.float64]
    score_classes: Sequence[dict[str, Any] | None] | None
    features: dict[str, Column]
    with_features: NDArray[np.int64] | None
    table: Any = None
    """The same for the archive, as an Arrow table, where that has decoded them."""

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
    ids: Sequence[str]
    ts: NDArray[np.float64]
    values: Sequence[Any]

    def at(self, places: Sequence[int]) -> "Labels":
        """Only those at ``places``."""
        index = np.array(places, dtype=np.int64)
        ids, values = ([some[place] for place in places] for some in (self.ids, self.values))
        return Labels(self.order[index], ids, self.ts[index], values)


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Features that came as events of their own."""

    order: NDArray[np.int64]
    ids: Sequence[str | None]
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

    def between(self, start: float, stop: float) -> "Rows":
        """Those whose order is from ``start`` to before ``stop``."""
        predictions, labels, features = (None if part is None else _between(part, start, stop) for part in self.parts())
        return Rows(predictions, labels, features, self.last_ts)

    def parts(self) -> tuple[Predictions | None, Labels | None, FeatureRows | None]:
        """Predictions, labels and features."""
        return self.predictions, self.labels, self.features


def _between(part: Any, start: float, stop: float) -> Any:
    places = np.flatnonzero((part.order >= start) & (part.order < stop))
    return part if len(places) == len(part.order) else part.at(places.tolist()) if len(places) else None


def rows_of(fields: EventFields, decoder: FeatureDecoder) -> Rows:
    """Events of one model as rows. Raises BadFeatures, the problems by place among all events."""
    ts = [part.ts for part in fields.parts() if len(part)]
    problems: dict[int, Problem] = {}
    predictions = features = None
    try:
        predictions = _predictions(fields.predictions, decoder) if len(fields.predictions) else None
    except BadFeatures as error:
        problems |= {int(fields.predictions.order[place]): one for place, one in error.problems.items()}
    try:
        features = _features(fields.features, decoder) if len(fields.features) else None
    except BadFeatures as error:
        problems |= {int(fields.features.order[place]): one for place, one in error.problems.items()}
    if problems:
        raise BadFeatures(problems)
    labels = _labels(fields.labels) if len(fields.labels) else None
    return Rows(predictions, labels, features, max((float(times.max()) for times in ts), default=0.0))


def _predictions(fields: Fields, decoder: FeatureDecoder) -> Predictions:
    columns, with_features = _columns(fields, decoder)
    values: Sequence[Any] = fields.predictions
    if None in values:
        values = [
            from_score(score) if value is None else value for value, score in zip(values, fields.scores, strict=True)
        ]
    by_class = None
    try:
        scores = np.array(fields.scores, dtype=np.float64)
    except TypeError:  # probabilities by class
        scores = np.array([score_value(score) for score in fields.scores], dtype=np.float64)
        by_class = [score if isinstance(score, dict) else None for score in fields.scores]
    return Predictions(
        fields.order,
        _ids(fields.ids),
        fields.ts,
        _texts(fields.versions),
        fields.segments,
        values,
        scores,
        by_class,
        columns,
        with_features,
    )


def _columns(fields: Fields, decoder: FeatureDecoder) -> tuple[dict[str, Column], NDArray[np.int64] | None]:
    if fields.known is None:
        return decoder(fields.features)
    assert fields.known is decoder  # noqa: S101 (nothing makes another between decoding and here)
    columns: tuple[dict[str, Column], NDArray[np.int64] | None] = decoder.of_rows(fields.features)
    return columns


def _labels(fields: Fields) -> Labels:
    return Labels(fields.order, [one or "" for one in _texts(fields.ids)], fields.ts, fields.labels)


def _features(fields: Fields, decoder: FeatureDecoder) -> FeatureRows:
    columns, places = _columns(fields, decoder)
    assert places is None  # noqa: S101 (a features event without features is none)
    return FeatureRows(fields.order, _ids(fields.ids), fields.ts, columns)


def _texts(values: Sequence[str | float | None]) -> Sequence[str | None]:
    if set(map(type, values)) <= {str, type(None)}:
        return values  # type: ignore[return-value]  # no number among them
    return [None if one is None else as_text(one) for one in values]


def _ids(values: Sequence[str | float | None]) -> Sequence[str | None]:
    texts = _texts(values)
    return [one or None for one in texts] if "" in texts else texts
