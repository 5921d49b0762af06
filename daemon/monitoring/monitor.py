"""One model: its rows numbered, joined, counted and judged."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daemon.events.columns import FeatureDecoder
from daemon.events.rows import Labels, Predictions, Rows
from daemon.monitoring import tasks
from daemon.monitoring.estimate_stream import EstimateStream, Labelled
from daemon.monitoring.feature_stream import FeatureStream, features_of
from daemon.monitoring.findings import LABELS_LATER, Findings
from daemon.monitoring.judgement import Judgement
from daemon.monitoring.labels import LabelJoin, NewLabels, NewPredictions
from daemon.monitoring.options import MonitorOptions
from daemon.monitoring.pairs import Pairs, pairs_of
from daemon.monitoring.performance import Performance
from daemon.monitoring.recent import SeenIds
from daemon.monitoring.schema import Schema, kinds_of
from daemon.monitoring.second_looks import SecondLooks
from daemon.monitoring.segment_fields import SegmentFields
from daemon.monitoring.segment_report import report
from daemon.monitoring.segments import SegmentWatch, StreamSegments
from daemon.monitoring.serving import Serving
from daemon.monitoring.tasks import Task
from daemon.monitoring.undecided import Undecided
from daemon.monitoring.window import Build, Window
from detectors.columns import Columns, Stream
from detectors.reference import Reference
from detectors.regimes import MOST_REGIMES, Regime

JUDGED_AT_ONCE: Final = 4_000
"""Rows that wait, at most, before they are judged: as many as fit in a processor's cache."""


