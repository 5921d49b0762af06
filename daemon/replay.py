"""History through the same pipeline: what would have been raised, and when."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon import parts
from daemon.checkpoint import MonitorSnapshot
from daemon.events.rows import Labels, Rows
from daemon.events.tabular import CannotRead, Layout, Table, TableReader, is_table, labels_of
from daemon.lifecycle.broken import OpenBreakage, explains_since, explanation, is_change
from daemon.lifecycle.policy import Action, Facts, Reason, Trigger, decide
from daemon.monitoring import references
from daemon.monitoring.estimates import ChunkEstimate, ChunkEstimates
from daemon.monitoring.gaps import GAP_FIELD
from daemon.monitoring.monitors import make_monitor, rules_of
from daemon.monitoring.scores import SERIES_ROWS, RowScores
from daemon.monitoring.second_looks import Renamed, with_cause
from daemon.pipeline import Pipeline
from daemon.settings import Settings
from daemon.stores import tables
from daemon.stores.engine import open_store, sqlite_url
from daemon.transports.base import Batch, Record
from detectors.base import Verdict

LINES_PER_BATCH = 5_000
FAR_CHECKPOINTS_SECONDS = 3600.0
"""Nothing has to survive a replay: it checkpoints when it is told to."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is replayed, and how its tables are to be read."""

    files: tuple[Path, ...]
    model: str = "default"
    layout: Layout = field(default_factory=Layout)
    reference: Path | None = None
    labels: Path | None = None
    label_delay: int = 0
    series_rows: int = SERIES_ROWS
    """The first rows of a single number, which it is scored by and which have no scores."""


@dataclass(slots=True)
class Result:
    """What a replay has come to so far."""

    rows: int = 0
    seconds: float = 0.0
    alarms: int = 0
    recovered: int = 0
    decisions: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    """Of models of which nothing was watched: how many more rows their reference would have taken."""


class LabelledTables:
    """Reads tables of history with the labels of their rows, which may be in a file of their own."""

    def __init__(self, source: Source) -> None:
        layout, self._by_id, self._in_order = source.layout, None, None
        if source.labels is not None:
            self._by_id, self._in_order = labels_of(source.labels, layout)
            layout = replace(layout, label=None)
        self._reader = TableReader(layout)
        self.share = 0.0
        """Of its file, what the latest piece is."""

    def read(self, path: Path) -> Iterator[tuple[Table, list[Any] | None]]:
        """The pieces of a file and their labels, None for none at all. Raises CannotRead."""
        for piece in self._reader.read(path):
            labels = piece.labels
            if self._by_id is not None:
                labels = [self._by_id.get(str(one)) for one in piece.predictions.ids]
            elif self._in_order is not None:
                labels = self._in_order[piece.first : piece.first + len(piece)]
            self.share = len(piece) / self._reader.file_rows
            yield piece, labels

    @property
    def timed(self) -> bool:
        """Whether rows have times of their own, as far as was read."""
        return self._reader.found is not None and self._reader.found.time is not None


