"""What a reference learns, and into which bin it puts what comes later."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from seeded_rows import rows_of, text

from detectors.columns import INVALID, Stream
from detectors.correlation import correlation_time
from detectors.reference import FIRST_BIN, INVALID_BIN, MISSING, NEW, Reference


def learned(column: NDArray[Any], **options: int) -> Reference:
    return Reference.learn(rows_of(Stream.FEATURES, {"x": column}), **options)


def bins_of(reference: Reference, *values: Any) -> list[int]:
    numbers = all(isinstance(value, float) for value in values)
    column = np.array(values) if numbers else np.array(values, dtype=object)
    return [int(code) for code in reference.encode(rows_of(Stream.FEATURES, {"x": column}))[:, 0]]


def texts(*values: str | None) -> NDArray[Any]:
    return np.array(values, dtype=object)


def normal(n: int = 2_000) -> NDArray[np.float64]:
    return np.random.default_rng(0).normal(size=n)


def test_a_number_gets_its_bins_and_all_rows_are_in_them() -> None:
    reference = learned(normal())
    assert reference.kinds == ("number",)
    assert reference.counts.sum() == reference.rows == 2_000
    assert reference.width == FIRST_BIN + 20
    assert reference.counts[0, :FIRST_BIN].tolist() == [0, 0, 0]
    # the outermost bins hold about a row in a hundred, because the tails are where a shift shows
    assert 10 <= reference.counts[0, FIRST_BIN] <= 30


def test_what_is_odd_about_a_number_has_a_bin_of_its_own() -> None:
    reference = learned(normal())
    assert bins_of(reference, np.nan, np.inf, -np.inf, 1e9, -1e9) == [MISSING, INVALID_BIN, INVALID_BIN, NEW, NEW]
    assert bins_of(reference, None, INVALID, "abc", "1e999", "0.0", "1e9") == [
        MISSING,
        INVALID_BIN,
        INVALID_BIN,
        INVALID_BIN,
        *bins_of(reference, 0.0),
        NEW,
    ]


def test_a_little_outside_the_range_is_nothing_new() -> None:
    numbers = normal()
    assert bins_of(learned(numbers), float(numbers.max() * 1.05))[0] == FIRST_BIN + 19


@given(st.lists(st.floats(-4, 4), min_size=1, max_size=50))
def test_larger_numbers_are_in_later_bins(values: list[float]) -> None:
    codes = bins_of(learned(normal()), *sorted(values))
    assert codes == sorted(codes)


def test_a_number_of_few_values_has_a_bin_for_each() -> None:
    reference = learned(np.array([1.0, 2.0, 2.0, 5.0] * 10))
    assert reference.labels("x") == ["missing", "invalid", "new", "1", "2", "5"]
    assert reference.counts[0].tolist() == [0, 0, 0, 10, 20, 10]


def test_a_value_that_many_rows_share_has_a_bin_of_its_own() -> None:
    numbers = np.where(np.arange(2_000) % 2 == 0, 0.0, np.abs(normal()) + 1)
    reference = learned(numbers)
    assert reference.counts[0, FIRST_BIN] == 1_000
    assert len(set(bins_of(reference, 0.0, 1.1))) == 2


def test_right_and_wrong_both_have_a_bin_before_either_was_seen() -> None:
    reference = learned(np.zeros(100))
    assert bins_of(reference, 0.0, 1.0) == [FIRST_BIN, FIRST_BIN + 1]
    assert reference.counts[0].tolist() == [0, 0, 0, 100, 0]


def test_a_constant_knows_any_other_value_as_new() -> None:
    assert bins_of(learned(np.full(100, 7.5)), 7.5, 8.5) == [FIRST_BIN, NEW]


def test_what_was_always_missing_may_stay_so_and_anything_else_is_new() -> None:
    reference = learned(np.full(100, np.nan))
    assert bins_of(reference, np.nan, 1.0) == [MISSING, NEW]
    assert bins_of(learned(texts(None, None)), None, "a") == [MISSING, NEW]


def test_extreme_numbers_are_only_numbers() -> None:
    reference = learned(np.array([-1.7e308, 1.7e308, 5e-324, 0.0] * 30), bins=2)
    assert reference.counts[0, FIRST_BIN:].sum() == 120


def test_categories_are_bins_and_one_never_seen_is_new() -> None:
    reference = learned(texts("b", "a", "b", None, INVALID, "true"))
    assert reference.kinds == ("category",)
    assert reference.labels("x") == ["missing", "invalid", "new", "b", "a", "true"]
    assert bins_of(reference, "a", "zebra", None, INVALID) == [FIRST_BIN + 1, NEW, MISSING, INVALID_BIN]


def test_a_number_in_a_category_is_taken_as_its_text() -> None:
    reference = learned(texts("1", "2", "2.5"))
    assert bins_of(reference, 1.0, 2.5, 3.0, np.nan, np.inf) == [FIRST_BIN, FIRST_BIN + 2, NEW, MISSING, INVALID_BIN]


def test_rare_categories_share_a_bin_and_stay_known() -> None:
    column = texts(*(["a"] * 500 + ["b"] * 500 + ["c", "c", "d", "d"]))
    reference = learned(column, categories=2)
    assert reference.labels("x")[FIRST_BIN:] == ["a", "b", "(other)"]
    assert bins_of(reference, "c", "d", "e") == [FIRST_BIN + 2, FIRST_BIN + 2, NEW]


def test_an_id_never_seen_is_nothing_new_and_takes_no_memory() -> None:
    reference = learned(texts(*(f"id-{i}" for i in range(5_000))))
    assert reference.width <= FIRST_BIN + 21
    assert bins_of(reference, "id-9999999") == [reference.width - 1]
    assert len(msgspec.msgpack.encode(reference.to_dict())) < 50_000


def test_a_signal_that_does_not_come_is_missing_and_one_too_many_is_ignored() -> None:
    reference = Reference.learn(
        rows_of(Stream.FEATURES, {"x": normal(100), "y": text(np.random.default_rng(0), "ab", 100)})
    )
    codes = reference.encode(rows_of(Stream.FEATURES, {"z": normal(3)}))
    assert codes.tolist() == [[MISSING, MISSING]] * 3


@pytest.mark.parametrize("values", [{"x": np.empty(0)}, {}])
def test_nothing_cannot_be_learned_from(values: dict[str, NDArray[Any]]) -> None:
    rows = rows_of(Stream.FEATURES, values or {"x": np.empty(0)})
    with pytest.raises(ValueError, match="at least one row"):
        Reference.learn(rows)


def test_one_row_is_enough() -> None:
    reference = Reference.learn(rows_of(Stream.OUTCOME, {"label": texts("yes"), "error": np.array([1.0])}))
    assert reference.rows == 1
    assert reference.temper.tolist() == [1.0, 1.0]


def mixed() -> Reference:
    rng = np.random.default_rng(3)
    values = {
        "a": rng.normal(size=500),
        "b": text(rng, "abcdef", 500),
        "c": np.full(500, np.nan),
        "d": rng.integers(0, 3, 500) * 1.0,
    }
    return Reference.learn(rows_of(Stream.FEATURES, values))


def test_a_reference_survives_being_stored() -> None:
    reference = mixed()
    stored = Reference.from_dict(msgspec.msgpack.decode(msgspec.msgpack.encode(reference.to_dict())))
    rng = np.random.default_rng(4)
    live = rows_of(
        Stream.FEATURES, {"a": rng.normal(size=200) * 3, "b": text(rng, "abxyz", 200), "c": rng.normal(size=200)}
    )
    assert (stored.encode(live) == reference.encode(live)).all()
    assert (stored.counts == reference.counts).all()
    assert (stored.temper == reference.temper).all()
    assert np.array_equal(stored.sample, reference.sample, equal_nan=True)
    assert [stored.labels(name) for name in stored.signals] == [reference.labels(name) for name in reference.signals]
    assert (stored.stream, stored.signals, stored.rows, stored.kinds) == (
        reference.stream,
        reference.signals,
        reference.rows,
        reference.kinds,
    )


def test_a_reference_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version 99"):
        Reference.from_dict({**mixed().to_dict(), "version": 99})


def test_encoding_changes_nothing_it_was_given() -> None:
    reference = mixed()
    column = np.array([1.0, np.nan, np.inf])
    reference.encode(rows_of(Stream.FEATURES, {"a": column}))
    assert np.array_equal(column, [1.0, np.nan, np.inf], equal_nan=True)


def autoregression(coefficient: float, n: int, seed: int = 0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    values = np.empty(n)
    last = rng.normal()
    for i, noise in enumerate(rng.normal(size=n) * np.sqrt(1 - coefficient**2)):
        last = coefficient * last + noise
        values[i] = last
    return values


@pytest.mark.parametrize(("coefficient", "tau"), [(0.5, 3.0), (0.9, 19.0)])
def test_rows_like_their_neighbours_count_for_less(coefficient: float, tau: float) -> None:
    # the autocorrelations of a first-order autoregression add up to (1 + c) / (1 - c)
    measured = [1 / learned(autoregression(coefficient, 2_000, seed)).temper[0] for seed in range(10)]
    assert 0.75 * tau < np.median(measured) < 1.5 * tau


def test_independent_rows_count_in_full() -> None:
    tempers = [learned(np.random.default_rng(seed).normal(size=2_000)).temper[0] for seed in range(50)]
    assert tempers == [1.0] * 50


@pytest.mark.parametrize(("coefficient", "least", "most"), [(0.9, 1.5, 12.0), (0.98, 5.0, 60.0)])
def test_rows_as_restless_as_their_neighbours_count_for_less(coefficient: float, least: float, most: float) -> None:
    """No value says anything of the next one, but how far it is from the middle does."""
    measured = []
    for seed in range(10):
        values = np.exp(autoregression(coefficient, 2_000, seed)) * np.random.default_rng(100 + seed).normal(size=2_000)
        assert correlation_time(np.argsort(np.argsort(values)).astype(np.float64)) < 2
        measured.append(1 / learned(values).temper[0])
    assert least < np.median(measured) < most


def test_a_season_is_a_long_correlation() -> None:
    season = np.sin(np.arange(2_000) * 2 * np.pi / 500)
    assert correlation_time(season + normal()) > 20
