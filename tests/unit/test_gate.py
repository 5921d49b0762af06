"""The gate promotes what is better, holds what is not proven, rejects what is worse or breaks a limit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from archive_rows import make_archive, make_job

from retrain.base import Candidate, Outcome, Reason, RetrainError
from retrain.dataset import make_dataset
from retrain.evaluation import Evaluation, evaluate
from retrain.gate import Judgement, judge
from retrain.job import GateSettings
from retrain.losses import Predictions, brier
from retrain.slices import judge_slices

ALPHA = 0.05


def situation(
    rows: int = 600,
    champion: float = 0.3,
    challenger: float = 0.1,
    *,
    seed: int = 8,
    segments: list[str | None] | None = None,
    probabilities: bool = False,
    **features: Any,
) -> Evaluation:
    """Both models' error rates on a balanced binary task."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(np.array(["0", "1"], dtype=object), rows)
    said = [
        np.where(rng.random(rows) < rate, np.where(truth == "1", "0", "1"), truth) for rate in (champion, challenger)
    ]
    certain = [np.column_stack([values == "0", values == "1"]) * 0.8 + 0.1 for values in said]
    models = [
        Predictions(values.astype(object), ("0", "1"), chances if probabilities else None)
        for values, chances in zip(said, certain, strict=True)
    ]
    columns: dict[str, Any] = {"row": np.arange(rows), "segment": pa.array(segments or [None] * rows, pa.string())}
    columns |= {f"feature:{name}": values for name, values in features.items()}
    always = Predictions(np.full(rows, "1", dtype=object), ("0", "1"), np.full((rows, 2), 0.5))
    return Evaluation(truth, models[0], models[1], always, pa.table(columns), "error", 1.0)


def candidate(folder: Path, latency: float | None = None, size: int = 10) -> Candidate:
    (folder / "model").write_bytes(b"\0" * size)
    return Candidate(folder, "linear", np.array([]), latency_seconds=latency)


def judged(folder: Path, evaluation: Evaluation, **settings: Any) -> Judgement:
    return judge(evaluation, candidate(folder), msgspec.convert(settings, GateSettings))


def test_a_better_challenger_is_promoted(tmp_path: Path) -> None:
    judgement = judged(tmp_path, situation())
    assert judgement.outcome is Outcome.PROMOTE
    assert judgement.reasons == (Reason.GAIN_PROVEN,)
    assert judgement.gain.low is not None
    assert 0 < judgement.gain.low < judgement.gain.estimate
    assert judgement.metrics["challenger"]["accuracy"] > judgement.metrics["champion"]["accuracy"]


def test_an_equal_challenger_is_held(tmp_path: Path) -> None:
    judgement = judged(tmp_path, situation(challenger=0.3))
    assert (judgement.outcome, judgement.reasons) == (Outcome.HOLD, (Reason.GAIN_NOT_PROVEN,))


def test_a_worse_challenger_is_rejected(tmp_path: Path) -> None:
    judgement = judged(tmp_path, situation(champion=0.1, challenger=0.3))
    assert judgement.outcome is Outcome.REJECT
    assert Reason.WORSE in judgement.reasons


def test_the_same_model_again_is_held(tmp_path: Path) -> None:
    evaluation = situation()
    judgement = judged(tmp_path, replace(evaluation, challenger=evaluation.champion))
    assert (judgement.outcome, judgement.reasons) == (Outcome.HOLD, (Reason.GAIN_NOT_PROVEN,))


def test_null_challengers_are_promoted_at_most_as_often_as_allowed(tmp_path: Path) -> None:
    ready = candidate(tmp_path)
    runs = 300
    promoted = sum(
        judge(situation(150, 0.2, 0.2, seed=seed), ready, GateSettings()).outcome is Outcome.PROMOTE
        for seed in range(runs)
    )
    assert promoted / runs <= ALPHA + 2 * np.sqrt(ALPHA / runs)


