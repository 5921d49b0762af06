"""What is watched, counted and raised by segment."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from seeded_segments import watch, watching
from structlog.testing import capture_logs

from daemon.events.rows import Predictions
from daemon.monitoring import gaps
from daemon.monitoring.gaps import Measure, Rate
from daemon.monitoring.segment_fields import CARRIED, SegmentFields
from daemon.settings.values import MOST_SEGMENT_FIELDS
from detectors.base import Kind
from detectors.columns import Stream
from detectors.segments import ABSENT, MOST_FIELDS, MOST_VALUES, OTHER, SLOTS, count

REFERENCE_ROWS = 1_000


def predictions(segments: list[dict[str, object] | None], **features: NDArray[np.generic]) -> Predictions:
    rows = len(segments)
    nothing = [None] * rows
    return Predictions(
        np.arange(rows), nothing, np.arange(rows, dtype=np.float64), nothing, segments, nothing, np.full(rows, np.nan),
        None, features, None,
    )  # fmt: skip


# counts


@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, SLOTS - 1)), min_size=1, max_size=80),
    window=st.integers(1, 20),
)
def test_counts_by_segment_add_up_to_the_counts_of_the_model(rows: list[tuple[int, int, int]], window: int) -> None:
    codes = np.array([[first, second] for first, second, _ in rows], dtype=np.int16)
    slots = np.array([[slot, (slot + 1) % SLOTS] for *_, slot in rows])
    windows_of = np.arange(len(rows)) // window
    counted = count(codes, slots, windows_of, windows=int(windows_of[-1]) + 1, width=5)
    for number, part in enumerate(counted):
        own = codes[windows_of == number]
        whole = np.stack([np.bincount(own[:, s], minlength=5) for s in range(2)])
        by_field = part.reshape(2, SLOTS, 2, 5)
        assert (by_field.sum(axis=1) == whole).all()


def test_what_a_model_has_counted_by_segment_is_what_it_has_counted() -> None:
    monitor = watching(reference_rows=REFERENCE_ROWS)
    watch(monitor, 1, 4_300)
    for stream in Stream:
        segments = monitor.windows[stream].segments
        assert segments is not None
        assert segments.before is not None
        assert segments.learned_rows == segments.before[:SLOTS, 0].sum()
        assert segments.before[:SLOTS].sum() == segments.learned_rows * len(segments.signals)
        judged = 4_300 - REFERENCE_ROWS - monitor.windows[stream].waiting
        assert segments.current()[:SLOTS, 0].sum() == judged


# which segments


def test_the_most_frequent_values_have_a_segment_and_all_others_share_one() -> None:
    fields = SegmentFields([CARRIED], 300)
    common = [{"channel": f"c{row % MOST_VALUES}"} for row in range(280)]
    rare = [{"channel": f"rare-{row}"} for row in range(20)]
    packed = fields.take(predictions([*rare, *common]), 0)
    assert packed is not None
    slots = fields.slots(packed)[:, 0]
    assert sorted(fields.fields[0].names) == sorted(f"c{one}" for one in range(MOST_VALUES))
    assert (slots[:20] == OTHER).all()
    assert set(slots[20:].tolist()) == set(range(MOST_VALUES))


def test_a_value_that_comes_later_gets_a_segment_while_there_is_room() -> None:
    fields = SegmentFields([CARRIED], 2)
    fields.take(predictions([{"channel": "web"}, {"channel": "shop"}]), 0)
    packed = fields.take(predictions([{"channel": "phone"}, None]), 2)
    assert packed is not None
    assert fields.slots(packed)[:, 0].tolist() == [2, ABSENT]
    assert fields.fields[0].names == ["shop", "web", "phone"]


def test_no_more_fields_than_there_is_room_for() -> None:
    fields = SegmentFields([CARRIED], 2)
    fields.take(predictions([{f"field-{number}": "x" for number in range(9)}, None]), 0)
    assert [one.name for one in fields.fields] == [f"field-{number}" for number in range(MOST_FIELDS)]
    assert MOST_SEGMENT_FIELDS == MOST_FIELDS


def test_a_field_that_no_event_has_is_named_once() -> None:
    fields = SegmentFields(["chanel", "feature:age"], 2)
    with capture_logs() as said:
        for first in (0, 2):
            fields.take(predictions([{"channel": "web"}] * 2, age=np.array([30.0, 40.0])), first)
    assert [one["field"] for one in said] == ["chanel"]
    assert "DRIFTD_SEGMENTS" in said[0]["event"]


def test_a_number_is_in_groups_of_as_many_rows_and_a_few_values_are_themselves() -> None:
    fields = SegmentFields(["feature:age", "feature:children"], 1_000)
    rng = np.random.default_rng(5)
    ages, children = rng.normal(40, 10, 2_000), rng.integers(0, 3, 2_000).astype(np.float64)
    ages[1_500] = np.nan
    packed = fields.take(predictions([None] * 2_000, age=ages, children=children), 0)
    assert packed is not None
    slots = fields.slots(packed)[1_000:]  # the groups are those of the first thousand
    assert slots[500, 0] == ABSENT
    assert np.bincount(slots[:, 0], minlength=5)[:5] == pytest.approx(200, abs=60)
    assert fields.fields[1].names == ["0", "1", "2"]
    assert slots[:, 1].tolist() == children[1_000:].astype(int).tolist()


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12))
def test_the_same_rows_are_of_the_same_segments_however_they_were_cut(sizes: list[int]) -> None:
    rng = np.random.default_rng(7)
    values = [{"channel": f"c{one}"} if one else None for one in rng.integers(0, 40, 240)]
    age = rng.normal(size=240)
    whole = SegmentFields([CARRIED, "feature:age"], 100)
    expected = whole.slots(_taken(whole, values, age, [240]))
    cut = SegmentFields([CARRIED, "feature:age"], 100)
    assert cut.slots(_taken(cut, values, age, sizes)).tolist() == expected.tolist()
    assert (cut.names(), cut.first_row) == (whole.names(), whole.first_row)


def _taken(
    fields: SegmentFields, values: list[dict[str, object] | None], age: NDArray[np.float64], sizes: list[int]
) -> NDArray[np.int64]:
    found, start = [], 0
    while start < len(values):
        stop = min(start + sizes[len(found) % len(sizes)], len(values))
        packed = fields.take(predictions(values[start:stop], age=age[start:stop]), start)
        assert packed is not None
        found.append(packed)
        start = stop
    return np.concatenate(found)


# what is raised


def test_an_error_rate_that_doubles_in_one_segment_is_raised_with_its_name() -> None:
    def change(rows: NDArray[np.int64], segments: NDArray[np.object_], columns: dict[str, NDArray[np.generic]]) -> None:
        hit = (segments == "c3") & (rows >= 6_000)
        columns["wrong"][hit] = np.random.default_rng(3).random(int(hit.sum())) < 0.25

    found = watch(watching(reference_rows=2_000, min_loss=0.02), 11, 16_000, channels=15, change=change)
    within = [one for one in found if one.detector == "segments"]
    assert [(one.kind, one.signal) for one in within] == [(Kind.CONCEPT, "error[channel=c3]")]
    assert within[0].row > 6_000
    assert within[0].evidence["segment"] == "channel=c3"
    assert within[0].evidence["segments"][0][:2] == ["channel=c3", "error"]


def test_a_feature_that_moves_in_one_segment_is_first_in_the_ranking() -> None:
    def change(rows: NDArray[np.int64], segments: NDArray[np.object_], columns: dict[str, NDArray[np.generic]]) -> None:
        columns["age"][(segments == "c1") & (rows >= 6_000)] += 12

    found = watch(watching(), 12, 9_000, channels=8, change=change)
    assert {one.signal for one in found} <= {"feature:age", "feature:age[channel=c1]"}
    assert all(one.evidence["segments"][0][:2] == ["channel=c1", "feature:age"] for one in found)
    assert found


def test_what_moves_everywhere_is_said_once_and_not_of_each_segment() -> None:
    def change(rows: NDArray[np.int64], _: NDArray[np.object_], columns: dict[str, NDArray[np.generic]]) -> None:
        columns["age"][rows >= 6_000] += 12

    found = watch(watching(), 13, 12_000, change=change)
    assert [one.signal for one in found] == ["feature:age"]


def test_what_is_over_in_a_segment_is_said_too() -> None:
    def change(rows: NDArray[np.int64], segments: NDArray[np.object_], columns: dict[str, NDArray[np.generic]]) -> None:
        columns["age"][(segments == "c1") & (rows >= 6_000) & (rows < 9_000)] += 20

    found = watch(watching(), 14, 18_000, channels=10, change=change)
    within = [(one.signal, one.recovered) for one in found if one.detector == "segments"]
    assert within == [("feature:age[channel=c1]", False), ("feature:age[channel=c1]", True)]


def test_a_model_whose_events_carry_no_segment_or_that_wants_none_has_none() -> None:
    monitor = watching(segments=())
    watch(monitor, 15, 3_000)
    assert monitor.segment_report() is None
    assert all(window.segments is None for window in monitor.windows.values())


def test_false_alarms_stay_within_the_budget_of_the_model() -> None:
    budget, rows, runs = 5_000, 40_000, 4
    alarms = sum(
        not one.recovered
        for seed in range(runs)
        for one in watch(
            watching(reference_rows=2_000, events_per_false_alarm=budget, max_gap=0.05), 100 + seed, rows, channels=6
        )
    )
    assert alarms <= runs * rows / budget


# rates and gaps


def test_the_interval_of_a_difference_is_newcombes() -> None:
    # the example (a) of Newcombe (1998), method 10: 56 of 70 against 48 of 80
    measure = Measure(gaps.ERROR_RATE, "error", np.array([0.0, 1.0]))
    high, low = (
        measure.rate(name, np.array([all_ - hits, hits]) * 10) for name, hits, all_ in (("a", 56, 70), ("b", 48, 80))
    )
    assert high is not None
    assert low is not None
    first, second = Rate("a", 70, 0.8, 0, 0), Rate("b", 80, 0.6, 0, 0)
    assert measure.difference(second, first, 1.959964) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert (high.value, low.value) == (0.8, 0.6)


def test_few_rows_are_not_enough_data() -> None:
    measure = Measure(gaps.ERROR_RATE, "error", np.array([0.0, 1.0]))
    assert measure.rate("few", np.array([90, 9])) is None
    assert measure.rate("enough", np.array([90, 10])) is not None


def _favoured(rows: NDArray[np.int64], segments: NDArray[np.object_], columns: dict[str, NDArray[np.generic]]) -> None:
    hit = (segments == "c0") & (rows >= 6_000) & (rows < 20_000)
    columns["prediction"][hit] = np.random.default_rng(4).random(int(hit.sum())) < 0.85


def test_a_gap_above_the_bound_is_raised_and_is_over_when_it_closes() -> None:
    found = watch(watching(max_gap=0.1), 16, 40_000, change=_favoured)
    told = [(one.kind, one.recovered) for one in found if one.signal == "selection_rate[channel]"]
    assert told == [(Kind.PERFORMANCE, False), (Kind.PERFORMANCE, True)]
    alarm = next(one for one in found if one.signal == "selection_rate[channel]")
    assert alarm.evidence["greatest"]["segment"] == "c0"
    assert alarm.evidence["low"] > 0.1


def test_a_gap_is_shown_and_not_raised_where_no_bound_is_set() -> None:
    monitor = watching()
    found = watch(monitor, 16, 16_000, change=_favoured)
    assert not any(one.kind is Kind.PERFORMANCE for one in found)
    report = monitor.segment_report()
    assert report is not None
    (field,) = report["fields"]
    gap = field["gaps"]["selection_rate"]
    assert gap["now"]["greatest"]["segment"] == "c0"
    assert gap["now"]["low"] > 0.25
    assert gap["reference"]["low"] < 0.1
    assert {one["segment"] for one in field["segments"]} == {"c0", "c1", "c2", "c3"}
    assert all(one["error_rate"]["now"]["low"] < 0.1 < one["error_rate"]["now"]["high"] for one in field["segments"])