class Replay:
    """One run over history.

    ``alarms`` gives what is raised, in order; ``result`` grows meanwhile, and so do ``scores`` and ``estimates`` where
    they are asked for (of tables: files of events have none). ``progress`` is told of the bytes that are done.
    """

    def __init__(
        self,
        settings: Settings,
        source: Source,
        *,
        progress: Callable[[int], None] | None = None,
        scored: bool = False,
        estimated: bool = False,
    ) -> None:
        self._settings = settings
        self._source = source
        self._progress = progress or (lambda _bytes: None)
        self._raised: list[tuple[str, Verdict]] = []
        self._scorer = RowScores(settings.model(source.model).reference_rows, source.series_rows) if scored else None
        self._estimator = self._make_estimator() if estimated else None
        self._would_train = WouldTrain(settings)
        self._lines = 0
        self.result = Result()
        self.scores: list[Any] = []  # float64 arrays, one for each piece
        self.estimates: list[ChunkEstimate] = []

    async def alarms(self) -> AsyncIterator[dict[str, Any]]:
        """Raise what is raised. Raises CannotRead for a file that is not what it should be."""
        started = time.perf_counter()
        with TemporaryDirectory(prefix="driftd-replay-") as folder:
            store = open_store(sqlite_url(Path(folder) / "store.db"))
            async with store.begin() as connection:
                await connection.run_sync(tables.metadata.create_all)
            alibi = parts.alibi(self._settings, patient=True)
            pipeline = Pipeline(
                store,
                None,
                # estimates are made of whole tables, and only where they are asked for
                lambda model: make_monitor(model, self._settings.model(model), alibi=alibi, estimated=False),
                self._respond,
                clock=time.time,
                checkpoint_seconds=FAR_CHECKPOINTS_SECONDS,
                most_models=self._settings.limits.models,
            )
            try:
                if self._source.reference is not None:
                    await self._give_reference(pipeline)
                table, events = self._table(pipeline), self._events(pipeline)
                for path in self._source.files:
                    for rows, size in (table if is_table(path) else events)(path):
                        await pipeline.flush()
                        self.result.rows += rows
                        self.result.seconds = time.perf_counter() - started
                        self._progress(round(size))
                        raised, self._raised = self._raised, []
                        for model, verdict in raised:
                            yield as_json(model, verdict)
                if self._estimator is not None:
                    self.estimates += self._estimator.end()
                for model, monitor in pipeline.monitors.items():
                    missing = monitor.until_learned()
                    if missing is not None and all(window.learning for window in monitor.windows.values()):
                        self.result.missing[model] = min(missing)
            finally:
                if alibi is not None:
                    alibi.close()
                await store.close()
        self.result.seconds = time.perf_counter() - started

    async def _respond(self, _connection: AsyncConnection, found: MonitorSnapshot, _now: float) -> None:
        model, findings = found.monitor.model, found.findings
        for verdict in findings.verdicts:
            self.result.alarms += not verdict.recovered
            self.result.recovered += verdict.recovered
            self.result.decisions += self._would_train(model, with_cause(verdict, findings.renamed))
        for renamed in findings.renamed:
            self.result.decisions += self._would_train.rename(model, renamed)
        self._raised += [(model, verdict) for verdict in findings.verdicts if not verdict.recovered]

    async def _give_reference(self, pipeline: Pipeline) -> None:
        source, chosen = self._source, self._settings.model(self._source.model)
        assert source.reference is not None  # noqa: S101 (the caller has looked)
        task, learned = references.read(source.reference, source.layout, None, chosen.reference_bins)
        await pipeline.change(source.model, lambda monitor: references.give(monitor, task, learned))
        if self._estimator is not None:
            labelled = [
                piece for piece in TableReader(source.layout).read(source.reference) if piece.labels is not None
            ]
            if labelled:  # else it learns from the first rows
                self._estimator.learn(labelled)

    def _make_estimator(self) -> ChunkEstimates:
        chosen = self._settings.model(self._source.model)
        task = make_monitor(self._source.model, chosen).task
        return ChunkEstimates(task, chosen.reference_rows, self._source.label_delay, chosen.min_loss)

    def _table(self, pipeline: Pipeline) -> Callable[[Path], "Any"]:
        source = self._source
        history = LabelledTables(source)
        waiting = _LateLabels(source.label_delay)

        def pieces(path: Path) -> "Any":
            for piece, labels in history.read(path):
                self._score(pipeline, piece)
                if self._estimator is not None:
                    self.estimates += self._estimator.take(piece, labels)
                pipeline.take(source.model, waiting.rows_of(piece, labels), float(piece.predictions.ts[-1]))
                yield len(piece), history.share * path.stat().st_size

        return pieces

    def _events(self, pipeline: Pipeline) -> Callable[[Path], "Any"]:
        def pieces(path: Path) -> "Any":
            first = self._lines
            try:
                with path.open("rb") as stream:
                    while lines := stream.readlines(LINES_PER_BATCH * 500):
                        records = [Record(self._lines + place, 0.0, None, line, 1) for place, line in enumerate(lines)]
                        batch = Batch("replay", 0, records, self._lines + len(lines))
                        taken = pipeline.take_batch(batch)
                        for one in taken.rejected[:1]:
                            line = self._lines - first + one.value + 1
                            raise CannotRead(f"{path}: line {line}: {one.reason.value}: {one.detail}")
                        self._lines += len(lines)
                        yield taken.events, sum(map(len, lines))
            except OSError as error:
                raise CannotRead(f"{path}: {error.strerror}") from None

        return pieces

    def _score(self, pipeline: Pipeline, piece: Table) -> None:
        if self._scorer is not None:
            self.scores.append(self._scorer.of(pipeline.monitors.get(self._source.model), piece))


