"""What the daemon needs to watch the new version: how it erred on the later rows, and what those rows look like."""

from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from retrain.base import Candidate
from retrain.classes import in_order
from retrain.dataset import Dataset
from retrain.evaluation import Evaluation
from retrain.job import Job
from retrain.losses import Predictions, loss

REFERENCE_FILE: Final = "reference.parquet"
MOST_VALUES: Final = 5_000
TWO: Final = 2


def reference_error(evaluation: Evaluation) -> dict[str, Any]:
    """The challenger's errors on the rows it was judged by: 0 or 1 for classes, absolute for numbers."""
    values = loss("error", evaluation.truth, evaluation.challenger)
    mean = float(values.mean()) if len(values) else None
    return {"n": len(values), "mean": mean, "values": values[-MOST_VALUES:].tolist()}


def write_reference(job: Job, dataset: Dataset, candidate: Candidate, folder: Path) -> Path:
    """All rows of the dataset with their features and labels, as if the challenger had served the later ones.

    The columns are those of the archive plus ``label``. On the rows it was trained on the challenger's predictions
    would flatter it, so there ``prediction``, ``score`` and ``score_classes`` are null.
    """
    table, first = dataset.table, dataset.training_rows
    said = Predictions(candidate.predictions, candidate.classes, candidate.probabilities)
    scores, by_class = _scores(job, said)
    kind = table.schema.field("prediction").type
    replaced = {
        "version": pa.array([job.version] * table.num_rows, pa.string()),
        "prediction": _later(said.values.tolist(), first, kind),
        "score": _later(scores, first, pa.float64()),
        "score_classes": _later(by_class, first, pa.string()),
    }
    for name, column in replaced.items():
        table = table.set_column(table.schema.get_field_index(name), name, column)
    file = folder / REFERENCE_FILE
    pq.write_table(table, file, compression="zstd")
    return file


def _later(values: list[Any], first: int, kind: pa.DataType) -> pa.Array:
    return pa.array([None] * first + values, kind)


def _scores(job: Job, said: Predictions) -> tuple[list[float | None], list[str | None]]:
    """As events carry them: one probability for two classes, an object of all of them for more."""
    rows = len(said.values)
    if said.probabilities is None:
        return [None] * rows, [None] * rows
    if job.task == "binary" and len(said.classes) == TWO:
        positive = job.positive if job.positive in said.classes else in_order(said.classes)[-1]
        return said.probabilities[:, said.classes.index(str(positive))].tolist(), [None] * rows
    texts = [
        msgspec.json.encode(dict(zip(said.classes, row, strict=True))).decode() for row in said.probabilities.tolist()
    ]
    return np.max(said.probabilities, axis=1).tolist(), list(texts)
