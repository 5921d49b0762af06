"""How far out in its tails a row lies, beside the rows before it, and when that is raised."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seeded_rows import learn, rows_of, text, watch

from detectors.base import Kind
from detectors.columns import Columns, Stream, concatenate
from detectors.reference import Reference
from detectors.tail_scores import TailScores
from detectors.tails import KEEP_EVERY, Tails


def ordinary(n: int = 8_000, seed: int = 0) -> Columns:
    rng = np.random.default_rng(seed)
    values = {"feature:x": rng.normal(size=n), "feature:y": rng.exponential(size=n), "feature:c": text(rng, "aaab", n)}
    return rows_of(Stream.FEATURES, values)


def made(reference: Reference) -> TailScores:
    return TailScores(reference, 100_000)


def score_of(detector: TailScores, x: float, y: float = 1.0, c: str | None = "a") -> float:
    values = {"feature:x": np.array([x]), "feature:y": np.array([y]), "feature:c": np.array([c], dtype=object)}
    return float(detector.scores(rows_of(Stream.FEATURES, values))[0])


def test_golden_row_at_which_strange_rows_are_raised() -> None:
    columns = ordinary()
    columns.values["feature:x"][5_000:5_100] = 6.0
    columns.values["feature:y"][5_000:5_100] = 15.0
    reference, live = learn(columns)
    verdict = watch(made(reference), reference, live, window=5)[0]
    assert (verdict.kind, verdict.signal, verdict.row) == (Kind.ANOMALY, "features", 5_004)
    assert all(5_000 <= row < 5_100 for row, _ in verdict.evidence["strangest"])


@settings(max_examples=40, deadline=None)
@given(x=st.floats(-1e6, 1e6), farther=st.floats(0.001, 1e6))
def test_what_lies_farther_out_is_never_less_strange(x: float, farther: float) -> None:
    reference, _ = learn(ordinary())
    middle = float(np.median(reference.sample[:, 0]))
    out = x + farther if x >= middle else x - farther
    assert score_of(made(reference), out) >= score_of(made(reference), x)


def test_far_beyond_all_that_was_seen_there_is_still_stranger() -> None:
    reference, _ = learn(ordinary())
    scores = [score_of(made(reference), x) for x in (0.0, 3.0, 6.0, 60.0, 6e6, 1e300)]
    assert scores == sorted(scores)
    assert len(set(scores)) == len(scores)


def test_high_in_every_signal_is_stranger_than_high_in_one_and_low_in_another() -> None:
    rng = np.random.default_rng(1)
    reference, _ = learn(rows_of(Stream.FEATURES, {f"feature:{i}": rng.normal(size=2_100) for i in range(2)}))
    both, apart = made(reference).scores(
        rows_of(Stream.FEATURES, {"feature:0": np.array([2.5, 2.5]), "feature:1": np.array([2.5, -2.5])})
    )
    assert both > apart


@pytest.mark.parametrize("odd", [{"x": np.nan}, {"x": np.inf}, {"x": -np.inf}, {"c": "z"}, {"c": None}, {"c": "b"}])
def test_what_is_missing_invalid_new_or_rare_is_strange(odd: dict[str, float | str]) -> None:
    reference, _ = learn(ordinary())
    usual = {"x": 0.0, "y": 1.0, "c": "a"}
    assert score_of(made(reference), **{**usual, **odd}) > score_of(made(reference), **usual)  # type: ignore[arg-type]


def test_ranks_alone_matter_where_the_past_is_dense() -> None:
    columns = ordinary()
    reference, live = learn(columns)
    stretched = rows_of(Stream.FEATURES, {**columns.values, "feature:x": 7 + 1_000 * columns.values["feature:x"]})
    other, other_live = learn(stretched)
    assert np.corrcoef(made(reference).scores(live), made(other).scores(other_live))[0, 1] > 0.9999


@pytest.mark.parametrize("batch", [1, 7, 1_000, 4_321])
def test_scores_do_not_depend_on_how_rows_are_batched(batch: int) -> None:
    reference, live = learn(ordinary(4_500 if batch == 1 else 8_000))
    whole, parts = made(reference).scores(live), made(reference)
    assert (np.concatenate([parts.scores(live.slice(i, i + batch)) for i in range(0, len(live), batch)]) == whole).all()


def test_it_goes_on_from_its_state_in_the_middle_of_what_it_remembers() -> None:
    reference, live = learn(ordinary())
    whole, before = made(reference).scores(live), made(reference)
    before.scores(live.slice(0, 2_345))
    after = made(Reference.from_dict(reference.to_dict()))
    after.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(before.state())))
    assert (after.scores(live.slice(2_345, 6_000)) == whole[2_345:]).all()


def test_what_lasts_becomes_usual() -> None:
    columns = ordinary(20_000)
    columns.values["feature:x"][5_000:] += 6.0
    reference, live = learn(columns)
    scores = made(reference).scores(live)
    at_first, later, before = scores[3_000:3_500].mean(), scores[-2_000:].mean(), scores[:3_000].mean()
    assert at_first > 1.5 * before
    assert later < 1.2 * before


def test_rows_older_than_its_memory_are_forgotten() -> None:
    reference, live = learn(ordinary(2_100))
    tails = Tails(reference.sample, reference.bins)
    moved = np.tile(reference.points(live)[:1], (len(reference.sample) * KEEP_EVERY, 1))
    for _ in tails.walk(moved):
        pass
    assert (np.frombuffer(tails.to_dict()["values"], np.float32).reshape(-1, 3) == moved[0].astype(np.float32)).all()


def test_a_signal_that_does_not_come_is_strange_and_no_error() -> None:
    reference, live = learn(ordinary())
    without = rows_of(Stream.FEATURES, {"feature:x": live.values["feature:x"]})
    assert made(reference).scores(without).mean() > made(reference).scores(live).mean()


def test_a_signal_that_never_varied_is_strange_when_it_does() -> None:
    constant = rows_of(Stream.FEATURES, {"feature:x": np.full(3_000, 4.0)})
    reference, live = learn(constant)
    assert made(reference).scores(live).max() < 0.001
    moved = rows_of(Stream.FEATURES, {"feature:x": np.array([4.0, 4.1, 3.0])})
    same, little, much = made(reference).scores(moved)
    assert same < 0.001 < little < much


def test_nothing_to_score_scores_nothing() -> None:
    reference, live = learn(ordinary())
    assert made(reference).scores(concatenate([live.slice(0, 0)])).tolist() == []
