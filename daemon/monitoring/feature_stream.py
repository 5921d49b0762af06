"""A model's features: of which types they are, which are watched, and the rows of the stream that they make."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.events.columns import Column, FeatureDecoder, typed
from daemon.events.rows import FeatureRows, Predictions
from daemon.monitoring.options import MonitorOptions
from daemon.monitoring.recent import SeenIds
from daemon.monitoring.schema import FEATURE_PREFIX, Schema, appeared, choose, kinds_of_new, learn
from daemon.monitoring.window import Window
from detectors.base import Verdict
from detectors.columns import Columns, Stream, concatenate

Part = tuple[NDArray[np.int64], Columns]
"""Columns, with the place of each row among the events of its batch."""


class FeatureStream:
    """Features that come in predictions, and those that come as events of their own, as one stream of rows."""

    def __init__(self, options: MonitorOptions, window: Window) -> None:
        self.options = options
        self.window = window
        self.schema: Schema = {}
        self.seen = SeenIds(options.max_waiting)
        self.decoder = FeatureDecoder(limits=options.limits, most=options.most_features)

    def fit_decoder(self) -> None:
        """Decode features into the types of the schema, once there is a reference that fixes them."""
        schema = None if self.window.learning else self.schema
        self.decoder = FeatureDecoder(schema, self.options.limits, self.options.most_features)

    def new(self, rows: FeatureRows | None) -> tuple[FeatureRows | None, int]:
        """The rows that were not met before, and how many were."""
        places = None if rows is None else self.seen.take(rows.ids)
        if rows is None or places is None:
            return rows, 0
        return rows.at(places), len(rows.ids) - len(places)

    def typed(
        self, predictions: Predictions | None, apart: FeatureRows | None
    ) -> tuple[Predictions | None, FeatureRows | None]:
        """The same with a type for each feature: that of the schema, or of the values that bring it."""
        schema: Schema = {}
        if not self.window.learning:
            parts: list[tuple[NDArray[np.int64], dict[str, Column]]] = []
            if predictions is not None:
                which = predictions.with_features
                parts.append((predictions.order if which is None else predictions.order[which], predictions.features))
            if apart is not None:
                parts.append((apart.order, apart.features))
            news = kinds_of_new(parts, self.schema)
            schema = self.schema | news if news else self.schema
        if predictions is not None:
            predictions = replace(predictions, features=typed(predictions.features, schema))
        if apart is not None:
            apart = replace(apart, features=typed(apart.features, schema))
        return predictions, apart

    def take(
        self,
        predictions: Predictions | None,
        rows: NDArray[np.int64],
        segments: NDArray[np.int64] | None,
        apart: FeatureRows | None,
        before: NDArray[Any],
    ) -> list[Verdict]:
        """Take in what ``typed`` gave, and say which features have appeared.

        ``rows`` and ``segments`` are those of the predictions, ``before`` the next one's row for each of the others.
        """
        parts: list[Part] = []
        if predictions is not None and (predictions.with_features is None or len(predictions.with_features)):
            which = slice(None) if predictions.with_features is None else predictions.with_features
            columns = _columns(rows[which], predictions.ts[which], predictions.features)
            if segments is not None:
                columns = replace(columns, segments=segments[which])
            parts.append((predictions.order[which], columns))
        if apart is not None:
            parts.append((apart.order, _columns(before, apart.ts, apart.features)))
        return self._judge(_in_order(parts)) if parts else []

    def _judge(self, columns: Columns) -> list[Verdict]:
        options = self.options
        news: list[Verdict] = []
        if self.window.learning:
            learn(self.schema, columns, options.most_features)
        else:
            news = appeared(self.schema, columns)
            if news:
                self.fit_decoder()
        self.window.take(choose(columns, self.schema, options.features, options.exclude))
        if not self.window.learning and not self.decoder.schema:
            self.fit_decoder()
        return news


def features_of(predictions: Predictions | None, rows: NDArray[np.int64]) -> Columns | None:
    """The features that came with predictions, which have these rows."""
    if predictions is None or not predictions.features:
        return None
    which = predictions.with_features
    if which is None:
        return _columns(rows, predictions.ts, predictions.features)
    return _columns(rows[which], predictions.ts[which], predictions.features) if len(which) else None


def _columns(rows: NDArray[np.int64], ts: NDArray[np.float64], features: dict[str, Column]) -> Columns:
    return Columns(Stream.FEATURES, rows, ts, {FEATURE_PREFIX + name: column for name, column in features.items()})


def _in_order(parts: list[Part]) -> Columns:
    if len(parts) == 1:
        return parts[0][1]
    columns = concatenate([columns for _, columns in parts])
    return columns.at(np.argsort(np.concatenate([order for order, _ in parts]), kind="stable"))
