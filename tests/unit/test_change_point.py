"""The past in constant memory, and where in it a change began."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seeded_rows import count, errors, learn, rows_of, watch

from detectors.base import Kind
from detectors.columns import Columns, Stream
from detectors.e_detector import EDetector
from detectors.effect import Effects
from detectors.history import LEVELS, History
from detectors.reference import Reference


def stream(n: int) -> tuple[Reference, Columns]:
    return learn(rows_of(Stream.OUTCOME, {"error": errors(np.random.default_rng(7), (n + 2_000, 0.2))}))


def test_no_row_is_lost_and_none_is_counted_twice() -> None:
    reference, live = stream(10_000)
    history = History(1, reference.width)
    history.extend(count(reference, live, 1), 0, 10_000)
    assert history.rows == 10_000
    assert (history.signal(0).sum(axis=0) == np.bincount(reference.encode(live)[:, 0], minlength=reference.width)).all()
    assert history.starts().tolist() == sorted(history.starts().tolist())


def test_buckets_near_now_are_short_and_none_is_long_beside_its_distance() -> None:
    reference, live = stream(10_000)
    history = History(1, reference.width)
    history.extend(count(reference, live, 1), 0, 10_000)
    starts = history.starts()
    lengths = np.diff(np.append(starts, 10_000))
    distances = 10_000 - starts
    assert lengths[-1] == 1
    assert (lengths <= distances / 6 + 1).all()
    assert len(starts) < 90


def test_memory_stops_growing() -> None:
    reference, live = stream(4_096)
    history = History(1, reference.width)
    windows = count(reference, live, 1)
    sizes = []
    for _ in range(300):  # 1.2 million windows, more than all levels but the last hold
        history.extend(windows, 0, 4_096)
        sizes.append(len(history.starts()))
    assert max(sizes) <= 7 * (LEVELS - 1) + 1
    assert max(sizes[250:]) == max(sizes[200:250])
    assert history.signal(0).sum() == 300 * 4_096


@given(st.lists(st.integers(1, 700), min_size=1, max_size=6))
def test_what_is_kept_does_not_depend_on_the_batches(cuts: list[int]) -> None:
    reference, live = stream(2_000)
    windows = count(reference, live, 1)
    whole, parts = History(1, reference.width), History(1, reference.width)
    whole.extend(windows, 0, 2_000)
    start = 0
    for stop in [*np.cumsum(cuts).tolist(), 2_000]:
        parts.extend(windows, start, min(stop, 2_000))
        start = max(start, min(stop, 2_000))
    assert parts.to_dict() == whole.to_dict()


def test_a_stored_history_goes_on_as_if_nothing_had_happened() -> None:
    reference, live = stream(3_000)
    windows = count(reference, live, 1)
    whole, second = History(1, reference.width), History(1, reference.width)
    whole.extend(windows, 0, 3_000)
    first = History(1, reference.width)
    first.extend(windows, 0, 1_234)
    second.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(first.to_dict())))
    second.extend(windows, 1_234, 3_000)
    assert second.to_dict() == whole.to_dict()


@pytest.mark.parametrize(("before", "after"), [(0.1, 0.2), (0.2, 0.4), (0.02, 0.1)])
def test_the_change_is_placed_within_a_tenth_of_the_past_or_fifty_rows(before: float, after: float) -> None:
    off = []
    for seed in range(20):
        rows = errors(np.random.default_rng(seed), (8_000, before), (1_000, after))
        reference, live = learn(rows_of(Stream.OUTCOME, {"error": rows}))
        found = watch(EDetector(reference, 100_000), reference, live)
        off.append(abs(found[0].change_row - 8_000))
    assert np.median(off) <= 50


def test_an_index_of_the_same_law_is_nothing_and_its_noise_is_said() -> None:
    rng = np.random.default_rng(0)
    reference, live = learn(rows_of(Stream.FEATURES, {"feature:x": rng.normal(size=402_000)}))
    effects = Effects(reference)
    values = []
    for start in range(0, 400_000, 1_000):
        counts = count(reference, live.slice(start, start + 1_000), 1_000).counts[0]
        values.append(effects.of(0, Kind.DRIFT, counts[0].astype(np.int64)))
    assert np.mean([effect.value for effect in values]) < 0.01
    assert max(effect.value for effect in values) < 6 * np.mean([effect.error for effect in values])


def test_a_shift_has_the_index_that_its_laws_have() -> None:
    # two normal laws half a standard deviation apart: the symmetric divergence is the square of that
    rng = np.random.default_rng(0)
    reference = Reference.learn(rows_of(Stream.FEATURES, {"feature:x": rng.normal(size=100_000)}))
    shifted = rows_of(Stream.FEATURES, {"feature:x": rng.normal(size=100_000) + 0.5})
    effect = Effects(reference).of(0, Kind.DRIFT, count(reference, shifted, 100_000).counts[0, 0].astype(np.int64))
    assert effect.value == pytest.approx(0.25, abs=0.02)


def test_an_error_is_measured_as_a_difference_and_a_numeric_one_as_a_share() -> None:
    rng = np.random.default_rng(0)
    for error, later, name, size in [
        (errors(rng, (2_000, 0.1)), errors(rng, (5_000, 0.2)), "error_rate", 0.1),
        (np.abs(rng.normal(size=2_000)), np.abs(rng.normal(size=5_000)) * 1.3, "relative_error", 0.3),
    ]:
        reference = Reference.learn(rows_of(Stream.OUTCOME, {"error": error}))
        counts = count(reference, rows_of(Stream.OUTCOME, {"error": later}), 5_000).counts[0, 0].astype(np.int64)
        effect = Effects(reference).of(0, Kind.CONCEPT, counts)
        assert effect.name == name
        assert effect.value == pytest.approx(size, abs=4 * effect.error)
