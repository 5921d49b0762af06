"""The user's own training code, in the user's own interpreter."""

import json
import shutil
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy import float64
from numpy.typing import NDArray

from retrain import command
from retrain.archive import FEATURE, numbers
from retrain.base import Candidate, Progress, Reason, RetrainError
from retrain.classes import class_texts, in_order
from retrain.job import Job

PREDICTIONS: Final = ("predictions.parquet", "predictions.csv")
REPORT: Final = "report.json"


class Report(msgspec.Struct):
    """What the script may say of its model."""

    algorithm: str = "command"
    latency_ms: float | None = None


class CommandTrainer:
    """Runs ``python command...`` or ``command...`` with the training rows in a file, and judges what it predicts.

    The script finds in its environment
    - ``DRIFTD_DATASET``: the training rows, columns ``row``, ``ts``, ``label``, ``feature:NAME`` (Parquet, or CSV where
      the trainer's format says so),
    - ``DRIFTD_EVALUATION``: later rows to predict, the same without ``label``,
    - ``DRIFTD_OUTPUT``: the folder for the model's files and for ``predictions.parquet`` or ``predictions.csv``, one
      row per evaluation row in the same order: ``prediction``, and for probabilities ``score`` (of the greater of two
      classes) or a column ``score:CLASS`` for each class,
    - ``DRIFTD_JOB``: JSON with ``model``, ``version``, ``task``, ``features``, ``training_rows``, ``evaluation_rows``,
      ``classes``, ``seed``.

    It may also write ``report.json`` with ``algorithm`` and ``latency_ms`` (99th percentile of one prediction). Its
    model is never opened here: the gate judges the predictions.
    """

    name = "command"

    def train(self, job: Job, training: pa.Table, evaluation: pa.Table, output: Path, progress: Progress) -> Candidate:
        """See ``Trainer``."""
        arguments = _arguments(job)
        work = output.parent
        suffix = job.trainer.format
        files = {"DRIFTD_DATASET": work / f"training.{suffix}", "DRIFTD_EVALUATION": work / f"evaluation.{suffix}"}
        for file, table in zip(files.values(), (training, evaluation), strict=True):
            _write(table, file)
        environment = {name: str(file) for name, file in files.items()}
        environment |= {"DRIFTD_OUTPUT": str(output), "DRIFTD_JOB": json.dumps(_about(job, training, evaluation))}
        progress(0.0, Path(arguments[0]).name)
        _run(arguments, environment, work / "trainer.log", job)
        progress(1.0, "reading its predictions")
        table = _predictions(output, evaluation.num_rows)
        report = _report(output)
        if not any(file.is_file() for file in output.rglob("*")):
            raise _bad("the command wrote predictions and no model", "write the model's files into DRIFTD_OUTPUT")
        values, classes, probabilities = _read(table, training, job)
        return Candidate(
            folder=output,
            algorithm=report.algorithm,
            predictions=values,
            classes=classes,
            probabilities=probabilities,
            latency_seconds=None if report.latency_ms is None else report.latency_ms / 1000,
            details={"command": Path(arguments[0]).name, "features": _features(training)},
        )


def _arguments(job: Job) -> list[str]:
    if not job.trainer.command:
        message = "the trainer command has no command to run"
        raise RetrainError(Reason.BAD_SETTING, message, "set DRIFTD_RETRAIN__COMMAND, such as train.py")
    return [*([job.trainer.python] if job.trainer.python else []), *job.trainer.command]


def _about(job: Job, training: pa.Table, evaluation: pa.Table) -> dict[str, Any]:
    classes = [] if job.task == "regression" else in_order(class_texts(training.column("label").to_pylist()))
    return {
        "model": job.model,
        "version": job.version,
        "task": job.task,
        "features": _features(training),
        "training_rows": training.num_rows,
        "evaluation_rows": evaluation.num_rows,
        "classes": list(classes),
        "seed": job.trainer.seed,
    }


