"""The dataset of one retrain: labelled rows, fixed by a hash, and split in time."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from retrain.archive import FEATURE
from retrain.base import Reason, RetrainError
from retrain.job import Job
from retrain.joins import labelled_rows
from retrain.storage.base import Storage

SNAPSHOT_FILE: Final = "dataset.parquet"
MOST_CLASSES: Final = 100
FEWEST_TRAINING_ROWS: Final = 30
"""Below this there is nothing to cross-validate."""


@dataclass(frozen=True, slots=True)
class DatasetManifest:
    """What a dataset holds, for whoever has to answer for a model."""

    hash: str
    rows: int
    training_rows: int
    evaluation_rows: int
    columns: dict[str, str]
    """Each column and whether it is numbers or text."""
    row_range: tuple[int, int]
    """First and last prediction row."""
    ts_range: tuple[float | None, float | None]
    """Earliest and latest time of a prediction, epoch seconds."""
    since_row: int
    fell_back: bool
    """Whether rows from before the change were taken because there were too few after it."""
    cutoff_ts: float
    labels: dict[str, float]
    """Rows of each class; for numbers mean, standard deviation, least and greatest."""
    files: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labelled rows in the order of their prediction: those to train on, then those to judge by."""

    table: pa.Table
    training_rows: int
    manifest: DatasetManifest

    @property
    def features(self) -> list[str]:
        """Plain names of the feature columns."""
        return feature_names(self.table)

    def training(self) -> pa.Table:
        """What a trainer may learn from."""
        columns = ["row", "ts", "label", *(FEATURE + name for name in self.features)]
        return self.table.slice(0, self.training_rows).select(columns)

    def evaluation_inputs(self) -> pa.Table:
        """What a trainer has to predict: later rows, without label, prediction or score."""
        columns = ["row", "ts", *(FEATURE + name for name in self.features)]
        return self.evaluation().select(columns)

    def evaluation(self) -> pa.Table:
        """The later rows with everything, for the gate."""
        return self.table.slice(self.training_rows)


def feature_names(table: pa.Table) -> list[str]:
    """Plain names of the feature columns of ``table``."""
    return [name.removeprefix(FEATURE) for name in table.schema.names if name.startswith(FEATURE)]


def make_dataset(job: Job, folder: Path, storage: Storage | None = None) -> Dataset:
    """The job's dataset, from its files and those of ``storage``; written to ``folder`` as a snapshot too.

    Raises RetrainError.
    """
    spec, since = job.dataset, job.since_row
    table = labelled_rows(job, since, storage)
    fell_back = table.num_rows < spec.minimum_rows and spec.fallback_row is not None and spec.fallback_row < since
    if fell_back and spec.fallback_row is not None:
        since = spec.fallback_row
        table = labelled_rows(job, since, storage)
    table = table.slice(max(table.num_rows - spec.maximum_rows, 0))
    _check(table, job)
    training = _training_rows(table.num_rows, job)
    pq.write_table(table, folder / SNAPSHOT_FILE, compression="zstd")
    return Dataset(table, training, _manifest(table, training, job, since=since, fell_back=fell_back))


def content_hash(table: pa.Table) -> str:
    """SHA-256 over names, types and values, the same whatever the layout of the file or the order of its columns."""
    digest = hashlib.sha256()
    for name in sorted(table.schema.names):
        values = table.column(name).combine_chunks()
        text = pa.types.is_string(values.type)
        digest.update(f"{name}\0{'text' if text else values.type}\0{len(values)}\0".encode())
        digest.update(values.is_valid().to_numpy(zero_copy_only=False).tobytes())
        if text:
            encoded = [b"" if value is None else value.encode() for value in values.to_pylist()]
            digest.update(np.array([len(value) for value in encoded], dtype="<i8").tobytes())
            digest.update(b"".join(encoded))
        else:
            filled = values.fill_null(0).to_numpy()
            digest.update((filled + filled.dtype.type(0)).astype(filled.dtype.newbyteorder("<")).tobytes())  # -0.0 is 0
    return digest.hexdigest()


def _check(table: pa.Table, job: Job) -> None:
    least = job.gate.minimum_rows + FEWEST_TRAINING_ROWS
    if table.num_rows < least:
        raise RetrainError(
            Reason.TOO_FEW_ROWS,
            f"{table.num_rows} labelled rows since row {job.since_row}, {least} are needed",
            "wait for labels, or lower the gate's minimum of rows",
        )
    if not feature_names(table):
        raise RetrainError(
            Reason.NO_FEATURES, "the labelled rows have no features", "send features with the predictions"
        )
    if job.task == "regression":
        return
    classes = len(table.column("label").unique())
    if classes == 1:
        raise RetrainError(
            Reason.ONE_CLASS,
            f"all {table.num_rows} labels are {table.column('label')[0].as_py()!r}",
            "a model cannot be learned from one class: wait for labels of another",
        )
    if classes > MOST_CLASSES:
        raise RetrainError(
            Reason.BAD_SETTING,
            f"{classes} classes among {table.num_rows} labels",
            "if the labels are quantities, set the model's task to regression",
        )


def _training_rows(rows: int, job: Job) -> int:
    judged = max(round(rows * job.gate.evaluation_share), job.gate.minimum_rows)
    return max(rows - judged, FEWEST_TRAINING_ROWS)


def _manifest(table: pa.Table, training: int, job: Job, *, since: int, fell_back: bool) -> DatasetManifest:
    rows = table.column("row").to_numpy()
    times = table.column("ts").drop_null().to_numpy()
    label = table.column("label")
    if job.task == "regression":
        values = label.to_numpy()
        labels = {
            "mean": float(values.mean()),
            "standard_deviation": float(values.std()),
            "least": float(values.min()),
            "greatest": float(values.max()),
        }
    else:
        counts = label.value_counts().to_pylist()
        labels = {str(one["values"]): float(one["counts"]) for one in counts}
    spec = job.dataset
    return DatasetManifest(
        hash=content_hash(table),
        rows=len(rows),
        training_rows=training,
        evaluation_rows=len(rows) - training,
        columns={field.name: "text" if str(field.type) == "string" else "numbers" for field in table.schema},
        row_range=(int(rows[0]), int(rows[-1])),
        ts_range=(float(times.min()), float(times.max())) if len(times) else (None, None),
        since_row=since,
        fell_back=fell_back,
        cutoff_ts=job.cutoff_ts,
        labels=labels,
        files=tuple(Path(name).name for name in (*spec.files, *spec.labels, *spec.features)),
    )
