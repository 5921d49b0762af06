"""One model: its rows numbered, joined, counted and judged."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon import tasks
from daemon.columns import FeatureDecoder, typed
from daemon.event_rules import EventLimits
from daemon.labels import LabelJoin
from daemon.pairs import Pairs, only, pairs_of
from daemon.performance import Performance
from daemon.recent import SeenIds
from daemon.rows import FeatureRows, Labels, Predictions, Rows
from daemon.schema import FEATURE_PREFIX, appeared, choose, kinds_of, kinds_of_new, learn
from daemon.serving import Serving
from daemon.tasks import Task
from daemon.window import Window
from detectors.base import Detector, Verdict
from detectors.columns import Columns, Stream, concatenate
from detectors.reference import FIRST_BIN, Reference

__all__ = ["FEATURE_PREFIX", "Findings", "Monitor", "MonitorOptions"]


@dataclass(frozen=True, slots=True)
class MonitorOptions:
    """What of the settings a monitor needs."""

    reference_rows: int = 2_000
    window_rows: int = 10
    bins: int = 20
    max_waiting: int = 200_000
    performance_rows: int = 2_000
    task: Task | None = None
    features: frozenset[str] | None = None
    exclude: frozenset[str] = frozenset()
    most_features: int = 2_000
    limits: EventLimits = EventLimits()


@dataclass(slots=True)
class Findings:
    """What has come of a model's rows since the last checkpoint."""

    verdicts: list[Verdict] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    predictions: list[tuple[Predictions, NDArray[np.int64]]] = field(default_factory=list)  # with their rows
    labels: list[tuple[Labels, NDArray[np.int64]]] = field(default_factory=list)  # with the rows of their predictions
    features: list[FeatureRows] = field(default_factory=list)
    afresh: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)  # met for the first time


