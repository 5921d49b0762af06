"""How strange a value is in its series, and that it is said once."""

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from seeded_rows import learn, rows_of, watch

from detectors.base import Kind
from detectors.columns import Columns, Stream
from detectors.day_envelope import SLOTS, DayEnvelope
from detectors.reference import Reference
from detectors.resonance import USUAL_ROWS
from detectors.series_scores import OWN_THRESHOLD, SeriesScores

EVERY = 300.0
DAY = 288


def daily(days: int, seed: int = 3) -> NDArray[np.float64]:
    """A value every five minutes, high for eight hours of each day."""
    place = np.arange(days * DAY)
    return np.where(place % DAY < 96, 80.0, 20.0) + np.random.default_rng(seed).normal(size=len(place))


def scored(values: NDArray[np.float64], batch: int = 100_000) -> NDArray[np.float64]:
    rows = np.arange(len(values))
    columns = Columns(Stream.FEATURES, rows, rows * EVERY, {"feature:v": values})
    detector = SeriesScores(Reference.learn(columns.slice(0, 100)), 100_000)
    parts = [detector.scores(columns.slice(i, i + batch)) for i in range(100, len(values), batch)]
    return np.concatenate([np.zeros(100), *parts])


def test_golden_row_at_which_strange_values_are_raised() -> None:
    values = np.random.default_rng(0).normal(size=6_000)
    values[5_000:5_100:2] = 9.0
    reference, live = learn(rows_of(Stream.FEATURES, {"feature:v": values}))
    verdict = watch(SeriesScores(reference, 100_000), reference, live, window=5)[0]
    assert (verdict.kind, verdict.signal, verdict.row) == (Kind.ANOMALY, "features", 5_004)


def test_a_spike_has_the_highest_score() -> None:
    values = daily(8)
    values[6 * DAY + 200] = 140.0
    scores = scored(values)
    assert scores[6 * DAY + 200] > OWN_THRESHOLD
    assert 0 <= scores.argmax() - (6 * DAY + 200) < USUAL_ROWS, "or its block, when that is whole"


def test_what_is_usual_at_another_time_of_day_is_strange_at_this_one() -> None:
    values = daily(10)
    values[8 * DAY : 8 * DAY + 96] = 20.0  # the high hours of one day do not come
    scores = scored(values)
    first_hours = [scores[day * DAY : day * DAY + 30].max() for day in range(5, 9)]
    assert first_hours[3] > 10 > max(first_hours[:3])


def test_what_goes_on_being_strange_is_said_once() -> None:
    values = np.random.default_rng(1).normal(size=4_000)
    values[2_000:2_040] = 30.0
    scores = scored(values)
    assert scores[2_000] > OWN_THRESHOLD
    assert scores[2_000 + 2 * USUAL_ROWS : 2_040].max() == 0, "but for the block of its first rows"


@pytest.mark.parametrize("batch", [1, 7, 288, 1_000])
def test_scores_do_not_depend_on_how_rows_are_batched(batch: int) -> None:
    values = daily(5)
    assert (scored(values, batch) == scored(values)).all()


def test_it_goes_on_from_its_state() -> None:
    values = daily(6)
    rows = np.arange(len(values))
    columns = Columns(Stream.FEATURES, rows, rows * EVERY, {"feature:v": values})
    reference = Reference.learn(columns.slice(0, 100))
    before, after = SeriesScores(reference, 1e5), SeriesScores(reference, 1e5)
    before.scores(columns.slice(100, 1_013))
    after.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(before.state())))
    rest = columns.slice(1_013, len(values))
    assert (after.scores(rest) == before.scores(rest)).all()


def test_values_that_are_missing_or_invalid_are_as_those_before_them() -> None:
    values = daily(4)
    values[500:510], values[700:705] = np.nan, np.inf
    scores = scored(values)
    assert np.isfinite(scores).all()
    assert scores[500:510].max() == 0


def test_text_is_no_series() -> None:
    text = rows_of(Stream.FEATURES, {"feature:c": np.array(["a", "b"] * 500, dtype=object)})
    reference = Reference.learn(text)
    detector = SeriesScores(reference, 1e5)
    assert (detector.scores(text) == 0).all()
    assert watch(detector, reference, text) == []


def test_the_envelope_knows_nothing_before_two_days_and_then_the_days_before() -> None:
    ts = np.arange(4 * SLOTS) * 900.0
    values = np.sin(2 * np.pi * np.arange(4 * SLOTS) / SLOTS)
    values[3 * SLOTS + 10] = 5.0
    envelope = DayEnvelope()
    beyond = envelope.beyond(values, ts)
    assert (beyond[: 2 * SLOTS] == 0).all()
    assert beyond[3 * SLOTS + 10] > 3.9
    assert np.delete(beyond, 3 * SLOTS + 10).max() < 0.01


def test_the_envelope_forgets_slowly() -> None:
    days = 60
    values = np.zeros(days * SLOTS)
    values[3 * SLOTS : 4 * SLOTS] = 10.0
    values[5 * SLOTS + 7] = values[59 * SLOTS + 7] = 8.0
    beyond = DayEnvelope().beyond(values, np.arange(len(values)) * 900.0)
    assert beyond[5 * SLOTS + 7] == 0
    assert beyond[59 * SLOTS + 7] > 5
