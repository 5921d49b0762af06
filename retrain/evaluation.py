"""The rows that the gate judges by, as the champion served them and as the challenger would have."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retrain.archive import FEATURE
from retrain.base import Candidate
from retrain.classes import class_texts, in_order, one_positive
from retrain.dataset import Dataset, feature_names
from retrain.job import Job
from retrain.losses import CAP, Predictions, constant, loss
from retrain.paired import Pairs, gain

TWO: Final = 2
MOST_GROUPS: Final = 20
"""An attribute of numbers with more distinct values than this is cut into quarters."""


@dataclass(frozen=True)
class Evaluation:
    """Rows that both models have predicted, in time order; all arrays are of the same length.

    ``table`` has the rows' archive columns. ``worst`` is the loss from which on losses are counted as equally bad.
    ``constant`` is what a model that only knows the training labels would have said.
    """

    truth: NDArray[Any]
    champion: Predictions
    challenger: Predictions
    constant: Predictions
    table: pa.Table
    loss_name: str
    worst: float

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def relative(self) -> bool:
        """Whether gains are shares of the champion's loss, as with numbers."""
        return self.truth.dtype != object

    def losses(self, said: Predictions) -> NDArray[np.float64]:
        """The loss of each row."""
        return loss(self.loss_name, self.truth, said)

    def pairs(self, challenger: Predictions | None = None) -> Pairs:
        """Champion and challenger (or another) row by row."""
        return self._scaled(self.losses(self.champion), self.losses(challenger or self.challenger))

    def pairs_of(self, rows: NDArray[np.bool_]) -> Pairs:
        """Champion and challenger on some rows."""
        return self._scaled(self.losses(self.champion)[rows], self.losses(self.challenger)[rows])

    def uncut_gain(self) -> float:
        """The gain of the losses as they are, however large."""
        return gain(self.losses(self.champion), self.losses(self.challenger), relative=self.relative)

    def _scaled(self, champion: NDArray[np.float64], challenger: NDArray[np.float64]) -> Pairs:
        known = np.isfinite(champion) & np.isfinite(challenger)
        champion, challenger = np.minimum(champion, self.worst), np.minimum(challenger, self.worst)
        return Pairs(champion[known] / self.worst, challenger[known] / self.worst, self.relative)

    @property
    def features(self) -> list[str]:
        """Plain names of the features."""
        return feature_names(self.table)

    def groups(self, attribute: str) -> NDArray[Any] | None:
        """The group of each row by a feature or a key of the segment; None where there is no such attribute."""
        if FEATURE + attribute in self.table.schema.names:
            return _categories(self.table.column(FEATURE + attribute).to_pylist())
        segments = self.segments()
        return segments.get(attribute)

    def segments(self) -> dict[str, NDArray[Any]]:
        """The value of each segment key, row by row; None where a row has none."""
        parsed = [json.loads(text) if text else {} for text in self.table.column("segment").to_pylist()]
        return {
            key: class_texts([one.get(key) for one in parsed]) for key in dict.fromkeys(k for p in parsed for k in p)
        }


def evaluate(job: Job, dataset: Dataset, candidate: Candidate) -> Evaluation:
    """Both models on the later rows: those that the champion, and no other version, has predicted."""
    table = dataset.table
    recorded = recorded_predictions(job, table)
    truth = _truth(job, table)
    first = dataset.training_rows
    later = np.arange(table.num_rows) >= first
    served = later & _served_by(job, table) & _present(recorded.values)
    challenger = Predictions(candidate.predictions, candidate.classes, candidate.probabilities)
    name = job.gate.loss
    worst = 1.0
    if job.task == "regression":
        # the scale comes from rows that are not judged, so that it cannot depend on what is
        earlier = loss(name, truth[~later], recorded.take(~later))
        earlier = earlier[np.isfinite(earlier)]
        if not len(earlier):
            earlier = loss(name, truth[served], recorded.take(served))
        mean = float(earlier.mean()) if len(earlier) else 0.0
        worst = CAP[name] * mean or 1.0
    return Evaluation(
        truth=truth[served],
        champion=recorded.take(served),
        challenger=challenger.take(served[first:]),
        constant=constant(truth[:first], int(served.sum())),
        table=table.filter(pa.array(served)),
        loss_name=name,
        worst=worst,
    )


def recorded_predictions(job: Job, table: pa.Table) -> Predictions:
    """What the serving model said, from the archive."""
    if job.task == "regression":
        return Predictions(table.column("prediction").to_numpy())
    values = np.array(table.column("prediction").to_pylist(), dtype=object)
    labels = class_texts(table.column("label").to_pylist())
    by_class = [json.loads(text) if text else None for text in table.column("score_classes").to_pylist()]
    named = {name for one in by_class if one for name in one}
    classes = in_order({name for name in (*values, *labels, *named) if name is not None})
    scores = table.column("score").to_numpy()
    if named:
        probabilities = np.array(
            [[np.nan if one is None else _share(one, name) for name in classes] for one in by_class]
        )
        return Predictions(values, classes, probabilities)
    if job.task == "binary" and len(classes) == TWO and np.isfinite(scores).any():
        positive = job.positive if job.positive in classes else one_positive(classes, values, scores)
        columns = [scores if name == positive else 1 - scores for name in classes]
        return Predictions(values, classes, np.column_stack(columns))
    return Predictions(values, classes)


def _share(scores: dict[str, float | None], name: str) -> float:
    value = scores.get(name, 0.0)
    return np.nan if value is None else value


def _truth(job: Job, table: pa.Table) -> NDArray[Any]:
    if job.task == "regression":
        return np.asarray(table.column("label").to_numpy(), dtype=np.float64)
    return class_texts(table.column("label").to_pylist())


def _served_by(job: Job, table: pa.Table) -> NDArray[np.bool_]:
    versions = np.array(table.column("version").to_pylist(), dtype=object)
    if job.champion is None or job.champion.version is None:
        return np.ones(len(versions), dtype=np.bool_)
    # a service that sends no version is served by the champion
    known: NDArray[np.bool_] = (versions == job.champion.version) | (versions == None)  # noqa: E711
    return known


def _present(values: NDArray[Any]) -> NDArray[np.bool_]:
    known: NDArray[np.bool_] = values != None if values.dtype == object else np.isfinite(values)  # noqa: E711
    return known


def _categories(values: Sequence[Any]) -> NDArray[Any]:
    present = [value for value in values if value is not None]
    if not present or isinstance(present[0], str) or len(set(present)) <= MOST_GROUPS:
        return class_texts(values)
    column = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    edges = np.nanquantile(column, [0.25, 0.5, 0.75])
    names = [f"below {edges[0]:g}", *(f"{a:g} to {b:g}" for a, b in pairwise(edges))]
    names.append(f"from {edges[-1]:g}")
    quarter = np.searchsorted(edges, column, side="right")
    return np.array(
        [None if np.isnan(value) else names[place] for value, place in zip(column, quarter, strict=True)], dtype=object
    )
