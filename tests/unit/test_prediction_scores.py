"""Scores are kept as they came until the labels come, in bounded memory, wherever batches end."""

import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.monitoring.prediction_scores import MOST_CLASSES, Scores, WaitingScores
from daemon.monitoring.tasks import score_value

Score = float | dict[str, float | None] | None

SCORES = st.lists(
    st.one_of(
        st.none(),
        st.sampled_from([0.25, 0.5, 1e300]),
        st.dictionaries(st.sampled_from("abcd"), st.sampled_from([0.25, 0.75, None]), max_size=3),
    ),
    max_size=30,
)


def take(waiting: WaitingScores, scores: Sequence[Score]) -> Scores:
    """As events bring them."""
    by_class = [one if isinstance(one, dict) else None for one in scores]
    plain = np.array([score_value(one) for one in scores], dtype=np.float64)
    return waiting.take(plain, by_class if any(one is not None for one in by_class) else None)


def plainly(scores: Scores) -> list[Any]:
    """A number, or a mapping, or None for each prediction."""
    found: list[Any] = []
    for plain, *by_class in scores.values.tolist():
        named = {name: one for name, one in zip(scores.classes, by_class, strict=True) if np.isfinite(one)}
        found.append(named or (plain if np.isfinite(plain) else None))
    return found


def kept(score: Score) -> Any:
    if isinstance(score, dict):
        return {name: one for name, one in score.items() if one is not None} or None
    return score if score is not None and score < 1e30 else None


@given(SCORES, st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=8), st.integers(1, 12))
def test_what_comes_back_is_what_came(scores: list[Score], pieces: list[tuple[int, bool]], most: int) -> None:
    waiting, stored, start, first = WaitingScores(), [], 0, 0
    for size, dies in (*pieces, (len(scores), False)):
        some = scores[start : start + size]
        start += len(some)
        stored.append((len(some), take(waiting, some).packed()))
        gone = max(0, start - first - most)
        waiting.forget(gone)
        first += gone
        if dies:
            again = WaitingScores()
            again.know(waiting.classes)
            for _, packed in stored:
                again.append(Scores.restored(packed))
            again.forget(first)
            waiting = again
        expected = [kept(one) for one in scores[first:start]]
        assert plainly(waiting.at(range(start - first))) == expected
        places = list(range(0, start - first, 2))
        assert plainly(waiting.at(places)) == [expected[place] for place in places]


def test_of_too_many_classes_the_likeliest_ones_probability_is_kept() -> None:
    waiting = WaitingScores()
    many: Score = {f"class {place}": 0.5 + place / 100 for place in range(MOST_CLASSES + 1)}
    scores = take(waiting, [many, {"a": 0.75, "b": 0.25}])
    assert plainly(scores) == [pytest.approx(0.5 + MOST_CLASSES / 100), {"a": 0.75, "b": 0.25}]
    for number in range(100):
        take(waiting, [{f"new {number}": 0.5, f"other {number}": 0.5}])
    assert len(waiting.classes) == MOST_CLASSES


@pytest.mark.parametrize(
    ("score", "most"),
    [(None, 0), (0.5, 4), ({"a": 0.5, "b": 0.5}, 12), ({f"class {n}": 0.05 for n in range(MOST_CLASSES)}, 84)],
)
def test_a_waiting_prediction_takes_four_bytes_a_number(score: Score, most: int) -> None:
    waiting = WaitingScores()
    tracemalloc.start()
    for number in range(60):
        take(waiting, [score] * 1_000)
        waiting.forget(1_000 if number >= 20 else 0)  # of a horizon of 20,000 predictions
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken / 20_000 <= 1.2 * most + 0.2  # an array has some room to grow
