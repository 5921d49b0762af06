"""What the e-detector raises, when, and what it says of it."""

import json
from dataclasses import asdict

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from seeded_rows import count, errors, learn, rows_of, text, watch

from detectors.alternatives import build_alternatives
from detectors.base import Kind, Severity, StateMismatch, Verdict
from detectors.columns import Stream
from detectors.e_detector import EDetector
from detectors.laws import reference_law
from detectors.reference import Reference
from detectors.shiryaev_roberts import LARGEST, advance, factors

BUDGET = 100_000


def found(
    values: dict[str, NDArray[np.float64]], *, stream: Stream = Stream.FEATURES, window: int = 1, budget: float = BUDGET
) -> list[Verdict]:
    reference, live = learn(rows_of(stream, values))
    return watch(EDetector(reference, budget), reference, live, window=window)


def normal(seed: int, *parts: tuple[int, float, float]) -> NDArray[np.float64]:
    """Parts of so many rows of such a mean and standard deviation."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(mean, spread, n) for n, mean, spread in parts])


# golden rows: where each seeded change, at row 5,000, is raised


def test_golden_error_rate_from_a_tenth_to_a_fifth() -> None:
    rows = errors(np.random.default_rng(0), (5_000, 0.1), (2_000, 0.2))
    (verdict,) = found({"error": rows}, stream=Stream.OUTCOME)
    assert (verdict.kind, verdict.signal, verdict.row) == (Kind.CONCEPT, "error", 5_216)


def test_golden_shift_of_half_a_standard_deviation() -> None:
    (verdict,) = found({"feature:x": normal(0, (5_000, 0, 1), (2_000, 0.5, 1))})
    assert (verdict.kind, verdict.signal, verdict.row) == (Kind.DRIFT, "feature:x", 5_072)


def test_golden_shift_of_one_standard_deviation() -> None:
    (verdict,) = found({"feature:x": normal(0, (5_000, 0, 1), (2_000, 1, 1))})
    assert (verdict.kind, verdict.row) == (Kind.DRIFT, 5_023)


def test_golden_spread_half_as_large_again() -> None:
    (verdict,) = found({"feature:x": normal(0, (5_000, 0, 1), (2_000, 0, 1.5))})
    assert (verdict.kind, verdict.row) == (Kind.DRIFT, 5_057)


def test_golden_category_twice_as_frequent() -> None:
    rng = np.random.default_rng(0)
    column = np.concatenate([text(rng, "abcde", 5_000), text(rng, "aaabcde", 2_000)])
    (verdict,) = found({"feature:c": column})
    assert (verdict.kind, verdict.row, verdict.evidence["bin"]) == (Kind.DRIFT, 5_071, "a")


# what each kind of change is called


@pytest.mark.parametrize(
    ("broken", "bin_label"), [(np.nan, "missing"), (np.inf, "invalid"), (1e6, "new")], ids=["nulls", "text", "units"]
)
def test_broken_numbers_are_quality(broken: float, bin_label: str) -> None:
    column = normal(1, (6_000, 0, 1))
    column[5_000::2] = broken
    verdict = found({"feature:x": column})[0]
    assert (verdict.kind, verdict.signal, verdict.evidence["bin"]) == (Kind.QUALITY, "feature:x", bin_label)
    assert verdict.severity is Severity.CRITICAL
    assert 5_000 <= verdict.row <= 5_012


def test_a_new_category_is_quality() -> None:
    rng = np.random.default_rng(2)
    column = text(rng, "abc", 6_000)
    column[5_000::4] = "z"
    verdict = found({"feature:c": column})[0]
    assert (verdict.kind, verdict.evidence["bin"]) == (Kind.QUALITY, "new")


def test_a_feature_that_vanishes_is_quality() -> None:
    rows = rows_of(Stream.FEATURES, {"feature:x": normal(1, (5_000, 0, 1)), "feature:y": normal(2, (5_000, 0, 1))})
    reference, live = learn(rows)
    without = rows_of(Stream.FEATURES, {"feature:y": live.values["feature:y"]}, first=2_000)
    (verdict,) = watch(EDetector(reference, BUDGET), reference, without)
    assert (verdict.kind, verdict.signal, verdict.evidence["bin"]) == (Kind.QUALITY, "feature:x", "missing")


def test_new_ids_are_no_alarm() -> None:
    column = np.array([f"id-{i}" for i in range(12_000)], dtype=object)
    assert found({"feature:id": column}) == []


def test_an_error_that_falls_is_no_alarm() -> None:
    assert found({"error": errors(np.random.default_rng(3), (5_000, 0.3), (5_000, 0.1))}, stream=Stream.OUTCOME) == []


def test_a_numeric_error_that_grows_is_concept() -> None:
    error = np.abs(normal(4, (5_000, 0, 1), (2_000, 0, 1.5)))
    (verdict,) = found({"error": error}, stream=Stream.OUTCOME)
    assert (verdict.kind, verdict.evidence["effect_name"]) == (Kind.CONCEPT, "relative_error")
    assert verdict.evidence["effect"] == pytest.approx(0.5, abs=0.25)


def test_the_first_error_of_a_perfect_model_is_no_alarm_and_many_are() -> None:
    rows = errors(np.random.default_rng(5), (5_000, 0.0), (1_000, 0.3))
    rows[3_000] = 1.0
    (verdict,) = found({"error": rows}, stream=Stream.OUTCOME)
    assert verdict.kind is Kind.CONCEPT
    assert 5_000 <= verdict.row <= 5_050


def test_a_change_too_small_to_matter_is_not_raised() -> None:
    # .2 standard deviations are an index of .04: there is evidence enough in 20,000 rows, and no effect
    small = normal(6, (5_000, 0, 1), (20_000, 0.2, 1))
    assert found({"feature:x": small}) == []
    reference, live = learn(rows_of(Stream.FEATURES, {"feature:x": small}))
    raised = watch(EDetector(reference, BUDGET, min_effect=0.01), reference, live)
    assert [verdict.kind for verdict in raised] == [Kind.DRIFT]


def test_a_change_that_was_too_small_is_raised_once_it_grows() -> None:
    growing = normal(6, (5_000, 0, 1), (10_000, 0.2, 1), (2_000, 1.0, 1))
    (verdict,) = found({"feature:x": growing})
    assert 15_000 <= verdict.row <= 15_150
    assert 14_000 <= verdict.change_row <= 15_050


# one at a time, and each once


def test_what_stays_changed_is_raised_once() -> None:
    assert len(found({"feature:x": normal(7, (5_000, 0, 1), (100_000, 1, 1))})) == 1


def test_what_is_back_is_called_over_and_can_be_raised_again() -> None:
    again = normal(8, (5_000, 0, 1), (3_000, 1, 1), (5_000, 0, 1), (3_000, 1, 1), (5_000, 0, 1))
    verdicts = found({"feature:x": again})
    assert [verdict.recovered for verdict in verdicts] == [False, True, False, True]
    for verdict, change in zip(verdicts, (5_000, 8_000, 13_000, 16_000), strict=True):
        assert change <= verdict.row <= change + 120
        assert abs(verdict.change_row - change) <= 30


def test_one_shift_does_not_hide_another() -> None:
    values = {f"feature:{i}": normal(i, (20_000, 0, 1)) for i in range(5)}
    values["feature:1"][5_000:] += 1
    values["feature:3"][9_000:] += 1
    verdicts = found(values)
    assert [verdict.signal for verdict in verdicts] == ["feature:1", "feature:3"]
    assert 9_000 <= verdicts[1].row <= 9_050


def test_a_small_shift_does_not_hide_a_large_one() -> None:
    values = {"feature:small": normal(1, (5_000, 0, 1), (20_000, 0.2, 1)), "feature:large": normal(2, (25_000, 0, 1))}
    values["feature:large"][15_000:] += 1
    (verdict,) = found(values)
    assert verdict.signal == "feature:large"
    assert 15_000 <= verdict.row <= 15_050


def test_broken_data_is_raised_although_its_feature_has_drifted() -> None:
    column = normal(3, (5_000, 0, 1), (10_000, 1, 1))
    column[10_000:10_500] = np.nan
    kinds = [(verdict.kind, verdict.recovered) for verdict in found({"feature:x": column})]
    assert kinds == [(Kind.DRIFT, False), (Kind.QUALITY, False), (Kind.QUALITY, True)]


def test_the_one_that_moved_leads_the_ranking() -> None:
    values = {f"feature:{i}": normal(i, (8_000, 0, 1)) for i in range(20)}
    values["feature:13"][5_000:] += 0.7
    (verdict,) = found(values, window=5)
    assert verdict.ranking[0][0] == "feature:13"
    assert len(verdict.ranking) <= 10
    assert sum(share for _, share in verdict.ranking) <= 1.001


def test_rows_that_are_alike_raise_nothing_for_long_runs_that_independent_ones_would() -> None:
    rng = np.random.default_rng(9)
    column = np.empty(22_000)
    last = 0.0
    for i, noise in enumerate(rng.normal(size=len(column)) * np.sqrt(1 - 0.9**2)):
        last = 0.9 * last + noise
        column[i] = last
    assert found({"feature:x": column}) == []
    reference, live = learn(rows_of(Stream.FEATURES, {"feature:x": column}))
    believed = Reference.from_dict({**reference.to_dict(), "temper": [1.0]})
    assert len(watch(EDetector(believed, BUDGET), believed, live)) > 5


def test_outcomes_may_come_in_any_order_of_rows() -> None:
    rows = errors(np.random.default_rng(0), (5_000, 0.1), (2_000, 0.3))
    reference, live = learn(rows_of(Stream.OUTCOME, {"error": rows}))
    order = np.random.default_rng(1).permutation(len(live))
    shuffled = type(live)(live.stream, live.rows[order], live.ts, live.values)
    (verdict,) = watch(EDetector(reference, BUDGET), reference, shuffled)
    (straight,) = watch(EDetector(reference, BUDGET), reference, live)
    assert verdict.ts == straight.ts


# what is promised of a verdict


def test_a_verdict_can_be_stored_and_read_by_a_person() -> None:
    verdict = found({"feature:x": normal(0, (5_000, 0, 1), (2_000, 1, 1))})[0]
    assert json.loads(json.dumps(asdict(verdict)))["signal"] == "feature:x"
    assert verdict.evidence["threshold"] == BUDGET
    assert verdict.evidence["log10_evidence"] >= 5
    assert verdict.evidence["current_mean"] > 0.5 > verdict.evidence["reference_mean"]
    assert verdict.evidence["rows_since_change"] > 0
    assert verdict.change_ts <= verdict.ts


# what the proof of the budget rests on


@pytest.mark.parametrize("stream", [Stream.FEATURES, Stream.OUTCOME])
def test_no_bet_gains_on_average_while_nothing_changes(stream: Stream) -> None:
    rng = np.random.default_rng(0)
    values = {"feature:x": rng.normal(size=2_000), "feature:c": text(rng, "aabc", 2_000)}
    if stream is Stream.OUTCOME:
        values = {"label": text(rng, "ab", 2_000), "error": errors(rng, (2_000, 0.1))}
    reference = Reference.learn(rows_of(stream, values))
    bets = build_alternatives(reference, min_effect=0.1, min_loss=0.01)
    for s, tilts in enumerate(bets.tilts):
        law = reference_law(reference, s)
        assert law.sum() == pytest.approx(1)
        assert (law @ np.exp(tilts) <= 1).all()
    assert bets.weights.sum() == pytest.approx(1)


def test_the_recursion_is_the_sum_over_all_starts() -> None:
    rng = np.random.default_rng(0)
    logs = rng.normal(-0.05, 0.3, (200, 3))
    weights = np.array([0.5, 0.3, 0.2])
    after = advance(factors(logs), np.ones(200, dtype=np.int64), weights, np.zeros(3))
    by_definition = sum(np.exp(logs[start:].sum(axis=0)) for start in range(200)) * weights
    assert after[-1] == pytest.approx(by_definition)


@pytest.mark.parametrize("bets", [3, 300])
def test_the_recursion_goes_on_where_it_stopped(bets: int) -> None:
    factor = factors(np.random.default_rng(0).normal(0, 0.3, (500, bets)))
    sizes, weights = np.full(500, 2, dtype=np.int64), np.full(bets, 1 / bets)
    whole = advance(factor, sizes, weights, np.zeros(bets))
    first = advance(factor[:123], sizes[:123], weights, np.zeros(bets))
    second = advance(factor[123:], sizes[123:], weights, first[-1])
    assert second[-1] == pytest.approx(whole[-1], rel=1e-12)


def test_evidence_without_end_stays_a_number() -> None:
    factor = factors(np.full((10_000, 4), 700.0))
    after = advance(factor, np.ones(10_000, dtype=np.int64), np.full(4, 0.25), np.zeros(4))
    assert (after[-1] == LARGEST).all()
    falling = advance(
        factors(np.full((10_000, 4), -700.0)), np.ones(10_000, dtype=np.int64), np.full(4, 0.25), after[-1]
    )
    assert ((falling[-1] >= 0) & (falling[-1] < 1)).all()


@pytest.mark.parametrize("budget", [1_000, 10_000])
def test_the_budget_holds(budget: int) -> None:
    """Over references learned from the stream, the mean run length is at least the budget."""
    rows = alarms = 0
    for seed in range(40):
        rng = np.random.default_rng([99, seed])
        live = 5 * budget
        reference, columns = learn(rows_of(Stream.OUTCOME, {"error": errors(rng, (2_000 + live, 0.1))}))
        raised = watch(EDetector(reference, budget), reference, columns)
        rows += raised[0].row - 1_999 if raised else live
        alarms += bool(raised)
    assert rows / max(alarms, 1) >= budget


def test_the_state_of_another_reference_is_refused() -> None:
    reference, _ = learn(rows_of(Stream.FEATURES, {"feature:x": normal(0, (3_000, 0, 1))}))
    other, _ = learn(rows_of(Stream.FEATURES, {"feature:x": normal(1, (3_000, 0, 1))}))
    with pytest.raises(StateMismatch):
        EDetector(other, BUDGET).restore(EDetector(reference, BUDGET).state())


def test_another_threshold_keeps_the_evidence() -> None:
    rows = errors(np.random.default_rng(0), (5_000, 0.1), (80, 0.2))
    reference, live = learn(rows_of(Stream.OUTCOME, {"error": rows}))
    strict, lenient = EDetector(reference, 1e9), EDetector(reference, 50)
    assert watch(strict, reference, live) == []
    lenient.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(strict.state())))
    assert lenient.update(count(reference, live.slice(3_079, 3_080), 1), live.slice(3_079, 3_080)) != []


def test_a_budget_of_nothing_is_refused() -> None:
    reference, _ = learn(rows_of(Stream.FEATURES, {"feature:x": normal(0, (3_000, 0, 1))}))
    with pytest.raises(ValueError, match="events_per_false_alarm"):
        EDetector(reference, 0)


def test_a_further_change_of_what_has_changed_is_raised_as_well() -> None:
    further = normal(11, (5_000, 0, 1), (5_000, -0.7, 1), (3_000, 1.5, 1))
    first, second = found({"feature:x": further})
    assert 5_000 <= first.row <= 5_100
    assert 10_000 <= second.row <= 10_060
    assert abs(second.change_row - 10_000) <= 20
    assert second.evidence["again"] == first.row
    assert not second.recovered


def test_a_value_that_is_no_longer_there_is_found_among_few() -> None:
    rng = np.random.default_rng(12)
    column = rng.choice([0.0, 1.0, 2.0, 3.0, 4.0, 17.0], 12_000, p=[0.4, 0.2, 0.15, 0.1, 0.05, 0.1])
    column[5_000:][column[5_000:] == 17.0] = 0.0
    (verdict,) = found({"feature:x": column})
    assert 5_000 <= verdict.row <= 5_300