class Monitor:
    """Everything that is known of one model while it runs.

    ``take`` depends only on the rows that it is given and their order, not on how they were cut into batches.
    """

    def __init__(self, model: str, options: MonitorOptions, build: Callable[[Reference], Sequence[Detector]]) -> None:
        self.model = model
        self.options = options
        self.task = options.task
        self.serving = Serving()
        self.rows = 0
        self.first_ts: float | None = None
        self.last_ts = 0.0
        self.last_label_ts: float | None = None
        self.last_arrival = 0.0
        self.last_label_arrival: float | None = None
        self.windows = {
            stream: Window(
                stream,
                build,
                options.reference_rows,
                1 if stream is Stream.OUTCOME else options.window_rows,
                options.bins,
                prepare=self._prepare_predictions if stream is Stream.PREDICTION else None,
            )
            for stream in Stream
        }
        self.labels = LabelJoin(options.max_waiting)
        self.seen_features = SeenIds(options.max_waiting)
        self.performance = Performance(options.performance_rows)
        self.findings = Findings()
        self.judged = 0  # pairs of prediction and label so far
        self.schema: dict[str, str] = {}
        self.decoder = FeatureDecoder(limits=options.limits, most=options.most_features)
        self._undecided: list[Pairs] = []  # the task is not known yet

    @property
    def version(self) -> str | None:
        """The version in service."""
        return self.serving.version

    def take(self, rows: Rows, arrival: float) -> None:
        """Take in a batch; what comes of it is added to ``findings``."""
        self.last_arrival = arrival
        for piece in self._pieces(rows):
            self._take(piece)

    def _pieces(self, rows: Rows) -> Iterator[Rows]:
        """Cut a batch where a version is met, so that what came before it is still judged by the one before."""
        rest = rows
        while rest.predictions is not None:
            place = self.serving.unknown(rest.predictions.versions)
            if place is None:
                break
            order = int(rest.predictions.order[place])
            yield rest.between(-np.inf, order)
            yield rest.between(order, order + 1)
            rest = rest.between(order + 1, np.inf)
        yield rest

    def _take(self, rows: Rows) -> None:
        parts = [part for part in rows.parts() if part is not None and len(part.order)]
        if not parts:
            return
        if self.first_ts is None:
            self.first_ts = float(min(parts, key=lambda part: int(part.order[0])).ts[0])
        self.last_ts = max(self.last_ts, *(float(part.ts.max()) for part in parts))
        first_row = self.rows
        predictions, apart = self._typed(self._new_predictions(rows.predictions), self._new_features(rows.features))
        features: list[tuple[NDArray[np.int64], Columns]] = []
        if predictions is not None:
            self._take_predictions(predictions, features)
        order = np.empty(0) if predictions is None else predictions.order
        if apart is not None:
            self._take_features(apart, first_row, order, features)
        self._judge_features(features)
        self._join(predictions, rows.labels, first_row, order)

    # --- what is new, and of which type

    def _new_predictions(self, predictions: Predictions | None) -> Predictions | None:
        places = None if predictions is None else self.labels.fresh(predictions.ids)
        if predictions is None or places is None:
            return predictions
        self.findings.counts["duplicates"] += len(predictions) - len(places)
        return predictions.at(places)

    def _new_features(self, rows: FeatureRows | None) -> FeatureRows | None:
        places = None if rows is None else self.seen_features.take(rows.ids)
        if rows is None or places is None:
            return rows
        self.findings.counts["duplicates"] += len(rows.ids) - len(places)
        return rows.at(places)

    def _typed(
        self, predictions: Predictions | None, apart: FeatureRows | None
    ) -> tuple[Predictions | None, FeatureRows | None]:
        schema: dict[str, str] = {}
        if not self.windows[Stream.FEATURES].learning:
            parts = []
            if predictions is not None:
                which = predictions.with_features
                parts.append((predictions.order if which is None else predictions.order[which], predictions.features))
            if apart is not None:
                parts.append((apart.order, apart.features))
            schema = self.schema | kinds_of_new(parts, self.schema)
        if predictions is not None:
            predictions = replace(predictions, features=typed(predictions.features, schema))
        if apart is not None:
            apart = replace(apart, features=typed(apart.features, schema))
        return predictions, apart

    # --- predictions

    def _take_predictions(self, predictions: Predictions, features: list[tuple[NDArray[np.int64], Columns]]) -> None:
        count = len(predictions)
        numbers = np.arange(self.rows, self.rows + count)
        self.rows += count
        self.findings.counts["prediction"] += count
        self.findings.predictions.append((predictions, numbers))
        met = self.serving.meet(predictions.versions)
        if met is not None:
            self.findings.versions.append(met)
        if predictions.with_features is None or len(predictions.with_features):
            which = slice(None) if predictions.with_features is None else predictions.with_features
            features.append(
                (predictions.order[which], _features(numbers[which], predictions.ts[which], predictions.features))
            )
        values: dict[str, NDArray[Any]] = {"prediction": tasks.column(predictions.values, self.task)}
        if self._scored(predictions):
            values["score"] = predictions.scores
        columns = Columns(Stream.PREDICTION, numbers, predictions.ts, values)
        own = self.serving.own(predictions.versions)
        self.findings.verdicts += self.windows[Stream.PREDICTION].take(columns if own is None else only(columns, own))

    def _scored(self, predictions: Predictions) -> bool:
        reference = self.windows[Stream.PREDICTION].reference
        if reference is not None:
            return "score" in reference.signals
        return bool(np.isfinite(predictions.scores).any())

    def _prepare_predictions(self, learning: Columns) -> Callable[[Columns], Columns]:
        """The first predictions are in: from them the task, and the form that predictions have from now on."""
        if self.task is None:
            self.task = tasks.infer(learning.values["prediction"].tolist(), scored="score" in learning.values)
        task = self.task

        def prepare(columns: Columns) -> Columns:
            values = columns.values | {"prediction": tasks.column(columns.values["prediction"].tolist(), task)}
            return replace(columns, values=values)

        return prepare

    # --- features

    def _take_features(
        self,
        rows: FeatureRows,
        first_row: int,
        predicted: NDArray[Any],
        features: list[tuple[NDArray[np.int64], Columns]],
    ) -> None:
        self.findings.counts["features"] += len(rows.ids)
        self.findings.features.append(rows)
        numbers = first_row + np.searchsorted(predicted, rows.order)
        features.append((rows.order, _features(numbers, rows.ts, rows.features)))

    def _judge_features(self, parts: list[tuple[NDArray[np.int64], Columns]]) -> None:
        columns = _in_order(parts)
        window = self.windows[Stream.FEATURES]
        if columns is None or not len(columns):
            return
        options = self.options
        if window.learning:
            learn(self.schema, columns, options.most_features)
        else:
            news = appeared(self.schema, columns)
            if news:
                self.findings.verdicts += news
                self.fit_decoder()
        self.findings.verdicts += window.take(choose(columns, self.schema, options.features, options.exclude))
        if not window.learning and not self.decoder.schema:
            self.fit_decoder()

    def fit_decoder(self) -> None:
        """Decode features into the types of the schema, once there is a reference that fixes them."""
        learned = not self.windows[Stream.FEATURES].learning
        options = self.options
        self.decoder = FeatureDecoder(self.schema if learned else None, options.limits, options.most_features)

    # --- labels and outcomes

    def _join(
        self, predictions: Predictions | None, labels: Labels | None, first_row: int, predicted: NDArray[Any]
    ) -> None:
        counts = self.findings.counts
        next_rows = first_row + np.searchsorted(predicted, np.empty(0) if labels is None else labels.order)
        joined = self.labels.join(
            *(((), (), ()) if predictions is None else (predictions.ids, predictions.values, predictions.versions)),
            *(() if labels is None else (labels.ids, labels.values, next_rows.tolist())),
        )
        if labels is not None and len(labels.ids):
            counts["duplicates"] += joined.duplicates
            counts["revised"] += joined.revised
            counts["label"] += len(labels.ids) - joined.duplicates - joined.revised
            self.findings.labels.append((labels, np.array(joined.label_rows, dtype=np.int64)))
            self.last_label_arrival = self.last_arrival
            self.last_label_ts = max(self.last_label_ts or 0.0, float(labels.ts.max()))
        if joined.rows:
            counts["joined"] += len(joined.rows)
            self._undecided.append(pairs_of(joined, first_row, next_rows, predictions, labels))
        if self.task is not None:
            for pairs in self._undecided:
                self._judge_outcomes(pairs, self.task)
            self._undecided = []

    def _judge_outcomes(self, pairs: Pairs, task: Task) -> None:
        columns = pairs.columns(task, self.serving)
        self.performance.add(columns.values["error"])
        verdicts = self.windows[Stream.OUTCOME].take(columns)
        if verdicts:
            # while the row of the prediction tells where a change began, an alarm is raised at the row of the day
            at = dict(zip(pairs.rows, pairs.at, strict=True))
            # and how many labels had come by then, for many more may be in the same checkpoint
            joined = {row: self.judged + place + 1 for place, row in enumerate(pairs.rows)}
            self.findings.verdicts += [
                replace(
                    one,
                    row=at.get(one.row, self.rows - 1),
                    evidence={**one.evidence, "joined": joined.get(one.row, self.judged)},
                )
                for one in verdicts
            ]
        self.judged += len(pairs.rows)

    def undecided(self) -> list[tuple[Any, ...]]:
        """Pairs that wait for the task to be known."""
        return [pair for pairs in self._undecided for pair in pairs.each()]

    # --- how much may be taken at once

    def until_learned(self) -> tuple[int, int] | None:
        """How many rows with features, and how many predictions, are missing from the references; None for none.

        What follows is decoded in the light of the reference: a batch is to be cut there.
        """
        features, predictions = self.windows[Stream.FEATURES].missing, self.windows[Stream.PREDICTION].missing
        return (features, predictions) if features or predictions else None

    # --- another version, another reference

    def know_versions(self, versions: Iterable[str]) -> None:
        """These versions are in the registry: meeting them is no news."""
        self.serving.know(versions)

    def adopt(self, version: str | None, references: dict[Stream, Reference | None]) -> None:
        """Go on with another version: its references replace those given, its performance begins afresh."""
        self.serving.go_on_with(version, self.rows)
        self.performance.clear()
        for stream, reference in references.items():
            self.windows[stream].adopt(reference)
            if stream is Stream.FEATURES:
                self.schema = {} if reference is None else self.schema | kinds_of(reference)
        self.fit_decoder()

    def state(self) -> dict[str, Any]:
        """What has no place of its own in a checkpoint, as values that msgpack can hold."""
        return {
            "judged": self.judged,
            "from_row": self.serving.from_row,
            "version": self.serving.version,
            "versions": self.serving.known(),
            "performance": self.performance.state(),
            "schema": self.schema,
            "undecided": [msgspec.to_builtins(pairs) for pairs in self._undecided],
            "last_label_arrival": self.last_label_arrival,
        }

    def restore(self, state: dict[str, Any], task: str | None) -> None:
        """Go on from what a checkpoint stored."""
        self.task = Task(task) if task is not None else self.options.task
        self.serving.know(state["versions"])
        self.serving.go_on_with(state["version"], state["from_row"])
        self.judged = state["judged"]
        self.performance.restore(state["performance"])
        self.schema = dict(state["schema"])
        self._undecided = [Pairs(**pairs) for pairs in state["undecided"]]
        self.last_label_arrival = state["last_label_arrival"]

    def take_findings(self) -> Findings:
        """What has come since the last call."""
        findings, self.findings = self.findings, Findings()
        return findings

    def reference_error(self) -> float | None:
        """Mean error of the reference."""
        reference = self.windows[Stream.OUTCOME].reference
        if reference is None or "error" not in reference.signals:
            return None
        return mean_of(reference, "error")


def mean_of(reference: Reference, signal: str, counts: NDArray[np.int64] | None = None) -> float | None:
    """The mean of a number's bins, weighted by ``counts`` (the reference's own where none are given)."""
    place = reference.signals.index(signal)
    values = getattr(reference.bins[place], "values", None)
    if values is None:
        return None
    weights = (reference.counts if counts is None else counts)[place, FIRST_BIN : FIRST_BIN + len(values)]
    total = weights.sum()
    return float(weights @ values / total) if total else None


def _features(rows: NDArray[np.int64], ts: NDArray[np.float64], features: dict[str, NDArray[Any]]) -> Columns:
    return Columns(Stream.FEATURES, rows, ts, {FEATURE_PREFIX + name: column for name, column in features.items()})


def _in_order(parts: list[tuple[NDArray[np.int64], Columns]]) -> Columns | None:
    if len(parts) < 2:  # noqa: PLR2004 (one part is in order)
        return parts[0][1] if parts else None
    columns = concatenate([columns for _, columns in parts])
    return only(columns, np.argsort(np.concatenate([order for order, _ in parts]), kind="stable"))
