"""What is drawn of a stretch of rows says what the rows were."""

from typing import Any

import numpy as np
import pytest

from daemon.monitoring.charts import rows_of, stability_index
from daemon.monitoring.window import Window
from detectors.columns import Columns, Stream
from detectors.reference import Reference

RNG = np.random.default_rng(3)


def columns(count: int, *, mean: float = 0.0, share: float = 0.5, wrong: float = 0.1) -> Columns:
    values: dict[str, Any] = {
        "number": RNG.normal(mean, 1.0, count),
        "state": np.where(RNG.random(count) < share, "MA", "NY").astype(object),
        "error": (RNG.random(count) < wrong).astype(np.float64),
    }
    return Columns(Stream.FEATURES, np.arange(count), np.arange(count, dtype=np.float64), values)


def drawn(**change: Any) -> dict[str, dict[str, Any]]:
    window = Window(Stream.FEATURES, lambda _: (), 2_000, 10)
    window.adopt(Reference.learn(columns(2_000)))
    window.take(columns(1_000, **change))
    window.judge()
    chunk = window.take_chunk(500)
    assert chunk is not None
    assert window.take_chunk(1) is None
    return {row["signal"]: row for row in rows_of(chunk, "loans", "3")}


def test_a_number_is_drawn_as_its_mean_with_an_interval() -> None:
    row = drawn(mean=0.5)["number"]
    assert row["value"] == pytest.approx(0.5, abs=0.15)
    assert row["low"] < row["value"] < row["high"]
    assert row["reference"] == pytest.approx(0.0, abs=0.1)
    assert (row["model"], row["version"], row["row"], row["rows"], sum(row["counts"])) == (
        "loans",
        "3",
        999,
        1_000,
        1_000,
    )


def test_an_error_is_drawn_as_a_rate() -> None:
    row = drawn(wrong=0.3)["error"]
    assert row["value"] == pytest.approx(0.3, abs=0.05)
    assert row["reference"] == pytest.approx(0.1, abs=0.03)
    assert 0.0 <= row["low"] < row["high"] <= 1.0


def test_a_category_is_drawn_as_the_share_that_moved_most() -> None:
    row = drawn(share=0.9)["state"]
    assert row["value"] in (pytest.approx(0.9, abs=0.05), pytest.approx(0.1, abs=0.05))
    assert row["reference"] == pytest.approx(0.5, abs=0.05)


def test_the_effect_is_small_where_nothing_moved_and_large_where_something_did() -> None:
    assert all(row["effect"] < 0.1 for row in drawn().values())
    assert drawn(mean=1.0)["number"]["effect"] > 0.5
    assert drawn(share=0.9)["state"]["effect"] > 0.5


def test_rows_that_are_missing_throughout_are_drawn_as_nothing() -> None:
    rows = columns(1_000)
    empty = {
        name: np.full(1_000, None if column.dtype == object else np.nan, dtype=column.dtype)
        for name, column in rows.values.items()
    }
    window = Window(Stream.FEATURES, lambda _: (), 2_000, 10)
    window.adopt(Reference.learn(columns(2_000)))
    window.take(Columns(Stream.FEATURES, rows.rows, rows.ts, empty))
    window.judge()
    chunk = window.take_chunk(1)
    assert chunk is not None
    by_signal = {row["signal"]: row for row in rows_of(chunk, "loans", None)}
    assert by_signal["number"]["value"] is None
    assert all(np.isfinite(row["effect"]) for row in by_signal.values())


def test_an_index_of_what_neither_side_has_met_is_nothing() -> None:
    counts = np.array([[10, 0, 30, 0]])
    assert stability_index(counts, counts).tolist() == [0.0]
    assert np.isfinite(stability_index(counts, np.array([[0, 0, 0, 40]]))).all()
