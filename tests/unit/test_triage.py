"""What an alarm is said to come of: broken data, a shift, a changed concept, or what was there before."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from seeded_rows import rows_of, text

from detectors.base import Kind
from detectors.breakage import Breakage, find_broken
from detectors.cause import Cause, Named, Raised
from detectors.columns import INVALID, Stream
from detectors.known import Known
from detectors.recent_rows import RecentRows, most_rows
from detectors.reference import Reference
from detectors.regimes import Regime
from detectors.triage import triage

ROWS = 2_000
ERROR = Raised(Kind.CONCEPT, "error", 0.2)
INCOME = Raised(Kind.DRIFT, "feature:income")
BROKEN = Raised(Kind.QUALITY, "feature:income")

Values = dict[str, NDArray[Any]]


def world(
    rng: np.random.Generator, n: int, *, moved: float = 0.0, turned: float = 1.0, share: float | None = None
) -> dict[Stream, Values]:
    """Rows of a model that knows the law of its labels: of income, unless it is ``turned``, and of age.

    ``moved`` shifts income by so many standard deviations; with ``share`` so many of the labels are 1.
    """
    many = n if share is None else 6 * n
    income, age = rng.normal(size=many) + moved, rng.normal(size=many)
    state = text(rng, "aabc", many)
    labels = rng.random(many) < chance(turned * income, age)
    if share is not None:
        ones, zeros = np.flatnonzero(labels), np.flatnonzero(~labels)
        kept = np.concatenate((ones[: round(share * n)], zeros[: n - round(share * n)]))
        rng.shuffle(kept)
        income, age, state, labels = income[kept], age[kept], state[kept], labels[kept]
    scores = chance(income, age)
    answers = scores >= 0.5
    return {
        Stream.FEATURES: {"feature:income": np.exp(9 + 0.5 * income), "feature:age": age, "feature:state": state},
        Stream.PREDICTION: {"prediction": classes(answers), "score": scores},
        Stream.OUTCOME: {"label": classes(labels), "error": (answers != labels).astype(np.float64)},
    }


def chance(income: NDArray[np.float64], age: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-(1.5 * income + age))))


def classes(flags: NDArray[np.bool_]) -> NDArray[Any]:
    return np.array(["1" if flag else "0" for flag in flags], dtype=object)


def references(seed: int = 0, **law: float) -> dict[Stream, Reference]:
    rows = world(np.random.default_rng(seed), ROWS, **law)
    return {stream: Reference.learn(rows_of(stream, values)) for stream, values in rows.items()}


LEARNED = references()


def known(
    rows: dict[Stream, Values], learned: dict[Stream, Reference] | None = None, labels: int | None = None
) -> Known:
    """What is known after these rows have come, and the first ``labels`` of their labels; None for all."""
    learned = LEARNED if learned is None else learned
    found = {}
    for stream, values in rows.items():
        columns = rows_of(stream, values, first=ROWS)
        columns = columns.slice(0, labels if stream is Stream.OUTCOME and labels is not None else len(columns))
        recent = RecentRows.none(len(values)).then([columns], learned[stream])
        found[stream] = (learned[stream], recent)
    return Known(found[Stream.FEATURES], found[Stream.PREDICTION], found[Stream.OUTCOME])


def after(n: int = 400, seed: int = 1, **law: float) -> dict[Stream, Values]:
    return world(np.random.default_rng(seed), n, **law)


def broken(how: Any, name: str = "feature:income", n: int = 200) -> dict[Stream, Values]:
    rows = after(n)
    rows[Stream.FEATURES][name] = how(rows[Stream.FEATURES][name].copy())
    return rows


def some(value: Any, every: int = 3) -> Any:
    def how(column: NDArray[Any]) -> NDArray[Any]:
        column[::every] = value
        return column

    return how


@pytest.mark.parametrize("seed", range(5))
def test_each_cause_is_named(seed: int) -> None:
    assert triage(INCOME, known(after(seed=seed, moved=1.0))).cause is Cause.COVARIATE_SHIFT
    assert triage(Raised(Kind.DRIFT, "label"), known(after(seed=seed, share=0.8))).cause is Cause.LABEL_SHIFT
    assert triage(ERROR, known(after(seed=seed, turned=-1.0))).cause is Cause.CONCEPT_DRIFT


@pytest.mark.parametrize(
    ("how", "name", "kind"),
    [
        (lambda column: column * 100, "feature:income", Breakage.UNIT_CHANGE),
        (lambda column: column / 1_000, "feature:income", Breakage.UNIT_CHANGE),
        (lambda column: column * 100, "feature:age", Breakage.UNIT_CHANGE),
        (some(np.nan), "feature:income", Breakage.NULLS),
        (some(None), "feature:state", Breakage.NULLS),
        (some(np.inf), "feature:income", Breakage.WRONG_TYPE),
        (some(INVALID), "feature:state", Breakage.WRONG_TYPE),
        (some("q"), "feature:state", Breakage.NEW_CATEGORY),
        (lambda column: np.full(len(column), np.nan), "feature:income", Breakage.STOPPED_FEED),
        (lambda column: np.full(len(column), column[0]), "feature:age", Breakage.STOPPED_FEED),
        (some(-99_999.0), "feature:income", Breakage.OUT_OF_RANGE),
    ],
)
def test_broken_data_is_named_with_what_is_broken(how: Any, name: str, kind: Breakage) -> None:
    found = triage(Raised(Kind.QUALITY, name), known(broken(how, name)))
    assert (found.cause, found.breakage, found.signal) == (Cause.DATA_BROKEN, kind, name)
    assert name.removeprefix("feature:") in found.text


def test_the_unit_is_said_with_how_to_undo_it() -> None:
    found = triage(BROKEN, known(broken(lambda column: column * 100)))
    assert found.figures["factor"] == 100
    assert found.text == "income is in another unit: the values fit the reference again when divided by 100"


def test_celsius_that_became_fahrenheit_is_a_unit() -> None:
    rng = np.random.default_rng(3)
    learned = Reference.learn(rows_of(Stream.FEATURES, {"feature:body": rng.normal(36.8, 0.4, ROWS)}))
    values = {"feature:body": rng.normal(36.8, 0.4, 60) * 1.8 + 32}
    (found,) = find_broken(learned, RecentRows.none(1).then([rows_of(Stream.FEATURES, values, first=ROWS)], learned))
    assert (found.kind, found.figures["undo"]) == (Breakage.UNIT_CHANGE, "turned from Fahrenheit into Celsius")


def test_prices_that_rise_by_half_are_no_unit() -> None:
    rows = broken(lambda column: column * 1.5)
    assert triage(INCOME, known(rows)).cause is not Cause.DATA_BROKEN


def test_a_score_such_as_there_never_was_is_not_broken() -> None:
    rows = after(n=200)
    rng = np.random.default_rng(5)
    sure = {stream: dict(values) for stream, values in world(np.random.default_rng(0), ROWS).items()}
    sure[Stream.PREDICTION]["score"] = rng.uniform(0.95, 1.0, ROWS)
    rows[Stream.PREDICTION]["score"] = rng.uniform(0.3, 0.5, 200)
    learned = {stream: Reference.learn(rows_of(stream, values)) for stream, values in sure.items()}
    for n in (200, 12):
        few = {stream: {name: column[:n] for name, column in values.items()} for stream, values in rows.items()}
        named = triage(Raised(Kind.QUALITY, "score"), known(few, learned))
        assert named.cause not in (Cause.DATA_BROKEN, Cause.UNKNOWN), "it would hold up what trains"


def test_a_category_that_becomes_frequent_is_a_shift_and_not_broken() -> None:
    found = triage(Raised(Kind.DRIFT, "feature:state"), known(broken(some("c", 2), "feature:state")))
    assert found.cause is Cause.COVARIATE_SHIFT


@pytest.mark.parametrize("kind", [Kind.DRIFT, Kind.CONCEPT, Kind.ANOMALY])
def test_too_few_rows_are_called_unknown(kind: Kind) -> None:
    for n in (0, 1, 5):
        found = triage(Raised(kind, "error"), known(after(n, moved=3.0)))
        assert found.cause is Cause.UNKNOWN, n
        assert found.confidence < 0.7


def test_without_labels_nobody_sees_that_the_concept_has_changed() -> None:
    found = triage(INCOME, known(after(moved=1.0, turned=-1.0), labels=0))
    assert found.cause is Cause.COVARIATE_SHIFT
    assert "only labels can tell" in found.text


@pytest.mark.filterwarnings("error")
def test_labels_of_a_model_that_predicts_nothing_say_nothing_of_its_errors() -> None:
    learned = world(np.random.default_rng(0), ROWS)
    rows = after(moved=1.0)
    for one in (learned, rows):
        one[Stream.OUTCOME]["error"][:] = np.nan
    references = {stream: Reference.learn(rows_of(stream, values)) for stream, values in learned.items()}
    assert triage(INCOME, known(rows, references)).cause is Cause.COVARIATE_SHIFT


def test_errors_of_rows_that_are_broken_are_those_of_the_data() -> None:
    rows = broken(some(np.nan, 2), n=400)
    wrong = rows[Stream.OUTCOME]["error"]
    wrong[::2] = np.random.default_rng(0).random(200) < 0.5
    assert triage(ERROR, known(rows)).cause is Cause.DATA_BROKEN


def test_a_few_broken_rows_do_not_hide_a_concept_that_changes() -> None:
    rows = after(turned=-1.0)
    rows[Stream.FEATURES]["feature:age"][::10] = np.nan
    assert triage(ERROR, known(rows)).cause is Cause.CONCEPT_DRIFT


def test_errors_that_rise_because_the_hard_rows_are_more_are_no_new_concept() -> None:
    rng = np.random.default_rng(5)
    rows = world(rng, 4_000)
    scores = rows[Stream.PREDICTION]["score"]
    hard = np.flatnonzero(np.abs(scores - 0.5) < 0.2)[:400]
    rows = {stream: {name: column[hard] for name, column in values.items()} for stream, values in rows.items()}
    assert rows[Stream.OUTCOME]["error"].mean() > 0.3
    assert triage(ERROR, known(rows)).cause is not Cause.CONCEPT_DRIFT


def test_the_error_of_a_number_tells_a_concept_from_a_shift() -> None:
    def numbers(seed: int, n: int, *, moved: float = 0.0, slope: float = 2.0) -> dict[Stream, Values]:
        rng = np.random.default_rng(seed)
        x, other = rng.normal(size=n) + moved, rng.normal(size=n)
        labels = slope * x + rng.normal(size=n)
        return {
            Stream.FEATURES: {"feature:x": x, "feature:other": other},
            Stream.PREDICTION: {"prediction": 2.0 * x},
            Stream.OUTCOME: {"label": labels, "error": np.abs(labels - 2.0 * x)},
        }

    learned = {stream: Reference.learn(rows_of(stream, values)) for stream, values in numbers(0, ROWS).items()}
    raised = Raised(Kind.CONCEPT, "error")
    assert triage(raised, known(numbers(1, 300, slope=0.5), learned)).cause is Cause.CONCEPT_DRIFT
    moved = known(numbers(1, 300, moved=1.0), learned)
    assert triage(Raised(Kind.DRIFT, "feature:x"), moved).cause is Cause.COVARIATE_SHIFT


def test_one_feature_and_no_predictions_are_enough_for_a_shift_of_it() -> None:
    rng = np.random.default_rng(0)
    learned = Reference.learn(rows_of(Stream.FEATURES, {"feature:x": text(rng, "aab", ROWS)}))
    values = {"feature:x": text(rng, "abb", 300)}
    recent = RecentRows.none(1).then([rows_of(Stream.FEATURES, values, first=ROWS)], learned)
    found = triage(Raised(Kind.DRIFT, "feature:x"), Known(features=(learned, recent)))
    assert (found.cause, found.ranking) == (Cause.COVARIATE_SHIFT, (("feature:x", 1.0),))


def test_what_matters_to_the_model_is_ranked_before_what_only_moved() -> None:
    rows = after(moved=0.7)
    rows[Stream.FEATURES]["feature:state"] = text(np.random.default_rng(2), "abbbc", 400)
    ranking = dict(triage(INCOME, known(rows)).ranking)
    assert ranking["feature:income"] > ranking["feature:state"] > 0


def test_an_earlier_regime_is_told_by_its_version() -> None:
    earlier, now = references(0), references(7, moved=1.5, turned=-1.0)
    regime = Regime.of("1", 5_000, earlier[Stream.FEATURES], earlier[Stream.OUTCOME])
    regime = Regime.from_dict(json.loads(json.dumps(regime.to_dict())))
    found = triage(INCOME, known(after(), now), (regime,))
    assert found.cause is Cause.RETURN
    assert found.text == "back to how it was before row 5,000, when version 1 served"


def test_a_regime_that_never_was_does_not_return() -> None:
    earlier, now = references(0, moved=-1.5), references(7)
    regime = Regime.of("1", 5_000, earlier[Stream.FEATURES], earlier[Stream.OUTCOME])
    assert triage(INCOME, known(after(moved=1.5), now), (regime,)).cause is Cause.COVARIATE_SHIFT


def test_only_the_concept_may_return() -> None:
    earlier, now = references(0), references(7, turned=-1.0)
    regime = Regime.of("1", 5_000, earlier[Stream.FEATURES], earlier[Stream.OUTCOME])
    rows = after()
    rows[Stream.OUTCOME]["error"] = 1 - rows[Stream.OUTCOME]["error"]  # of a version that has learned the opposite
    assert triage(ERROR, known(rows, now), (regime,)).cause is Cause.RETURN
    assert triage(ERROR, known(rows, now)).cause is Cause.CONCEPT_DRIFT


def test_what_an_alarm_keeps_is_json() -> None:
    for rows in (after(moved=1.0), broken(lambda column: column * 100), after(turned=-1.0)):
        evidence = triage(INCOME, known(rows)).to_evidence()
        assert json.loads(json.dumps(evidence, allow_nan=False)) == evidence


@given(seed=st.integers(0, 10**6), n=st.integers(0, 400), kind=st.sampled_from([Kind.DRIFT, Kind.CONCEPT]))
def test_what_follows_the_reference_is_never_called_broken(seed: int, n: int, kind: Kind) -> None:
    rng = np.random.default_rng(seed)
    picked = rng.integers(0, ROWS, n)
    rows = {
        stream: {name: column[picked] for name, column in values.items()}
        for stream, values in world(np.random.default_rng(0), ROWS).items()
    }
    assert triage(Raised(kind, "error" if kind is Kind.CONCEPT else "feature:income"), known(rows)).cause in (
        Cause.UNKNOWN,
        Cause.COVARIATE_SHIFT,
        Cause.LABEL_SHIFT,
        Cause.CONCEPT_DRIFT,
    )


@given(order=st.permutations([0, 1, 2]), seed=st.integers(0, 10**6), moved=st.floats(-2, 2), nulls=st.booleans())
def test_the_order_of_features_does_not_matter(order: list[int], seed: int, moved: float, nulls: bool) -> None:
    rows = after(seed=seed, moved=moved)
    if nulls:
        rows[Stream.FEATURES]["feature:age"][::4] = np.nan
    there = known(rows)
    assert there.features is not None
    reference, since = there.features
    turned = replace(
        reference,
        signals=tuple(reference.signals[s] for s in order),
        bins=tuple(reference.bins[s] for s in order),
        counts=reference.counts[order],
        temper=reference.temper[order],
        bin_temper=reference.bin_temper[order],
        sample=reference.sample[:, order],
    )
    other = replace(there, features=(turned, RecentRows(since.rows, since.points[:, order])))
    assert said(triage(ERROR, other)) == said(triage(ERROR, there))


def said(named: Named) -> tuple[Any, ...]:
    return named.cause, named.breakage, named.signal, round(named.confidence, 6), named.text


def test_the_last_rows_are_kept_however_they_came() -> None:
    rng = np.random.default_rng(0)
    columns = rows_of(Stream.FEATURES, {f"feature:{i}": rng.normal(size=900) for i in range(40)})
    learned = Reference.learn(columns)
    whole = RecentRows.none(40).then([columns], learned)
    assert len(whole) == most_rows(40) == 250
    parts = RecentRows.none(40)
    for start in range(0, 900, 70):
        parts = parts.then([columns.slice(start, start + 35), columns.slice(start + 35, start + 70)], learned)
    parts = RecentRows.from_dict(parts.to_dict())
    assert parts.rows.tolist() == whole.rows.tolist() == list(range(650, 900))
    assert (parts.points == whole.points).all()


@pytest.mark.parametrize("seed", range(6))
def test_labels_turned_at_random_are_no_label_shift(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    rows = after(1_500, seed=seed)
    outcome = rows[Stream.OUTCOME]
    turned = rng.random(1_500) < 0.15
    labels = np.where(turned, 1 - (outcome["label"] == "1"), outcome["label"] == "1").astype(bool)
    wrong = np.where(turned, 1 - outcome["error"], outcome["error"])
    rows[Stream.OUTCOME] = {"label": classes(labels), "error": wrong}
    assert triage(ERROR, known(rows)).cause is not Cause.LABEL_SHIFT


def test_a_score_that_is_always_the_same_where_the_inputs_have_moved_is_not_broken() -> None:
    rows = after(400, moved=2.5)
    rows[Stream.PREDICTION]["score"][:] = 1.0
    assert triage(Raised(Kind.DRIFT, "score"), known(rows)).cause is not Cause.DATA_BROKEN
    rows = after(400)
    rows[Stream.PREDICTION]["score"][:] = 0.5
    named = triage(Raised(Kind.DRIFT, "score"), known(rows))
    assert (named.cause, named.breakage) == (Cause.DATA_BROKEN, Breakage.STOPPED_FEED)
    assert triage(INCOME, known(rows)).cause is not Cause.DATA_BROKEN, "what is asked follows from no answer"


def test_errors_follow_from_labels_in_another_unit() -> None:
    rng = np.random.default_rng(0)

    def regression(n: int, factor: float) -> dict[Stream, Values]:
        x = rng.normal(size=n)
        labels = factor * (20 + 5 * x + rng.normal(size=n))
        said = 20 + 5 * x
        return {
            Stream.FEATURES: {"feature:x": x},
            Stream.PREDICTION: {"prediction": said},
            Stream.OUTCOME: {"label": labels, "error": np.abs(labels - said)},
        }

    learned = {stream: Reference.learn(rows_of(stream, values)) for stream, values in regression(ROWS, 1.0).items()}
    named = triage(Raised(Kind.CONCEPT, "error"), known(regression(200, 100.0), learned))
    assert (named.cause, named.signal) == (Cause.DATA_BROKEN, "label")


def test_a_few_values_of_a_category_never_seen_before_are_broken_data() -> None:
    rows = after(2_000)
    rows[Stream.FEATURES]["feature:state"][::80] = "q"
    named = triage(Raised(Kind.QUALITY, "feature:state"), known(rows))
    assert named.cause is Cause.DATA_BROKEN
