"""What every trainer promises, whichever it is. One without a case here fails."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pytest
from archive_rows import CLASSES, make_archive, make_job

from retrain.base import Candidate, Reason, RetrainError
from retrain.dataset import Dataset, make_dataset
from retrain.job import Job
from retrain.registry import hash_files
from retrain.trainers import TRAINERS, make_trainer

# the user's own code, on the standard library alone: a cut of one feature and what is usual on each side of it
SCRIPT = """
import csv, json, os, pathlib, statistics

job = json.loads(os.environ["DRIFTD_JOB"])
output = pathlib.Path(os.environ["DRIFTD_OUTPUT"])

def side(row):
    return (float(row["feature:age"] or 0) > 0) + 2 * (float(row["feature:income"] or 0) > 0)

with open(os.environ["DRIFTD_DATASET"], newline="") as file:
    training = list(csv.DictReader(file))
usual = {}
for corner in range(4):
    labels = [row["label"] for row in training if side(row) == corner] or [row["label"] for row in training]
    numbers = job["task"] == "regression"
    usual[corner] = statistics.fmean(map(float, labels)) if numbers else statistics.mode(labels)
(output / "model.json").write_text(json.dumps(usual))
with open(os.environ["DRIFTD_EVALUATION"], newline="") as file, open(output / "predictions.csv", "w") as answers:
    answers.write("prediction\\n")
    answers.writelines(f"{usual[side(row)]}\\n" for row in csv.DictReader(file))
"""


@dataclass(frozen=True)
class Case:
    """The settings with which a trainer is put to the test."""

    settings: dict[str, Any]
    broken: dict[str, Any]
    """Settings that it cannot work with."""


CASES: Final = {
    "command": Case({"python": sys.executable, "command": ["train.py"], "format": "csv"}, {"command": ["/nowhere"]}),
    "sklearn": Case({"algorithms": ["linear"], "folds": 2}, {"algorithms": ["astrology"]}),
}


def prepared(name: str, folder: Path, task: str = "binary", **settings: Any) -> tuple[Job, Dataset]:
    make_archive(folder, task, rows=400)
    (folder / "train.py").write_text(SCRIPT)
    trainer = {"name": name, **CASES[name].settings, **settings}
    if "command" in trainer:
        trainer["directory"] = str(folder)
    job = make_job(folder, task, trainer=trainer)
    return job, make_dataset(job, folder)


def train(job: Job, dataset: Dataset, output: Path, told: list[float] | None = None) -> Candidate:
    output.mkdir()
    progress = [] if told is None else told
    return make_trainer(job.trainer.name).train(
        job, dataset.training(), dataset.evaluation_inputs(), output, lambda done, _text: progress.append(done)
    )


def test_every_trainer_has_a_case_and_its_registry_name() -> None:
    assert set(CASES) == set(TRAINERS)
    assert {name: trainer.name for name, trainer in TRAINERS.items()} == {name: name for name in TRAINERS}


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("name", sorted(TRAINERS))
def test_it_learns(tmp_path: Path, name: str, task: str) -> None:
    job, dataset = prepared(name, tmp_path, task)
    candidate = train(job, dataset, tmp_path / "candidate")
    truth = dataset.evaluation().column("label").to_numpy(zero_copy_only=False)
    if task == "regression":
        error = np.abs(candidate.predictions - truth).mean()
        assert error < 0.8 * np.abs(truth - np.median(truth)).mean()
        return
    texts = [str(label) for label in truth]
    assert set(candidate.classes) == set(CLASSES[task])
    assert (candidate.predictions == texts).mean() > max(texts.count(name) for name in set(texts)) / len(texts) + 0.1


@pytest.mark.parametrize("name", sorted(TRAINERS))
def test_it_leaves_files_that_a_version_can_be_made_of(tmp_path: Path, name: str) -> None:
    job, dataset = prepared(name, tmp_path)
    candidate = train(job, dataset, tmp_path / "candidate")
    assert candidate.folder == tmp_path / "candidate"
    entries = hash_files(candidate.folder)
    assert entries
    assert all(entry.bytes for entry in entries.values())


@pytest.mark.parametrize("name", sorted(TRAINERS))
def test_probabilities_go_with_classes_and_rows(tmp_path: Path, name: str) -> None:
    job, dataset = prepared(name, tmp_path)
    candidate = train(job, dataset, tmp_path / "candidate")
    rows = dataset.evaluation_inputs().num_rows
    assert len(candidate.predictions) == rows
    if candidate.probabilities is not None:
        assert candidate.probabilities.shape == (rows, len(candidate.classes))
        assert np.allclose(candidate.probabilities.sum(axis=1), 1)


@pytest.mark.parametrize("name", sorted(TRAINERS))
def test_the_same_rows_make_the_same_model(tmp_path: Path, name: str) -> None:
    job, dataset = prepared(name, tmp_path)
    one = train(job, dataset, tmp_path / "one")
    two = train(job, dataset, tmp_path / "two")
    assert one.predictions.tolist() == two.predictions.tolist()
    assert one.algorithm == two.algorithm


@pytest.mark.parametrize("name", sorted(TRAINERS))
def test_later_rows_do_not_change_the_model(tmp_path: Path, name: str) -> None:
    """What is learned depends on the training rows alone: whatever else is asked, a row is predicted alike."""
    job, dataset = prepared(name, tmp_path)
    every = train(job, dataset, tmp_path / "one").predictions
    inputs = dataset.evaluation_inputs()
    (tmp_path / "two").mkdir()
    few = make_trainer(name).train(
        job, dataset.training(), inputs.slice(0, 20), tmp_path / "two", lambda _done, _text: None
    )
    assert few.predictions.tolist() == every[:20].tolist()


@pytest.mark.parametrize("name", sorted(TRAINERS))
def test_it_leaves_its_input_alone(tmp_path: Path, name: str) -> None:
    job, dataset = prepared(name, tmp_path)
    before = pa.concat_tables([dataset.table])
    train(job, dataset, tmp_path / "candidate")
    assert dataset.table.equals(before)


@pytest.mark.parametrize("name", sorted(TRAINERS))
def test_progress_goes_forward(tmp_path: Path, name: str) -> None:
    job, dataset = prepared(name, tmp_path)
    told: list[float] = []
    train(job, dataset, tmp_path / "candidate", told)
    assert told == sorted(told)
    assert told[0] >= 0
    assert told[-1] <= 1


@pytest.mark.parametrize("name", sorted(TRAINERS))
def test_a_failure_says_what_to_do(tmp_path: Path, name: str) -> None:
    job, dataset = prepared(name, tmp_path, **CASES[name].broken, **({"python": None} if name == "command" else {}))
    with pytest.raises(RetrainError) as raised:
        train(job, dataset, tmp_path / "candidate")
    assert raised.value.reason in Reason
    assert raised.value.message
    assert raised.value.hint


def test_an_unknown_trainer_is_answered_with_the_known_ones() -> None:
    with pytest.raises(RetrainError, match="oracle") as raised:
        make_trainer("oracle")
    assert raised.value.reason is Reason.BAD_SETTING
    assert all(name in raised.value.hint for name in TRAINERS)
