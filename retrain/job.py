"""The job file: all that a retrain is told."""

from pathlib import Path
from typing import Literal

import msgspec

Task = Literal["binary", "multiclass", "regression"]

JOB_FILE = "job.json"


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the job; a misspelt setting is refused and not ignored."""


class Champion(Part, frozen=True):
    """The version in service."""

    version: str | None = None


class DatasetSettings(Part, frozen=True):
    """Which rows of the archive to learn from."""

    files: tuple[str, ...] = ()
    """Parquet files with columns ``row, id, ts, version, segment, prediction, score, score_classes, feature:NAME``.

    Of all three kinds, files that end in ``.arrows`` are Arrow streams, and names that are no absolute paths are files
    of the job's storage.
    """
    labels: tuple[str, ...] = ()
    """Parquet files with columns ``id, ts, received, label, row``."""
    features: tuple[str, ...] = ()
    """Parquet files of features that came apart from their prediction, with columns ``id, ts, feature:NAME``."""
    quarantine: tuple[tuple[int, int], ...] = ()
    """Rows to leave out because their data was broken: pairs of first row and the row after the last."""
    exclude: tuple[str, ...] = ()
    """Features to leave out, such as identifiers."""
    maximum_rows: int = 50_000
    """Most labelled rows to use, the newest."""
    minimum_rows: int = 0
    """With fewer labelled rows from ``since_row`` on, rows from ``fallback_row`` on are taken instead."""
    fallback_row: int | None = None
    """None: too few rows are an answer, never filled up with rows from before the change."""


class TrainerSettings(Part, frozen=True):
    """How to train."""

    name: str = "sklearn"
    command: tuple[str, ...] | None = None
    """The user's own training command, for the trainer ``command``."""
    python: str | None = None
    """The interpreter that is put before ``command``."""
    directory: str | None = None
    """Where ``command`` is run; the daemon's own folder otherwise."""
    format: Literal["parquet", "csv"] = "parquet"
    """The format of the rows that ``command`` is given."""
    algorithms: tuple[str, ...] | None = None
    """Algorithms that the trainer ``sklearn`` compares; all that it knows otherwise."""
    folds: int = 3
    """Folds of the time-ordered cross-validation that picks the algorithm."""
    seed: int = 0


class GateSettings(Part, frozen=True):
    """What a candidate must show. Gains and losses are shares: of rows for classes, of the champion's error else."""

    loss: Literal["error", "brier", "squared"] = "error"
    """``error`` is 0 or 1 for classes and the absolute error for numbers."""
    minimum_gain: float = 0.0
    confidence: float = 0.95
    minimum_rows: int = 100
    evaluation_share: float = 0.3
    slice_floor: float = 0.05
    slice_rows: int = 50
    """Slices with fewer rows are not judged apart."""
    slice_features: tuple[str, ...] = ()
    """Features whose categories are slices too, beside the segments."""
    fairness_attribute: str | None = None
    fairness_bound: float = 0.1
    calibration_bound: float | None = 0.02
    """How much worse than the champion's the Brier score may be; None: calibration is not judged."""
    latency_ms: float | None = None
    size_mb: float | None = None


class Limits(Part, frozen=True):
    """What a retrain may use up."""

    seconds: float = 1_800.0
    memory_mb: int = 4_096
    threads: int = 1


class Job(Part, frozen=True):
    """One retrain. Rows count from ``since_row`` to before ``until_row``; labels received by ``cutoff_ts`` count."""

    job: str | int
    model: str
    task: Task
    version: str
    """The version to make."""
    cutoff_ts: float
    dataset: DatasetSettings
    champion: Champion | None = None
    since_row: int = 0
    until_row: int | None = None
    trainer: TrainerSettings = TrainerSettings()
    gate: GateSettings = GateSettings()
    limits: Limits = Limits()
    output: str | None = None
    """Where the candidate's files are made; ``candidate`` in the job's folder otherwise."""
    registry: str | None = None
    """The folder of all versions; ``models`` in the job's folder otherwise."""
    storage: str | None = None
    """Where all nodes find what is kept of the retrain, as ``open_storage`` takes it; None: they see these folders."""
    picture: bool = True
    """Whether to draw champion against challenger."""
    positive: str | None = None
    """The class whose probability a plain score is; found from the predictions otherwise."""


def read_job(folder: Path) -> Job:
    """The job in ``folder``. Raises OSError and ``msgspec.DecodeError`` (its text names the wrong field)."""
    return msgspec.json.decode((folder / JOB_FILE).read_bytes(), type=Job)
