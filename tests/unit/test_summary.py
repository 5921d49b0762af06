"""A Summary is counts, and counts add up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seeded_rows import count, learn, rows_of

from detectors.columns import INVALID, Columns, Stream, concatenate, number_as_text
from detectors.reference import Reference
from detectors.summary import summarise, window_rows


def sample(n: int = 4_000) -> tuple[Reference, Columns]:
    rng = np.random.default_rng(1)
    return learn(rows_of(Stream.FEATURES, {"feature:x": rng.normal(size=n), "feature:y": rng.normal(size=n)}))


def test_every_row_is_counted_once_for_each_signal() -> None:
    reference, live = sample()
    summary = count(reference, live, 10)
    assert len(summary) == 200
    assert summary.counts.sum() == 2 * 2_000
    assert (summary.counts.sum(axis=2) == 10).all()


def test_a_window_knows_its_rows_and_its_time() -> None:
    reference, live = sample()
    summary = count(reference, live, 10)
    assert (summary.first_rows[0], summary.last_rows[0], summary.last_ts[0]) == (2_000, 2_009, 2_009.0)
    assert (summary.first_rows[-1], summary.last_rows[-1]) == (3_990, 3_999)


def test_the_summaries_of_two_parts_add_up_to_the_summary_of_both() -> None:
    reference, live = sample()
    codes = reference.encode(live)

    def part(which: slice) -> object:
        return summarise(
            live.stream, reference.signals, codes[which], reference.width, live.rows[which], live.ts[which], 5
        )

    # one worker has the even rows of each window of 10, another the odd ones
    both = part(slice(0, None, 2)) + part(slice(1, None, 2))  # type: ignore[operator]
    whole = count(reference, live, 10)
    assert (both.counts == whole.counts).all()
    assert (both.sizes == whole.sizes).all()
    assert (both.first_rows == whole.first_rows).all()
    assert (both.last_rows == whole.last_rows).all()
    assert (both.last_ts == whole.last_ts).all()


@given(cut=st.integers(1, 199))
def test_windows_are_the_same_however_the_rows_were_batched(cut: int) -> None:
    reference, live = sample()
    whole = count(reference, live, 10)
    parts = [count(reference, live.slice(0, cut * 10), 10), count(reference, live.slice(cut * 10, 2_000), 10)]
    assert (np.concatenate([part.counts for part in parts]) == whole.counts).all()
    assert (whole.slice(cut, 200).last_rows == parts[1].last_rows).all()


@pytest.mark.parametrize(("signals", "rows"), [(1, 1), (4, 1), (5, 2), (20, 5), (500, 50), (10_000, 50)])
def test_a_window_grows_with_what_it_costs(signals: int, rows: int) -> None:
    assert window_rows(signals) == rows


def test_columns_put_together_keep_what_a_part_lacks_as_missing() -> None:
    first = rows_of(Stream.FEATURES, {"feature:a": np.array([1.0, 2.0])})
    second = rows_of(Stream.FEATURES, {"feature:b": np.array(["x", None], dtype=object)}, first=2)
    both = concatenate([first, second])
    assert both.rows.tolist() == [0, 1, 2, 3]
    assert np.isnan(both.values["feature:a"][2:]).all()
    assert both.values["feature:b"].tolist() == [None, None, "x", None]


def test_a_column_of_numbers_and_text_becomes_text() -> None:
    first = rows_of(Stream.FEATURES, {"feature:a": np.array([1.0, 2.5, np.nan, np.inf])})
    second = rows_of(Stream.FEATURES, {"feature:a": np.array(["x"], dtype=object)}, first=4)
    assert concatenate([first, second]).values["feature:a"].tolist() == ["1", "2.5", None, INVALID, "x"]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_survives_being_text(value: float) -> None:
    written = number_as_text(value)
    assert written is not None
    assert float(written) == value