def _features(table: pa.Table) -> list[str]:
    return [name.removeprefix(FEATURE) for name in table.schema.names if name.startswith(FEATURE)]


def _write(table: pa.Table, file: Path) -> None:
    if file.suffix == ".csv":
        pyarrow.csv.write_csv(table, file)
    else:
        pyarrow.parquet.write_table(table, file)


def _run(arguments: list[str], environment: dict[str, str], log: Path, job: Job) -> None:
    directory = None if job.trainer.directory is None else Path(job.trainer.directory)
    try:
        # the job's own limit of time ends this process, and with it the command
        done = command.run(
            arguments, environment=environment, log=log, memory_mb=job.limits.memory_mb, directory=directory
        )
    except OSError as error:
        message = f"cannot run {arguments[0]}: {error.strerror or error}"
        raise RetrainError(Reason.TRAINER_FAILED, message, "check DRIFTD_RETRAIN__COMMAND and __PYTHON") from error
    if done.by is command.Ended.MEMORY or (done.code and "MemoryError" in done.log):
        message = f"the training command needs more than {job.limits.memory_mb} MiB of memory\n{done.log}".rstrip()
        hint = "raise DRIFTD_RETRAIN__MEMORY_MB, or train on fewer rows"
        raise RetrainError(Reason.OUT_OF_MEMORY, message, hint)
    if done.code:
        how = f"exit code {done.code}" if done.code > 0 else f"killed by signal {-done.code}"
        message = f"the training command failed with {how}\n{done.log}".rstrip()
        raise RetrainError(Reason.TRAINER_FAILED, message, f"its whole output is in {log}")


def _predictions(output: Path, rows: int) -> pa.Table:
    """The predictions, moved out of what will be the version's files."""
    found = next((output / name for name in PREDICTIONS if (output / name).is_file()), None)
    if found is None:
        raise _bad(f"the command wrote no {' or '.join(PREDICTIONS)}", "write one row per row of DRIFTD_EVALUATION")
    moved = output.parent / found.name
    shutil.move(found, moved)
    try:
        table = pyarrow.csv.read_csv(moved) if moved.suffix == ".csv" else pyarrow.parquet.read_table(moved)
    except (OSError, pa.ArrowException) as error:
        raise _bad(f"{found.name} cannot be read: {error}", "write plain CSV with a header, or Parquet") from error
    if "prediction" not in table.schema.names:
        columns = ", ".join(table.schema.names)
        raise _bad(f"{found.name} has no column prediction, but {columns}", "name the column prediction")
    if table.num_rows != rows:
        hint = "predict every row of DRIFTD_EVALUATION, in its order"
        raise _bad(f"{found.name} has {table.num_rows} rows, the evaluation has {rows}", hint)
    return table


def _read(
    table: pa.Table, training: pa.Table, job: Job
) -> tuple[NDArray[Any], tuple[str, ...], NDArray[float64] | None]:
    said = table.column("prediction").to_pylist()
    if job.task == "regression":
        return numbers(said), (), None
    values = class_texts(said)
    known = in_order(class_texts(training.column("label").to_pylist()))
    by_class = [name.removeprefix("score:") for name in table.schema.names if name.startswith("score:")]
    if by_class:
        columns = [numbers(table.column(f"score:{name}").to_pylist()) for name in by_class]
        return values, tuple(by_class), np.column_stack(columns)
    if "score" in table.schema.names and job.task == "binary":
        score = numbers(table.column("score").to_pylist())
        return values, known, np.column_stack([1 - score, score])
    return values, known, None


def _report(output: Path) -> Report:
    try:
        return msgspec.json.decode((output / REPORT).read_bytes(), type=Report)
    except FileNotFoundError:
        return Report()
    except msgspec.DecodeError as error:
        raise _bad(f"{REPORT}: {error}", "write algorithm (text) and latency_ms (a number), or leave it out") from error


def _bad(message: str, hint: str) -> RetrainError:
    return RetrainError(Reason.BAD_OUTPUT, message, hint)