def test_good_challengers_are_promoted(tmp_path: Path) -> None:
    ready = candidate(tmp_path)
    runs = 100
    promoted = sum(
        judge(situation(400, 0.3, 0.15, seed=seed), ready, GateSettings()).outcome is Outcome.PROMOTE
        for seed in range(runs)
    )
    assert promoted >= 0.95 * runs


def test_a_gain_below_the_minimum_is_held(tmp_path: Path) -> None:
    judgement = judged(tmp_path, situation(2_000), minimum_gain=0.19)
    assert (judgement.outcome, judgement.reasons) == (Outcome.HOLD, (Reason.GAIN_NOT_PROVEN,))
    assert judgement.gain.estimate == pytest.approx(0.2, abs=0.03)


def test_too_few_rows_are_held_however_good(tmp_path: Path) -> None:
    judgement = judged(tmp_path, situation(99, champion=0.9, challenger=0.01))
    assert (judgement.outcome, judgement.reasons) == (Outcome.HOLD, (Reason.TOO_FEW_ROWS,))


def test_no_better_than_a_constant_is_held(tmp_path: Path) -> None:
    evaluation = situation(champion=0.9, challenger=0.6)
    judgement = judged(tmp_path, evaluation)
    assert (judgement.outcome, judgement.reasons) == (Outcome.HOLD, (Reason.NO_BETTER_THAN_CONSTANT,))


