"""The built-in trainer makes a model that a service can use, from data as it is."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from archive_rows import make_archive, make_job
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from retrain.base import Candidate, Reason, RetrainError
from retrain.dataset import make_dataset
from retrain.job import Job
from retrain.model_files import MODEL_FILE, load_model
from retrain.trainers.algorithms import ALGORITHMS
from retrain.trainers.scikit_learn import ScikitLearnTrainer


@dataclass(frozen=True)
class Trained:
    """A candidate and the model that its file holds."""

    candidate: Candidate
    model: Any


def train(folder: Path, task: str = "binary", **trainer: Any) -> Trained:
    job = make_job(folder, task, trainer={"folds": 2, **trainer})
    return Trained(*trained(job, folder))


def trained(job: Job, folder: Path) -> tuple[Candidate, Any]:
    dataset = make_dataset(job, folder)
    output = folder / "candidate"
    output.mkdir()
    candidate = ScikitLearnTrainer().train(
        job, dataset.training(), dataset.evaluation_inputs(), output, lambda _done, _text: None
    )
    return candidate, load_model(output / MODEL_FILE)


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_model_serves_whatever_a_service_sends(tmp_path: Path, algorithm: str, task: str) -> None:
    make_archive(tmp_path, task, rows=300)
    model = train(tmp_path, task, algorithms=[algorithm]).model
    events: list[dict[str, Any]] = [
        {"income": 1.5, "age": 0.2, "debt": -1.0, "region": "north"},
        {"income": None, "age": None, "debt": None, "region": None},
        {"income": 1, "age": 0, "debt": 0, "region": "a region never seen", "extra": "ignored"},
    ]
    one_by_one = [model.predict(pd.DataFrame([event]))[0] for event in events]
    assert all(value == value for value in one_by_one)  # noqa: PLR0124 (not NaN)
    together = model.predict(pd.DataFrame(events))
    if task == "regression":  # sums over columns and over rows round differently
        assert together == pytest.approx(one_by_one)
    else:
        assert together.tolist() == one_by_one
    text = pd.DataFrame(events[1:2]).astype({"region": object})
    missing = text.assign(region=np.array([np.nan], dtype=object))
    unknown = text.assign(region="a region never seen")
    assert model.predict(text) == model.predict(missing) == model.predict(unknown)


def test_classes_come_back_in_the_type_of_the_labels(tmp_path: Path) -> None:
    for task, kind in (("binary", np.integer), ("multiclass", str), ("regression", float)):
        folder = tmp_path / task
        folder.mkdir()
        make_archive(folder, task, rows=300)
        said = train(folder, task, algorithms=["linear"]).model.predict(
            pd.DataFrame([{"income": 1.0, "age": 1.0, "debt": 0.0, "region": "west"}])
        )
        assert isinstance(said[0], kind)


def test_what_is_judged_is_what_the_saved_file_says(tmp_path: Path) -> None:
    make_archive(tmp_path, rows=400)
    trained = train(tmp_path)
    later = make_dataset(make_job(tmp_path), tmp_path).evaluation_inputs()
    frame = later.to_pandas().rename(columns=lambda name: name.removeprefix("feature:"))
    assert trained.model.predict(frame).astype(str).tolist() == trained.candidate.predictions.tolist()
    assert trained.candidate.probabilities is not None
    assert np.allclose(trained.model.predict_proba(frame), trained.candidate.probabilities)
    assert trained.candidate.latency_seconds is not None
    assert 0 < trained.candidate.latency_seconds < 1


def test_the_best_on_later_folds_is_taken(tmp_path: Path) -> None:
    make_archive(tmp_path, rows=600)
    candidate = train(tmp_path).candidate
    losses = candidate.details["cross_validation"]
    assert set(losses) == {*ALGORITHMS, "constant"}
    assert losses[candidate.algorithm] == min(losses.values())
    assert json.loads(json.dumps(candidate.details)) == candidate.details


def test_columns_that_tell_nothing_are_left_out(tmp_path: Path) -> None:
    make_archive(tmp_path, rows=300)
    job = make_job(tmp_path, trainer={"algorithms": ["linear"], "folds": 2})
    table = make_dataset(job, tmp_path).table
    columns = {
        "feature:always": np.ones(300),
        "feature:never": np.full(300, np.nan),
        "feature:one_text": ["same"] * 300,
        "feature:customer": [f"customer {row}" for row in range(300)],
    }
    for name, values in columns.items():
        table = table.append_column(name, [values])
    output = tmp_path / "candidate"
    output.mkdir()
    candidate = ScikitLearnTrainer().train(
        job, table.slice(0, 200), table.slice(200).drop_columns(["label"]), output, lambda _done, _text: None
    )
    assert sorted(candidate.details["features"]) == ["age", "debt", "income", "region"]


def test_features_that_say_nothing_make_no_model(tmp_path: Path) -> None:
    make_archive(tmp_path, "regression", rows=600, signal=False)
    with pytest.raises(RetrainError) as raised:
        train(tmp_path, "regression")
    assert raised.value.reason is Reason.NO_BETTER_THAN_CONSTANT


@pytest.mark.parametrize("exclude", [["region"], ["debt", "age", "income"]], ids=["only numbers", "only categories"])
@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_one_kind_of_feature_will_do(tmp_path: Path, algorithm: str, exclude: list[str]) -> None:
    make_archive(tmp_path, rows=300)
    job = make_job(tmp_path, trainer={"algorithms": [algorithm], "folds": 2}, dataset={"exclude": exclude})
    candidate, _ = trained(job, tmp_path)
    assert set(exclude).isdisjoint(candidate.details["features"])


def test_an_unknown_algorithm_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    make_archive(tmp_path, rows=300)
    with pytest.raises(RetrainError, match="perceptron") as raised:
        train(tmp_path, algorithms=["perceptron"])
    assert raised.value.reason is Reason.BAD_SETTING
    assert "random_forest" in raised.value.hint


def test_a_file_with_code_of_others_is_not_loaded(tmp_path: Path) -> None:
    fitted = LogisticRegression().fit([[0], [1]], [0, 1])
    fitted.extra = FunctionTransformer(print)
    skops.io.dump(fitted, tmp_path / MODEL_FILE)
    with pytest.raises(RetrainError, match="print") as raised:
        load_model(tmp_path / MODEL_FILE)
    assert raised.value.reason is Reason.BAD_OUTPUT