class Monitor:
    """Everything that is known of one model while it runs.

    What comes of rows depends only on the rows and their order, not on how they were cut into batches.
    """

    def __init__(
        self, model: str, options: MonitorOptions, build: Build, watch_segments: SegmentWatch | None = None
    ) -> None:
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
        self.segment_fields: SegmentFields | None = None
        if options.segments and watch_segments is not None:
            self.segment_fields = SegmentFields(options.segments, options.reference_rows)
        self.windows = {
            stream: Window(
                stream,
                build,
                options.reference_rows,
                1 if stream is Stream.OUTCOME else options.window_rows,
                options.bins,
                prepare=self._prepare_predictions if stream is Stream.PREDICTION else None,
                segments=self._segments(stream, watch_segments),
            )
            for stream in Stream
        }
        self.features = FeatureStream(options, self.windows[Stream.FEATURES])
        self.labels = LabelJoin(options.max_waiting)
        self.performance = Performance(options.performance_rows, options.positive)
        self.estimate: EstimateStream | None = None
        if options.estimates is not None:
            self.estimate = EstimateStream(options.estimates, options.max_waiting)
        self.findings = Findings()
        self.regimes: tuple[Regime, ...] = ()
        self._regime_version: str | None = None  # that served while the reference was learned
        self._judgement = Judgement(self.windows)
        self._whole_rows = 0  # rows of which all streams have been given what came with them
        self._undecided = Undecided()

    def _segments(self, stream: Stream, watch: SegmentWatch | None) -> StreamSegments | None:
        if self.segment_fields is None or watch is None:
            return None
        rows = self.options.reference_rows
        return StreamSegments(stream, self.segment_fields, rows, watch.detector, watch.gap(stream))

    @property
    def version(self) -> str | None:
        """The version in service."""
        return self.serving.version

    @property
    def decoder(self) -> FeatureDecoder:
        """How the features of the next rows are to be decoded."""
        return self.features.decoder

    @property
    def schema(self) -> Schema:
        """The features and their types."""
        return self.features.schema

    @schema.setter
    def schema(self, schema: Schema) -> None:
        self.features.schema = schema

    @property
    def seen_features(self) -> SeenIds:
        """The ids of features that came as events of their own."""
        return self.features.seen

    # --- rows

    def take(self, rows: Rows, arrival: float) -> None:
        """Take in a batch; what comes of it is in ``findings`` once it is judged."""
        self.last_arrival = arrival
        for piece in self._pieces(rows):
            self._take(piece)
        if any(window.waiting >= JUDGED_AT_ONCE for window in self.windows.values()):
            self.judge()

    def _pieces(self, rows: Rows) -> Iterator[Rows]:
        """Cut a batch where a version may take over, so that what came before still counts for the one before."""
        predictions, start, begin = rows.predictions, 0, -np.inf
        while predictions is not None:
            start_of_next = self.serving.until(predictions.versions, start)
            if start_of_next is None:
                break
            start, end = start_of_next, int(predictions.order[start_of_next - 1]) + 1
            yield rows.between(begin, end)
            begin = end
        yield rows if start == 0 else rows.between(begin, np.inf)

    def _take(self, rows: Rows) -> None:
        parts = [part for part in rows.parts() if part is not None and len(part.order)]
        if not parts:
            return
        if self.first_ts is None:
            self.first_ts = float(min(parts, key=lambda part: int(part.order[0])).ts[0])
        self.last_ts = max(self.last_ts, *(float(part.ts.max()) for part in parts))
        first = self.rows
        if self.estimate is not None:
            # a batch ends where a reference is complete: what follows is known from here on
            self.estimate.begin(self.task, self.windows, first)
        predictions = self._new_predictions(rows.predictions)
        apart, met_before = self.features.new(rows.features)
        predictions, apart = self.features.typed(predictions, apart)
        segments = None
        if predictions is not None and self.segment_fields is not None:
            segments = self.segment_fields.take(predictions, first)
        order: NDArray[Any] = np.empty(0) if predictions is None else predictions.order
        numbers = np.arange(first, self.rows)
        made = None if predictions is None else self._take_predictions(predictions, numbers, segments)
        if apart is not None:
            self.findings.counts["duplicates"] += met_before
            self.findings.counts["features"] += len(apart.ids)
            self.findings.features.append(apart)
        before = np.empty(0, dtype=np.int64) if apart is None else first + np.searchsorted(order, apart.order)
        self.findings.verdicts += self.features.take(predictions, numbers, segments, apart, before)
        labelled = self._join(predictions, segments, rows.labels, first, order)
        if self.estimate is not None:
            self.estimate.take(made, features_of(predictions, numbers), labelled)
        self._whole_rows = self.rows
        if predictions is not None:
            self._serves(self.serving.count(predictions.versions))

    # --- predictions

    def _new_predictions(self, predictions: Predictions | None) -> Predictions | None:
        """Those that were not met before; each gets a row."""
        if predictions is None:
            return None
        places = self.labels.number(predictions.ids)
        if places is not None:
            self.findings.counts["duplicates"] += len(predictions) - len(places)
            predictions = predictions.at(places)
        self.rows += len(predictions)
        return predictions

    def _take_predictions(
        self, predictions: Predictions, numbers: NDArray[np.int64], segments: NDArray[np.int64] | None
    ) -> Columns:
        """Answers those of the version in service."""
        self.findings.counts["prediction"] += len(predictions)
        self.findings.predictions.append((predictions, numbers))
        self.findings.met += self.serving.meet(predictions.versions)
        self._serves(self.serving.first(predictions.versions))
        values: dict[str, NDArray[Any]] = {"prediction": tasks.column(predictions.values, self.task)}
        if self._scored(predictions):
            values["score"] = predictions.scores
        columns = Columns(Stream.PREDICTION, numbers, predictions.ts, values, segments)
        own = self.serving.own(predictions.versions)
        columns = columns if own is None else columns.at(own)
        self.windows[Stream.PREDICTION].take(columns)
        return columns

    def _serves(self, version: str | None) -> None:
        """Bring a version into service, if it is one."""
        if version is not None:
            self.judge()  # what came before was measured of the version before
            self._regime_version = self._regime_version or version
            if self.version is not None:  # else the rows so far count as its own
                self.performance.clear()
                if self.estimate is not None:
                    self.estimate.clear()
            self.serving.take_over(version)
            self.findings.served.append(version)

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

    # --- labels and outcomes

    def _join(
        self,
        predictions: Predictions | None,
        segments: NDArray[np.int64] | None,
        labels: Labels | None,
        first: int,
        predicted: NDArray[Any],
    ) -> Sequence[Labelled]:
        """Answers what labels have come, with their losses, of rows that the version in service has made."""
        counts = self.findings.counts
        new, given = NewPredictions(), NewLabels()
        if predictions is not None:
            within = None if segments is None else segments.tolist()
            scores = predictions.scores, predictions.score_classes
            new = NewPredictions(predictions.ids, predictions.values, predictions.versions, within, *scores)
        if labels is not None:
            given = NewLabels(labels.ids, labels.values, first + np.searchsorted(predicted, labels.order))
        joined = self.labels.join(new, given)
        if labels is not None and len(labels.ids):
            counts["duplicates"] += joined.duplicates
            counts["revised"] += joined.revised
            counts["label"] += len(labels.ids) - joined.duplicates - joined.revised
            self.findings.labels.append((labels, joined.label_rows))
            self.last_label_arrival = self.last_arrival
            self.last_label_ts = max(self.last_label_ts or 0.0, float(labels.ts.max()))
        if joined.rows:
            counts["joined"] += len(joined.rows)
            self._undecided.pairs.append(pairs_of(joined, first, given.next_rows, predictions, labels))
        self._undecided.revise(joined.revisions)
        return [] if self.task is None else self._decide(self.task)

    def _decide(self, task: Task) -> Sequence[Labelled]:
        """Tell which of the predictions whose labels are here were wrong."""
        labelled = []
        decided, revised = self._undecided.take()
        for pairs in decided:
            columns, outcomes = pairs.outcomes(task, self.serving)
            labelled.append(_labelled(columns, pairs))
            self.performance.add(outcomes)
            self.windows[Stream.OUTCOME].take(columns)
        self._judgement.expect(decided)
        if revised:
            self.performance.revise(revised, task)
        return labelled

    # --- judgement

    def judge(self) -> None:
        """Let the detectors see all rows that make whole windows."""
        self._judgement.judge(self.findings, self.rows, self._whole_rows, self.regimes)
        for window in self.windows.values():
            self.findings.measured += [(chunk, self.version) for chunk in window.take_chunks()]
        if self.estimate is not None:
            self.findings.estimated += [(chunk, self.version) for chunk in self.estimate.take_chunks()]
            self.findings.turns += self.estimate.take_turns()

    def take_findings(self) -> Findings:
        """What has come since the last call, all of it judged."""
        self.judge()
        findings, self.findings = self.findings, Findings()
        for one in findings.verdicts:
            if LABELS_LATER in one.evidence:
                one.evidence[LABELS_LATER] = findings.counts["joined"] - one.evidence[LABELS_LATER]
        findings.verdicts.sort(key=lambda one: one.row)
        return findings

    def fit_decoder(self) -> None:
        """Decode features into the types of the schema, once there is a reference that fixes them."""
        self.features.fit_decoder()

    def until_learned(self) -> tuple[int, int] | None:
        """How many rows with features, and how many predictions, are missing from the references; None for none.

        What follows is decoded in the light of the reference: a batch is to be cut there.
        """
        features, predictions = self.windows[Stream.FEATURES].missing, self.windows[Stream.PREDICTION].missing
        return (features, predictions) if features or predictions else None

    # --- another version, another reference

    def know_versions(self, versions: Iterable[str]) -> None:
        """These versions are in the registry, made here or in service before."""
        self.serving.know(versions)

    def adopt(self, version: str | None, references: dict[Stream, Reference | None]) -> None:
        """Go on with another version: its references replace those given, its performance begins afresh."""
        self.judge()
        self._remember_regime(references)
        self._regime_version = version
        self.serving.go_on_with(version, self.rows)
        self._judgement.second_looks.clear()
        self.performance.clear()
        if self.estimate is not None:
            self.estimate.clear()
        for stream, reference in references.items():
            self.windows[stream].adopt(reference)
            if stream is Stream.FEATURES:
                self.schema = {} if reference is None else self.schema | kinds_of(reference)
        self.fit_decoder()

    def _remember_regime(self, references: Mapping[Stream, Reference | None]) -> None:
        """The law of the features is replaced: that it held may be of use when it comes back."""
        features, outcome = (self.windows[stream].reference for stream in (Stream.FEATURES, Stream.OUTCOME))
        if features is not None and references.get(Stream.FEATURES, features) is not features:
            regime = Regime.of(self._regime_version, self.rows, features, outcome)
            self.regimes = (*self.regimes, regime)[-MOST_REGIMES:]

    # --- what is stored

    def state(self) -> dict[str, Any]:
        """What has no place of its own in a checkpoint, as values that msgpack can hold."""
        return {
            "serving": self.serving.state(),
            "performance": self.performance.errors(),
            "schema": self.schema,
            **self._undecided.state(),
            "score_classes": list(self.labels.scores.classes),
            "last_label_arrival": self.last_label_arrival,
            "regime_version": self._regime_version,
            "second_looks": self._judgement.second_looks.state(),
            "segments": None if self.segment_fields is None else self.segment_fields.state(),
        }

    def segment_report(self) -> dict[str, Any] | None:
        """How each segment does, as it is shown; None without segments."""
        if self.segment_fields is None:
            return None
        streams = {stream: one.segments for stream, one in self.windows.items() if one.segments is not None}
        return report(self.segment_fields, streams, self.options.positive)

    def restore(self, state: dict[str, Any], task: str | None, labelled: dict[str, Any] | None = None) -> None:
        """Go on from what a checkpoint stored; ``labelled`` are the rows that performance is of."""
        self.task = Task(task) if task is not None else self.options.task
        self.serving.restore(state["serving"])
        self.performance.restore(state["performance"], labelled)
        self.schema = dict(state["schema"])
        self._undecided = Undecided.restored(state)
        self.labels.scores.know(state.get("score_classes", ()))  # older releases kept none
        self.last_label_arrival = state["last_label_arrival"]
        self._regime_version = state.get("regime_version")
        self._judgement.second_looks = SecondLooks.restored(state.get("second_looks", ()))  # older releases took none
        segments = state.get("segments")  # none in older releases
        if self.segment_fields is not None and segments is not None:
            self.segment_fields.restore(segments)


def _labelled(outcomes: Columns, pairs: Pairs) -> Labelled:
    """Outcomes of the version in service, some of ``pairs``, as the estimates take them."""
    at = pairs.at if len(outcomes) == len(pairs.rows) else pairs.at[np.isin(pairs.rows, outcomes.rows)]
    return Labelled(outcomes.rows, outcomes.values["error"], at, outcomes.ts)
