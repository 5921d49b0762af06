"""The answer of a retrain: ``result.json`` in the job's folder."""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from retrain.base import Outcome, Reason, RetrainError
from retrain.job import Job

RESULT_FILE: Final = "result.json"


@dataclass(frozen=True, kw_only=True)
class Result:
    """All that the daemon stores and shows of a retrain. Paths are absolute; what was not reached is null."""

    outcome: Outcome
    reasons: tuple[Reason, ...]
    message: str
    """One or more sentences for people."""
    hint: str = ""
    """What the operator can do about it."""
    job: str | int | None = None
    model: str | None = None
    version: str | None = None
    path: str | None = None
    """The version's folder in the registry. Held and rejected versions are there too."""
    model_hash: str | None = None
    dataset_hash: str | None = None
    algorithm: str | None = None
    training: dict[str, Any] = field(default_factory=dict)
    """What the trainer says of it: features used, losses in cross-validation, library versions."""
    latency_ms: float | None = None
    """99th percentile of one prediction."""
    metrics: dict[str, Any] = field(default_factory=dict)
    gain: dict[str, Any] | None = None
    slices: list[dict[str, Any]] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    """Every check of the gate, with its reason, outcome, text and figures."""
    dataset: dict[str, Any] | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    """By stage."""
    reference_error: dict[str, Any] | None = None
    """Losses of the challenger on the rows it was judged by: ``n``, ``mean`` and ``values`` (at most 5,000)."""
    reference: str | None = None
    """Parquet of the dataset's rows with the challenger's predictions on those that it was judged by."""
    picture: str | None = None


def failed(error: RetrainError, job: Job | None = None) -> Result:
    """The result of a retrain that ended with ``error``."""
    return Result(
        outcome=Outcome.FAILED,
        reasons=(error.reason,),
        message=error.message,
        hint=error.hint,
        job=None if job is None else job.job,
        model=None if job is None else job.model,
        version=None if job is None else job.version,
    )


def write_result(folder: Path, result: Result) -> None:
    """Write ``result.json`` completely or not at all."""
    # msgspec would write NaN as null; the figures hold none, and null is what a reader expects of an unknown one
    body = msgspec.json.format(msgspec.json.encode(asdict(result)))
    fresh = folder / f".{RESULT_FILE}"
    with fresh.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / RESULT_FILE)
