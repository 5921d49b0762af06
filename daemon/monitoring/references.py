"""A reference that is given: the training set of a model, or what the gate saw of a new version."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from daemon.events.tabular import Layout, Table, TableReader
from daemon.monitoring import tasks
from daemon.monitoring.monitor import Monitor
from daemon.monitoring.schema import FEATURE_PREFIX
from daemon.monitoring.tasks import Task
from detectors.columns import Columns, Stream, concatenate
from detectors.reference import Reference


def read(path: Path, layout: Layout, task: Task | None, bins: int) -> tuple[Task | None, dict[Stream, Reference]]:
    """The reference of each stream for which the file has columns, and the task. Raises CannotRead."""
    return learn(TableReader(layout).read(path), task, bins)


def learn(tables: Iterable[Table], task: Task | None, bins: int) -> tuple[Task | None, dict[Stream, Reference]]:
    """The same from tables."""
    pieces = list(tables)
    values = [value for piece in pieces for value in piece.predictions.values]
    scored = any(np.isfinite(piece.predictions.scores).any() for piece in pieces)
    if task is None and any(value is not None for value in values):
        task = tasks.infer(values, scored=scored)
    streams: dict[Stream, list[Columns]] = {stream: [] for stream in Stream}
    for piece in pieces:
        for columns in _streams(piece, task, scored=scored):
            if len(columns) and columns.values:
                streams[columns.stream].append(columns)
    references = {stream: Reference.learn(concatenate(parts), bins=bins) for stream, parts in streams.items() if parts}
    return task, references


def _streams(piece: Table, task: Task | None, *, scored: bool) -> Iterable[Columns]:
    predictions = piece.predictions
    # numbers that no row of the stream has: a sample of these is not to be joined with one of those
    rows = -1 - np.arange(piece.first, piece.first + len(piece))
    features = {FEATURE_PREFIX + name: column for name, column in predictions.features.items()}
    yield Columns(Stream.FEATURES, rows, predictions.ts, features)
    if task is None:
        return
    made = np.flatnonzero([value is not None for value in predictions.values])
    values = {"prediction": tasks.column(predictions.values, task)}
    if scored:
        values["score"] = predictions.scores
    yield Columns(Stream.PREDICTION, rows, predictions.ts, values).at(made)
    if piece.labels is not None:
        labels = tasks.column(piece.labels, task)
        known = np.flatnonzero([label is not None for label in piece.labels])
        errors = tasks.error(values["prediction"], labels, task)
        outcomes = Columns(Stream.OUTCOME, rows, predictions.ts, {"label": labels, "error": errors})
        yield outcomes.at(np.intersect1d(made, known))


def give(monitor: Monitor, task: Task | None, references: dict[Stream, Reference]) -> None:
    """Let a monitor go on with references from a file."""
    if task is not None and task is not monitor.task:
        monitor.task = task
        monitor.performance.clear()  # its rows were of another kind
    features = references.get(Stream.FEATURES)
    if features is not None:
        monitor.schema = {
            name.removeprefix(FEATURE_PREFIX): kind for name, kind in zip(features.signals, features.kinds, strict=True)
        }
    for stream, reference in references.items():
        monitor.windows[stream].adopt(reference)
    monitor.fit_decoder()
