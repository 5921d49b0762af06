"""A retrain on one page: dataset, train, gate, register, picture, publish."""

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from retrain.base import Candidate, Reason, RetrainError, Stage
from retrain.card import model_card
from retrain.dataset import SNAPSHOT_FILE, Dataset, make_dataset
from retrain.evaluation import Evaluation, evaluate
from retrain.gate import Judgement, judge
from retrain.job import Job
from retrain.picture import draw
from retrain.publication import keep, publish_version
from retrain.reference_rows import reference_error, write_reference
from retrain.registry import Manifest, Registry, RegistryError
from retrain.result import Result
from retrain.storage.base import Storage
from retrain.trainers import make_trainer

log = logging.getLogger(__name__)


class Report(Protocol):
    """Hears how far a job is: ``done`` is a share of the stage, ``rows`` how many labelled rows it has, once known."""

    def __call__(self, stage: Stage, done: float, text: str, rows: int | None = None) -> None:
        """Pass it on."""
        ...


"""Told the stage, how much of it is done (0 to 1), and what is being done."""


def run(job: Job, folder: Path, report: Report, storage: Storage | None = None) -> Result:
    """Do the job. Everything but the version itself is written to ``folder``. Raises RetrainError.

    With ``storage``, what is to be kept is there too once this returns.
    """
    _check(job)
    seconds: dict[str, float] = {}
    with _stage(Stage.DATASET, seconds, report):
        dataset = make_dataset(job, folder, storage)
        rows = dataset.manifest.rows
        report(Stage.DATASET, 1.0, f"{rows} labelled rows, {len(dataset.features)} features", rows)
    with _stage(Stage.TRAIN, seconds, report):
        candidate = _train(job, dataset, folder, report)
    with _stage(Stage.GATE, seconds, report):
        evaluation = evaluate(job, dataset, candidate)
        judgement = judge(evaluation, candidate, job.gate)
        report(Stage.GATE, 1.0, f"{judgement.outcome}: {judgement.checks[0].text}")
    with _stage(Stage.REGISTER, seconds, report):
        reference = write_reference(job, dataset, candidate, folder)
        registry = Registry(Path(job.registry) if job.registry else folder / "models")
        manifest = _register(registry, job, dataset, candidate, judgement)
    with _stage(Stage.PLOT, seconds, report):
        picture = _draw(job, evaluation, judgement, folder) if job.picture else None
    if storage is not None:
        with _stage(Stage.PUBLISH, seconds, report):
            files = [folder / SNAPSHOT_FILE, reference, *([] if picture is None else [picture])]
            _publish(storage, registry, job, files)
    return Result(
        outcome=judgement.outcome,
        reasons=judgement.reasons,
        message="; ".join(check.text for check in judgement.checks if check.reason in judgement.reasons),
        job=job.job,
        model=job.model,
        version=job.version,
        path=str(registry.path(job.model, job.version).resolve()),
        model_hash=manifest.model_hash,
        dataset_hash=dataset.manifest.hash,
        algorithm=candidate.algorithm,
        training=candidate.details,
        latency_ms=None if candidate.latency_seconds is None else candidate.latency_seconds * 1000,
        metrics=judgement.metrics,
        gain=asdict(judgement.gain),
        slices=[asdict(one) for one in judgement.slices],
        checks=[asdict(one) for one in judgement.checks],
        dataset=dataset.manifest.to_dict(),
        seconds=seconds,
        reference_error=reference_error(evaluation),
        reference=str(reference.resolve()),
        picture=None if picture is None else str(picture.resolve()),
    )


@contextmanager
def _stage(stage: Stage, seconds: dict[str, float], report: Report) -> Iterator[None]:
    begin = time.perf_counter()
    report(stage, 0.0, "")
    yield
    seconds[stage.value] = round(time.perf_counter() - begin, 3)
    log.info("%s took %.2f s", stage, seconds[stage.value])


def _check(job: Job) -> None:
    wrong = {"brier": job.task == "regression", "squared": job.task != "regression"}
    if wrong.get(job.gate.loss):
        message = f"the loss {job.gate.loss} does not fit a {job.task} task"
        raise RetrainError(Reason.BAD_SETTING, message, "error fits every task")


def _train(job: Job, dataset: Dataset, folder: Path, report: Report) -> Candidate:
    output = Path(job.output) if job.output else folder / "candidate"
    shutil.rmtree(output, ignore_errors=True)  # what an attempt left that was killed
    output.mkdir(parents=True)
    trainer = make_trainer(job.trainer.name)
    inputs = dataset.evaluation_inputs()
    candidate = trainer.train(
        job, dataset.training(), inputs, output, lambda done, text: report(Stage.TRAIN, done, text)
    )
    values = candidate.predictions
    empty = np.flatnonzero(values == None if values.dtype == object else ~np.isfinite(values))  # noqa: E711
    if len(values) != inputs.num_rows or len(empty):
        where = f"none for row {empty[0]}" if len(empty) else f"{len(values)} for {inputs.num_rows} rows"
        raise RetrainError(Reason.BAD_OUTPUT, f"predictions are missing: {where}", "predict every row")
    return candidate


def _register(registry: Registry, job: Job, dataset: Dataset, candidate: Candidate, judgement: Judgement) -> Manifest:
    details: dict[str, Any] = {
        "task": job.task,
        "algorithm": candidate.algorithm,
        "trainer": job.trainer.name,
        "champion": job.champion.version if job.champion else None,
        "dataset": dataset.manifest.to_dict(),
        "gate": judgement.to_dict(),
        **candidate.details,
    }
    try:
        return registry.publish(
            candidate.folder,
            model=job.model,
            version=job.version,
            job=str(job.job),
            created=job.cutoff_ts,
            details=details,
            card=model_card(job, dataset.manifest, candidate, judgement),
        )
    except (RegistryError, OSError) as error:
        hint = f"see that {registry.root} can be written to, and that the version is a new one"
        raise RetrainError(Reason.NOT_REGISTERED, str(error), hint) from error


def _publish(storage: Storage, registry: Registry, job: Job, files: list[Path]) -> None:
    try:
        keep(storage, job.job, files)
        publish_version(storage, registry, job.model, job.version)
    except (RegistryError, OSError) as error:
        hint = "driftd doctor tries the archive; then retrain again"
        raise RetrainError(Reason.NOT_REGISTERED, f"cannot publish to {storage.place}: {error}", hint) from error


def _draw(job: Job, evaluation: Evaluation, judgement: Judgement, folder: Path) -> Path | None:
    try:
        return draw(evaluation, judgement, f"{job.model}, version {job.version}", folder)
    except Exception:
        log.exception("no picture was drawn; the retrain stands without it")
        return None