def test_rare_enormous_errors_are_not_cut_off_unseen(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    truth = rng.normal(size=2_000)
    champion = truth + rng.normal(size=2_000)
    challenger = truth + 0.5 * rng.normal(size=2_000)
    challenger[::100] = 1e6
    constant = Predictions(np.full(2_000, 1e7))
    rows = pa.table({"row": np.arange(2_000), "segment": pa.nulls(2_000, pa.string())})
    evaluation = Evaluation(truth, Predictions(champion), Predictions(challenger), constant, rows, "error", 4.0)
    assert evaluation.pairs().proves_above(0.0, ALPHA)
    judgement = judged(tmp_path, evaluation)
    assert (judgement.outcome, judgement.reasons) == (Outcome.HOLD, (Reason.GAIN_NOT_PROVEN,))


def sliced(rows: int = 1_200, *, by_feature: bool = False) -> Evaluation:
    """Better everywhere but in every sixth row."""
    few = np.arange(rows) % 6 == 0
    names = np.where(few, "branch", "web").astype(object)
    segments = [f'{{"channel":"{name}"}}' for name in names]
    evaluation = situation(rows, 0.4, 0.05, segments=None if by_feature else segments, channel=names.tolist())
    challenger = evaluation.challenger.values.copy()
    challenger[few] = np.where(evaluation.truth[few] == "1", "0", "1")
    return replace(evaluation, challenger=Predictions(challenger, ("0", "1")))


def test_a_slice_that_loses_is_named(tmp_path: Path) -> None:
    judgement = judged(tmp_path, sliced())
    assert (judgement.outcome, judgement.reasons) == (Outcome.REJECT, (Reason.SLICE_FLOOR,))
    assert {one.value: one.broken for one in judgement.slices} == {"web": False, "branch": True}
    assert "channel = branch" in next(check.text for check in judgement.checks if check.reason is Reason.SLICE_FLOOR)


def test_slices_by_features_are_those_chosen(tmp_path: Path) -> None:
    evaluation = sliced(by_feature=True)
    assert judged(tmp_path, evaluation).outcome is Outcome.PROMOTE
    assert judged(tmp_path, evaluation, slice_features=["channel"]).reasons == (Reason.SLICE_FLOOR,)


def test_small_slices_and_small_losses_do_not_reject(tmp_path: Path) -> None:
    assert judged(tmp_path, sliced(), slice_rows=201).outcome is Outcome.PROMOTE
    assert judged(tmp_path, sliced(), slice_floor=0.9).outcome is Outcome.PROMOTE


def test_many_slices_share_the_risk_of_a_wrong_alarm() -> None:
    names = [f'{{"shop":{number % 20}}}' for number in range(1_000)]
    settings = GateSettings(slice_floor=0)
    wrong = sum(
        any(one.broken for one in judge_slices(situation(1_000, 0.3, 0.3, seed=seed, segments=names), settings))
        for seed in range(60)
    )
    assert wrong <= 8  # 5 % of 60, and three standard errors


def unfair(gap: float, rows: int) -> Evaluation:
    evaluation = situation(rows, 0.4, 0.1, sex=["f", "m"] * (rows // 2))
    rng = np.random.default_rng(1)
    men = np.arange(rows) % 2 == 1
    values = np.where(rng.random(rows) < np.where(men, 0.5 + gap / 2, 0.5 - gap / 2), "1", "0").astype(object)
    return replace(evaluation, truth=values.copy(), challenger=Predictions(values, ("0", "1")))


@pytest.mark.parametrize(
    ("gap", "rows", "outcome"),
    [(0.4, 1_000, Outcome.REJECT), (0.16, 400, Outcome.HOLD), (0.0, 4_000, Outcome.PROMOTE)],
)
def test_groups_must_be_treated_alike(tmp_path: Path, gap: float, rows: int, outcome: Outcome) -> None:
    judgement = judged(tmp_path, unfair(gap, rows), fairness_attribute="sex")
    assert judgement.outcome is outcome
    assert (Reason.FAIRNESS in judgement.reasons) == (outcome is not Outcome.PROMOTE)


def test_fairness_by_a_number_goes_by_its_quarters(tmp_path: Path) -> None:
    rows = 1_000
    evaluation = unfair(0.0, rows)
    ages = np.where(evaluation.challenger.values == "1", 60.0, 30.0) + np.arange(rows) / rows
    evaluation = replace(evaluation, table=evaluation.table.append_column("feature:age", pa.array(ages)))
    assert judged(tmp_path, evaluation, fairness_attribute="age").reasons == (Reason.FAIRNESS,)


def test_fairness_that_cannot_be_judged_holds(tmp_path: Path) -> None:
    evaluation = situation(600, sex=["f"] * 600)
    judgement = judged(tmp_path, evaluation, fairness_attribute="sex")
    assert (judgement.outcome, judgement.reasons) == (Outcome.HOLD, (Reason.FAIRNESS,))


@pytest.mark.parametrize("setting", [{"fairness_attribute": "gender"}, {"slice_features": ["gender"]}])
def test_an_unknown_attribute_is_no_free_pass(tmp_path: Path, setting: dict[str, Any]) -> None:
    with pytest.raises(RetrainError, match="gender") as raised:
        judged(tmp_path, situation(600, sex=["f"] * 600), **setting)
    assert raised.value.reason is Reason.BAD_SETTING
    assert "sex" in raised.value.hint


@pytest.mark.parametrize(("certainty", "outcome"), [(1.0, Outcome.REJECT), (0.75, Outcome.PROMOTE)])
def test_probabilities_must_not_get_much_worse(tmp_path: Path, certainty: float, outcome: Outcome) -> None:
    evaluation = situation(6_000, 0.3, 0.25)
    models = [
        Predictions(said.values, ("0", "1"), np.where(said.values[:, None] == ["0", "1"], chance, 1 - chance))
        for said, chance in ((evaluation.champion, 0.7), (evaluation.challenger, certainty))
    ]
    judgement = judged(tmp_path, replace(evaluation, champion=models[0], challenger=models[1]))
    assert judgement.outcome is outcome
    assert (Reason.CALIBRATION in judgement.reasons) == (outcome is Outcome.REJECT)


def test_a_challenger_without_probabilities_does_not_replace_one_with(tmp_path: Path) -> None:
    evaluation = situation(probabilities=True)
    silent = replace(evaluation, challenger=Predictions(evaluation.challenger.values, ("0", "1")))
    assert judged(tmp_path, silent).reasons == (Reason.CALIBRATION,)
    assert judged(tmp_path, silent, calibration_bound=None).outcome is Outcome.PROMOTE


def test_brier_score_of_two_classes_and_of_an_unknown_one() -> None:
    said = Predictions(np.array(["1", "1"], dtype=object), ("0", "1"), np.array([[0.3, 0.7], [0.3, 0.7]]))
    assert brier(np.array(["1", "0"], dtype=object), said) == pytest.approx([0.09, 0.49])
    assert brier(np.array(["2", "0"], dtype=object), said)[0] == pytest.approx((0.09 + 0.49 + 1) / 2)


@pytest.mark.parametrize(
    ("latency", "limit", "outcome"),
    [(0.02, 10, Outcome.REJECT), (0.005, 10, Outcome.PROMOTE), (None, 10, Outcome.HOLD), (None, None, Outcome.PROMOTE)],
)
def test_latency(tmp_path: Path, latency: float | None, limit: float | None, outcome: Outcome) -> None:
    judgement = judge(situation(), candidate(tmp_path, latency), GateSettings(latency_ms=limit))
    assert judgement.outcome is outcome
    assert (Reason.LATENCY in judgement.reasons) == (outcome is not Outcome.PROMOTE)


@pytest.mark.parametrize(("size", "outcome"), [(1024**2 + 1, Outcome.REJECT), (1024**2, Outcome.PROMOTE)])
def test_size(tmp_path: Path, size: int, outcome: Outcome) -> None:
    judgement = judge(situation(), candidate(tmp_path, size=size), GateSettings(size_mb=1))
    assert judgement.outcome is outcome


def test_every_reason_of_the_outcome_is_told(tmp_path: Path) -> None:
    settings = GateSettings(latency_ms=1, size_mb=0.00001)
    judgement = judge(situation(champion=0.1, challenger=0.4), candidate(tmp_path, 1.0, 1_000), settings)
    assert judgement.reasons == (Reason.WORSE, Reason.LATENCY, Reason.SIZE)


# --- which rows are judged


def test_only_rows_that_the_champion_predicted_are_judged(tmp_path: Path) -> None:
    make_archive(tmp_path, rows=600)
    rows = pa.parquet.read_table(tmp_path / "events.parquet")
    versions = ["0"] * 450 + ["1"] * 50 + [None] * 100  # the last did not say, and so were served by the champion
    rows = rows.set_column(rows.schema.get_field_index("version"), "version", pa.array(versions))
    pa.parquet.write_table(rows, tmp_path / "events.parquet")
    job = make_job(tmp_path)
    dataset = make_dataset(job, tmp_path)
    later = dataset.evaluation_inputs().num_rows
    made = Candidate(tmp_path, "none", np.full(later, "1", dtype=object), ("0", "1"))
    evaluation = evaluate(job, dataset, made)
    assert evaluation.table.column("row").to_pylist() == list(range(450, 600))


def test_scores_belong_to_the_class_that_they_go_with(tmp_path: Path) -> None:
    make_archive(tmp_path, rows=600)
    rows = pa.parquet.read_table(tmp_path / "events.parquet")
    flipped = pa.compute.subtract(1.0, rows.column("score"))
    pa.parquet.write_table(rows.set_column(6, "score", flipped), tmp_path / "flipped.parquet")
    scores = []
    for file in ("events.parquet", "flipped.parquet"):
        job = make_job(tmp_path, dataset={"files": [str(tmp_path / file)]})
        dataset = make_dataset(job, tmp_path)
        made = Candidate(tmp_path, "none", np.full(180, "1", dtype=object), ("0", "1"))
        evaluation = evaluate(job, dataset, made)
        scores.append(float(brier(evaluation.truth, evaluation.champion).mean()))
    assert scores[0] == pytest.approx(scores[1])
    assert scores[0] < 0.25
