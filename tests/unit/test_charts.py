"""What is drawn of a stretch of rows says what the rows were."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.monitoring.charts import rows_of, stability_index
from daemon.monitoring.chunks import LEAST_ROWS, LEAST_SHARE, LONGEST_SECONDS
from daemon.monitoring.window import Window
from detectors.columns import Columns, Stream
from detectors.reference import Reference

RNG = np.random.default_rng(3)
ROWS = LEAST_ROWS


def columns(count: int, *, mean: float = 0.0, share: float = 0.5, wrong: float = 0.1) -> Columns:
    values: dict[str, Any] = {
        "number": RNG.normal(mean, 1.0, count),
        "state": np.where(RNG.random(count) < share, "MA", "NY").astype(object),
        "error": (RNG.random(count) < wrong).astype(np.float64),
    }
    return Columns(Stream.FEATURES, np.arange(count), np.arange(count, dtype=np.float64), values)


def drawn(**change: Any) -> dict[str, dict[str, Any]]:
    window = Window(Stream.FEATURES, lambda *_: (), 2_000, 10)
    window.adopt(Reference.learn(columns(2_000)))
    window.take(columns(ROWS, **change))
    window.judge()
    measured = [(chunk, "3") for chunk in window.take_chunks()]
    assert window.take_chunks() == []
    return {row["signal"]: row for row in rows_of(measured, "loans")}


def test_a_number_is_drawn_as_its_mean_with_an_interval() -> None:
    row = drawn(mean=0.5)["number"]
    assert row["value"] == pytest.approx(0.5, abs=0.15)
    assert row["low"] < row["value"] < row["high"]
    assert row["reference"] == pytest.approx(0.0, abs=0.1)
    assert (row["model"], row["version"], row["row"], row["rows"], sum(row["counts"])) == (
        "loans",
        "3",
        ROWS - 1,
        ROWS,
        ROWS,
    )


def test_an_error_is_drawn_as_a_rate() -> None:
    row = drawn(wrong=0.3)["error"]
    assert row["value"] == pytest.approx(0.3, abs=0.05)
    assert row["reference"] == pytest.approx(0.1, abs=0.03)
    assert 0.0 <= row["low"] < row["high"] <= 1.0


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_a_category_is_drawn_as_the_share_of_what_the_reference_has_most_of_whatever_moves(share: float) -> None:
    row = drawn(share=share)["state"]
    now = {"MA": share, "NY": 1 - share}
    assert row["value"] == pytest.approx(now[row["category"]], abs=0.05)
    assert row["reference"] == pytest.approx(0.5, abs=0.05)
    assert row["reference"] >= 0.5
    assert row["low"] < row["value"] < row["high"]


def test_of_a_number_no_category_is_drawn() -> None:
    assert drawn()["number"]["category"] is None


def test_the_effect_is_small_where_nothing_moved_and_large_where_something_did() -> None:
    assert all(row["effect"] < 0.1 for row in drawn().values())
    assert drawn(mean=1.0)["number"]["effect"] > 0.5
    assert drawn(share=0.9)["state"]["effect"] > 0.5


def test_rows_that_are_missing_throughout_are_drawn_as_nothing() -> None:
    rows = columns(ROWS)
    empty = {
        name: np.full(ROWS, None if column.dtype == object else np.nan, dtype=column.dtype)
        for name, column in rows.values.items()
    }
    window = Window(Stream.FEATURES, lambda *_: (), 2_000, 10)
    window.adopt(Reference.learn(columns(2_000)))
    window.take(Columns(Stream.FEATURES, rows.rows, rows.ts, empty))
    window.judge()
    [chunk] = window.take_chunks()
    by_signal = {row["signal"]: row for row in rows_of([(chunk, None)], "loans")}
    assert (by_signal["number"]["value"], by_signal["number"]["low"]) == (None, None)
    assert by_signal["state"]["value"] == 0.0
    assert all(np.isfinite(row["effect"]) for row in by_signal.values())


def test_an_index_of_what_neither_side_has_met_is_nothing() -> None:
    counts = np.array([[10, 0, 30, 0]])
    assert stability_index(counts, counts).tolist() == [0.0]
    assert np.isfinite(stability_index(counts, np.array([[0, 0, 0, 40]]))).all()


# --- where a point ends


def window_of(reference: Reference) -> Window:
    window = Window(Stream.FEATURES, lambda *_: (), 2_000, 10)
    window.adopt(reference)
    return window


def ends(count: int, seconds: float, cuts: Sequence[int] = ()) -> list[tuple[int, list[int]]]:
    """The last row and the counts of each chunk of ``count`` rows ``seconds`` apart; at each cut all is stored anew."""
    values: dict[str, Any] = {"number": np.arange(count) % 7.0}
    rows = Columns(Stream.FEATURES, np.arange(count), np.arange(count) * seconds, values)
    reference = Reference.learn(rows.slice(0, 70))
    window, found = window_of(reference), []
    for first, last in pairwise([0, *sorted(set(cuts)), count]):
        window.take(rows.slice(first, last))
        window.judge()
        found += window.take_chunks()
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(window.state()))
        window = window_of(reference)
        window.restore(reference, state)
    return [(chunk.last_row, chunk.counts[0].tolist()) for chunk in found]


def test_a_new_model_has_a_point_soon_and_ever_longer_ones_later() -> None:
    last = [row for row, _ in ends(300_000, 0.001)]
    assert last[:3] == [LEAST_ROWS - 1, 2 * LEAST_ROWS - 1, 3 * LEAST_ROWS - 1]
    for before, after in pairwise([-1, *last]):
        assert after - before == pytest.approx(max(LEAST_ROWS, LEAST_SHARE * before), abs=10)


def test_an_old_model_with_little_traffic_has_a_point_every_half_hour() -> None:
    last = [row for row, _ in ends(300_000, 0.5)]
    assert max(after - before for before, after in pairwise(last)) == LONGEST_SECONDS / 0.5


def test_times_that_stand_still_or_jump_end_a_point_too() -> None:
    assert ends(60_000, 0.0) == ends(60_000, -1.0) == ends(60_000, 0.001)


@given(st.lists(st.integers(1, 39_999), max_size=30), st.sampled_from([0.0, 0.5, 5.0]))
def test_points_are_the_same_however_the_rows_were_cut(cuts: list[int], seconds: float) -> None:
    assert ends(40_000, seconds, cuts) == ends(40_000, seconds)