class WouldTrain:
    """What the policy would have decided, had there been labels enough and no other retrain in the way."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._broken = OpenBreakage()
        self._explained: list[tuple[str, Verdict]] = []
        """What broken data has explained: asked about again where it turns out not to be broken."""

    def __call__(self, model: str, verdict: Verdict) -> bool:
        """Whether an alarm would have asked for a retrain. Broken data explains what is raised while it lasts."""
        self._broken.hear(model, verdict)
        if not verdict.recovered:
            return self._asks(model, verdict)
        over = model, verdict.kind, verdict.signal
        self._explained = [(name, one) for name, one in self._explained if (name, one.kind, one.signal) != over]
        return False

    def rename(self, model: str, renamed: Renamed) -> int:
        """How many retrains are asked for since an alarm has another cause."""
        self._broken.rename(model, renamed.kind, renamed.signal, renamed.change_row, renamed.cause)
        mine = [renamed.renamed(verdict) for name, verdict in self._explained if name == model]
        self._explained = [one for one in self._explained if one[0] != model]
        return sum(self._asks(model, verdict) for verdict in mine)

    def _asks(self, model: str, verdict: Verdict) -> bool:
        rules = rules_of(self._settings.model(model))
        facts = Facts(
            trigger=Trigger.ALARM,
            now=verdict.ts,
            kind=verdict.kind,
            alarm_row=verdict.row,
            broken=explanation(verdict.kind, verdict.evidence),
            gap=GAP_FIELD in verdict.evidence,
            broken_since=explains_since(self._broken.of(model), verdict.evidence),
            changed=is_change(verdict.evidence),
            labels=rules.minimum_labels,
        )
        decision = decide(facts, rules)
        if decision.reason is Reason.DATA_BROKEN:
            self._explained.append((model, verdict))
        return decision.action is Action.RETRAIN


class _LateLabels:
    """Gives each row's label ``delay`` rows later."""

    def __init__(self, delay: int) -> None:
        self._delay = delay
        self._ids: list[str] = []
        self._values: list[Any] = []
        self._rows: list[int] = []

    def rows_of(self, piece: Table, labels: list[Any] | None) -> Rows:
        """The rows of a piece, with the labels that have come by its end."""
        predictions, count = piece.predictions, len(piece)
        if labels is not None:
            for place, label in enumerate(labels):
                if label is not None:
                    self._ids.append(str(predictions.ids[place]))
                    self._values.append(label)
                    self._rows.append(piece.first + place)
        due = int(np.searchsorted(np.array(self._rows, dtype=np.int64), piece.first + count - self._delay))
        late = None
        if due:
            # a label is the event right after that of the row at which it comes
            at = np.array(self._rows[:due], dtype=np.int64) + self._delay
            ts = predictions.ts[np.clip(at - piece.first, 0, count - 1)]
            late = Labels(2 * at + 1, self._ids[:due], ts, self._values[:due])
            del self._ids[:due], self._values[:due], self._rows[:due]
        moved = replace(predictions, order=2 * predictions.order)
        return Rows(moved, late, None, float(predictions.ts[-1]))


def as_json(model: str, verdict: Verdict) -> dict[str, Any]:
    """An alarm as `driftd replay --json` prints it."""
    return {
        "row": verdict.row,
        "ts": verdict.ts,
        "model": model,
        "kind": verdict.kind.value,
        "signal": verdict.signal,
        "detector": verdict.detector,
        "severity": verdict.severity.value,
        "change_row": verdict.change_row,
        "change_ts": verdict.change_ts,
        "evidence": verdict.evidence,
        "ranking": [list(one) for one in verdict.ranking],
    }
