"""One model: its rows numbered, joined, counted and judged."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon import tasks
from daemon.columns import CATEGORY, NUMBER, FeatureDecoder
from daemon.labels import Joined, LabelJoin
from daemon.performance import Performance
from daemon.rows import FeatureRows, Labels, Predictions, Rows
from daemon.tasks import Task
from daemon.window import Window
from detectors.base import Detector, Kind, Severity, Verdict
from detectors.columns import Columns, Stream, concatenate
from detectors.reference import FIRST_BIN, Reference

FEATURE_PREFIX = "feature:"
SCHEMA_DETECTOR = "schema"


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


@dataclass(slots=True)
class Findings:
    """What has come of a model's rows since the last checkpoint."""

    verdicts: list[Verdict] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    predictions: list[tuple[Predictions, NDArray[np.int64]]] = field(default_factory=list)
    labels: list[tuple[Labels, NDArray[np.int64]]] = field(default_factory=list)
    features: list[FeatureRows] = field(default_factory=list)
    afresh: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)  # met for the first time


class Monitor:
    """Everything that is known of one model while it runs.

    ``take`` depends only on the rows that it is given and their order, not on how they were cut into batches.
    """

    def __init__(
        self, model: str, options: MonitorOptions, build: Callable[[Reference], Sequence[Detector]]
    ) -> None:
        self.model = model
        self.options = options
        self.task = options.task
        self.version: str | None = None
        self.from_row = 0  # unstamped rows before this one were served by an earlier version
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
                prepare=self._decide_task if stream is Stream.PREDICTION else None,
            )
            for stream in Stream
        }
        self.labels = LabelJoin(options.max_waiting)
        self.seen_features = LabelJoin(options.max_waiting)
        self.performance = Performance(options.performance_rows)
        self.findings = Findings()
        self.schema: dict[str, str] = {}
        self.decoder = FeatureDecoder()
        self._known_versions: set[str | None] = {None}
        self.undecided: list[Joined] = []

    def take(self, rows: Rows, arrival: float) -> None:
        """Take in a batch; what comes of it is added to ``findings``."""
        self.last_ts = max(self.last_ts, rows.last_ts)
        self.last_arrival = arrival
        if self.first_ts is None:
            self.first_ts = rows.last_ts
        joined = Joined()
        before = self.rows
        order = np.empty(0, dtype=np.int64)
        parts: list[tuple[NDArray[np.int64], Columns]] = []
        if rows.predictions is not None:
            fresh = self._take_predictions(rows.predictions, joined, parts)
            order = fresh.order
        if rows.features is not None:
            self._take_features(rows.features, before, order, parts)
        self._judge(Stream.FEATURES, _in_order(parts))
        self._meet_features()
        if rows.labels is not None:
            self._take_labels(rows.labels, before, order, joined)
        self._take_outcomes(joined, before, order)
        self.labels.forget(self.rows)
        self.seen_features.forget(self.rows)

    # --- predictions

    def _take_predictions(
        self, predictions: Predictions, joined: Joined, parts: list[tuple[NDArray[np.int64], Columns]]
    ) -> Predictions:
        places = self.labels.new_predictions(predictions.ids, self.rows)
        if places is not None:
            self.findings.counts["duplicates"] += len(predictions) - len(places)
            predictions = predictions.at(places)
        count = len(predictions)
        numbers = np.arange(self.rows, self.rows + count)
        self.rows += count
        self.findings.counts["prediction"] += count
        self.findings.predictions.append((predictions, numbers))
        self._meet_versions(predictions.versions)
        self.labels.add_predictions(
            predictions.order.tolist(), predictions.ids, numbers.tolist(), predictions.values, predictions.versions, joined
        )
        if predictions.features:
            which = slice(None) if predictions.with_features is None else predictions.with_features
            parts.append(
                (
                    predictions.order[which],
                    self._feature_columns(numbers[which], predictions.ts[which], predictions.features),
                )
            )
        in_service = self._in_service(predictions.versions)
        values: dict[str, NDArray[Any]] = {"prediction": tasks.column(predictions.values, self.task)}
        if self._scored(predictions):
            values["score"] = predictions.scores
        columns = Columns(Stream.PREDICTION, numbers, predictions.ts, values)
        self._judge(Stream.PREDICTION, columns if in_service is None else _only(columns, in_service))
        return predictions

    def _scored(self, predictions: Predictions) -> bool:
        reference = self.windows[Stream.PREDICTION].reference
        if reference is not None:
            return "score" in reference.signals
        return bool(np.isfinite(predictions.scores).any())

    def _decide_task(self, columns: Columns) -> Columns:
        """The first predictions are in: from them the task, and the form that predictions have from now on."""
        if self.task is None:
            self.task = tasks.infer(columns.values["prediction"].tolist(), scored="score" in columns.values)
        values = dict(columns.values)
        values["prediction"] = tasks.column(columns.values["prediction"].tolist(), self.task)
        return replace(columns, values=values)

    def _meet_versions(self, versions: Sequence[str | None]) -> None:
        unknown = set(versions) - self._known_versions
        if unknown:
            for version in dict.fromkeys(versions):
                if version in unknown and version is not None:
                    self.findings.versions.append(version)
                    self.version = version
                    self._known_versions.add(version)

    def know_versions(self, versions: Sequence[str]) -> None:
        """These versions are in the registry: meeting them is no news."""
        self._known_versions.update(versions)

    def _in_service(self, versions: Sequence[str | None]) -> NDArray[np.int64] | None:
        """The places of rows made by the version in service or by none named; None for all."""
        if set(versions) <= {None, self.version}:
            return None
        return np.array([place for place, one in enumerate(versions) if one in (None, self.version)], dtype=np.int64)

    # --- features

    def _take_features(
        self,
        rows: FeatureRows,
        before: int,
        predicted: NDArray[np.int64],
        parts: list[tuple[NDArray[np.int64], Columns]],
    ) -> None:
        places = self.seen_features.new_predictions(rows.ids, self.rows)
        if places is not None:
            self.findings.counts["duplicates"] += len(rows.ids) - len(places)
            rows = rows.at(places)
        numbers = before + np.searchsorted(predicted, rows.order)
        nothing = [None] * len(rows.ids)
        self.seen_features.add_predictions(rows.order.tolist(), rows.ids, numbers.tolist(), nothing, nothing, Joined())
        self.findings.counts["features"] += len(rows.ids)
        self.findings.features.append(rows)
        parts.append((rows.order, self._feature_columns(numbers, rows.ts, rows.features)))

    def _feature_columns(
        self, numbers: NDArray[np.int64], ts: NDArray[np.float64], features: dict[str, NDArray[Any]]
    ) -> Columns:
        if self.windows[Stream.FEATURES].learning:
            for name, column in features.items():
                kind = CATEGORY if column.dtype == object else NUMBER
                if self.schema.get(name) != CATEGORY and len(self.schema) < self.options.most_features:
                    self.schema[name] = kind
        chosen, left_out = self.options.features, self.options.exclude
        values = {
            FEATURE_PREFIX + name: column
            for name, column in features.items()
            if (chosen is None or name in chosen) and name not in left_out
        }
        return Columns(Stream.FEATURES, numbers, ts, values)

    # --- labels and outcomes

    def _take_labels(self, labels: Labels, before: int, predicted: NDArray[np.int64], joined: Joined) -> None:
        next_rows = before + np.searchsorted(predicted, labels.order)
        counts = self.labels.add_labels(labels.order.tolist(), labels.ids, labels.values, next_rows.tolist(), joined)
        self.findings.counts["duplicates"] += counts.duplicates
        self.findings.counts["revised"] += counts.revised
        self.findings.counts["label"] += len(labels.ids) - counts.duplicates - counts.revised
        self.findings.labels.append((labels, next_rows))
        self.last_label_arrival = self.last_arrival
        self.last_label_ts = max(self.last_label_ts or 0.0, float(labels.ts.max()))

    def _take_outcomes(self, joined: Joined, before: int, predicted: NDArray[np.int64]) -> None:
        if joined.order:
            joined.sort()
            self.findings.counts["joined"] += len(joined.order)
            # while the row of the prediction tells where the change began, an alarm is raised at the row of the day
            joined.order = (before + np.searchsorted(predicted, np.array(joined.order), side="right") - 1).tolist()
            self.undecided.append(joined)
        if self.task is None:
            return
        for pairs in self.undecided:
            self._judge_outcomes(pairs, self.task)
        self.undecided = []

    def _judge_outcomes(self, pairs: Joined, task: Task) -> None:
        rows = np.array(pairs.rows, dtype=np.int64)
        stamped = [version is not None for version in pairs.versions]
        in_service = self._in_service(pairs.versions)
        keep = np.ones(len(rows), dtype=bool)
        if in_service is not None:
            keep[:] = False
            keep[in_service] = True
        keep &= (rows >= self.from_row) | np.array(stamped)
        labels = tasks.column(pairs.labels, task)
        errors = tasks.error(tasks.column(pairs.predictions, task), labels, task)
        columns = _only(
            Columns(
                Stream.OUTCOME, rows, np.full(len(rows), self.last_ts), {"label": labels, "error": errors}
            ),
            np.flatnonzero(keep),
        )
        self.performance.add(columns.values["error"].tolist())
        raised_at = dict(zip(pairs.rows, pairs.order, strict=True))
        for verdict in self.windows[Stream.OUTCOME].take(columns):
            self.findings.verdicts.append(replace(verdict, row=raised_at.get(verdict.row, self.rows - 1)))

    def _judge(self, stream: Stream, columns: Columns | None) -> None:
        if columns is None or not len(columns):
            return
        window = self.windows[stream]
        self.findings.verdicts += window.take(columns)

    def _meet_features(self) -> None:
        """Once the reference is there, features are decoded into its types; one that appears later is said once."""
        if self.windows[Stream.FEATURES].learning:
            return
        if not self.decoder.schema:
            self.fit_decoder()
        for name, kind in self.decoder.unknown.items():
            self.schema[name] = kind
            self.findings.verdicts.append(
                Verdict(
                    Kind.QUALITY,
                    FEATURE_PREFIX + name,
                    SCHEMA_DETECTOR,
                    Severity.WARNING,
                    self.rows - 1,
                    self.last_ts,
                    self.rows - 1,
                    self.last_ts,
                    {"appeared": True, "feature": name, "type": kind},
                )
            )
        if self.decoder.unknown:
            self.fit_decoder()

    def fit_decoder(self) -> None:
        """Decode features into the types of the schema, once there is a reference that fixes them."""
        learned = not self.windows[Stream.FEATURES].learning
        self.decoder = FeatureDecoder(self.schema if learned else None)

    # --- another version, another reference

    def adopt(self, version: str | None, references: dict[Stream, Reference | None]) -> None:
        """Go on with another version: its references replace those given, its performance begins afresh."""
        self.version = version
        self._known_versions.add(version)
        self.from_row = self.rows
        self.performance.clear()
        for stream, reference in references.items():
            self.windows[stream].adopt(reference)
        self.fit_decoder()

    def restore(self, state: dict[str, Any], task: str | None) -> None:
        """Go on from what a checkpoint stored."""
        self.task = Task(task) if task is not None else self.options.task
        self.from_row = state["from_row"]
        self.performance.restore(state["performance"])
        self.schema = dict(state["schema"])
        self.undecided = [Joined(**pairs) for pairs in state["undecided"]]
        self._known_versions.add(self.version)

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


def _only(columns: Columns, places: NDArray[np.int64]) -> Columns:
    values = {name: column[places] for name, column in columns.values.items()}
    return Columns(columns.stream, columns.rows[places], columns.ts[places], values)


def _in_order(parts: list[tuple[NDArray[np.int64], Columns]]) -> Columns | None:
    if len(parts) < 2:  # noqa: PLR2004 (one part is in order)
        return parts[0][1] if parts else None
    columns = concatenate([columns for _, columns in parts])
    return _only(columns, np.argsort(np.concatenate([order for order, _ in parts]), kind="stable"))
