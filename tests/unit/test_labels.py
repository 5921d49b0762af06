"""Labels find their predictions in whatever order both come, within a horizon, and in bounded memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from daemon.monitoring.labels import LabelJoin, NewLabels, NewPredictions
from daemon.monitoring.recent import RecentIds, SeenIds

Event = tuple[str, str | None, Any]
"""``prediction`` or ``label``, id and value."""


@dataclass
class Naive:
    """The same promise, kept one event at a time by looking at everything that ever happened."""

    most: int
    rows: list[tuple[str | None, Any]] = field(default_factory=list)
    labels: dict[int, Any] = field(default_factory=dict)
    early: list[tuple[str, Any, int]] = field(default_factory=list)
    pairs: list[tuple[int, Any, Any]] = field(default_factory=list)
    duplicates: int = 0
    revised: int = 0
    revisions: list[tuple[int, Any, Any]] = field(default_factory=list)

    def take(self, kind: str, one: str | None, value: Any) -> None:
        (self.predict if kind == "prediction" else self.label)(one, value)
        self.early = [entry for entry in self.early if entry[2] >= len(self.rows) - self.most]

    def _row(self, one: str | None) -> int | None:
        recent = range(len(self.rows) - 1, max(-1, len(self.rows) - self.most - 1), -1)
        return next((row for row in recent if one is not None and self.rows[row][0] == one), None)

    def predict(self, one: str | None, value: Any) -> None:
        if self._row(one) is not None:
            self.duplicates += 1
            return
        row = len(self.rows)
        self.early = [entry for entry in self.early if entry[2] >= row - self.most]
        self.rows.append((one, value))
        for entry in self.early:
            if entry[0] == one:
                self.early.remove(entry)
                self.labels[row] = entry[1]
                self.pairs.append((row, value, entry[1]))
                break

    def label(self, one: str | None, value: Any) -> None:
        assert one is not None
        row = self._row(one)
        if row is None:
            self._wait(one, value)
        elif row not in self.labels:
            self.labels[row] = value
            self.pairs.append((row, self.rows[row][1], value))
        else:
            self.duplicates += self.labels[row] == value
            self.revised += self.labels[row] != value
            if self.labels[row] != value:
                self.revisions.append((row, self.rows[row][1], value))
            self.labels[row] = value

    def _wait(self, one: str, value: Any) -> None:
        for place, (other, before, came) in enumerate(self.early):
            if other == one:
                self.duplicates += before == value
                self.revised += before != value
                self.early[place] = (one, value, came)
                return
        self.early = [*self.early, (one, value, len(self.rows))][-self.most :]


def scores_of(rows: Sequence[int]) -> np.ndarray:
    """What each row is scored."""
    return np.array(rows) / 4


def feed(
    join: LabelJoin, events: Sequence[Event]
) -> tuple[list[tuple[int, Any, Any]], int, int, Sequence[tuple[int, Any, Any]]]:
    """One batch; the pairs that it completes, duplicates, how many labels were revised, and which."""
    predictions = [(one, value) for kind, one, value in events if kind == "prediction"]
    first = join.ids.next
    places = join.number([one for one, _ in predictions])
    kept = predictions if places is None else [predictions[place] for place in places]
    fresh = set(range(len(predictions))) if places is None else set(places)
    next_rows, labels, row, seen = [], [], first, 0
    for kind, one, value in events:
        if kind == "prediction":
            row += seen in fresh
            seen += 1
        else:
            labels.append((str(one), value))
            next_rows.append(row)
    ids, values = [one for one, _ in kept], [value for _, value in kept]
    scores = scores_of(range(first, first + len(kept)))
    joined = join.join(
        NewPredictions(ids, values, [None] * len(kept), scores=scores),
        NewLabels([one for one, _ in labels], [value for _, value in labels], np.array(next_rows, dtype=np.int64)),
    )
    pairs = list(zip(joined.rows, joined.predictions, joined.labels, strict=True))
    assert joined.scores.values[:, 0].tolist() == scores_of(joined.rows).tolist(), "each label finds the score as well"
    return pairs, len(predictions) - len(kept) + joined.duplicates, joined.revised, joined.revisions


ids = st.sampled_from("abcdefgh")
events = st.lists(
    st.one_of(
        st.tuples(st.just("prediction"), st.one_of(ids, st.none()), st.integers(0, 1)),
        st.tuples(st.just("label"), ids, st.integers(0, 2)),
    ),
    max_size=60,
)


@given(events, st.lists(st.integers(1, 15), max_size=12), st.integers(1, 7), st.sets(st.integers(0, 12)))
def test_it_does_in_batches_what_the_naive_one_does_event_by_event(
    log: list[Event], sizes: list[int], most: int, stored: set[int]
) -> None:
    naive, join, chunks = Naive(most), LabelJoin(most), []
    pairs: list[tuple[int, Any, Any]] = []
    revisions: list[tuple[int, Any, Any]] = []
    duplicates = revised = start = 0
    for number, size in enumerate([*sizes, len(log)]):
        some = log[start : start + size]
        start += size
        for one in some:
            naive.take(*one)
        found, again, changed, new = feed(join, some)
        pairs += found
        revisions += new
        duplicates += again
        revised += changed
        assert sorted(pairs) == sorted(naive.pairs)
        assert (duplicates, revised) == (naive.duplicates, naive.revised)
        assert revisions == naive.revisions
        assert [(one, *entry) for one, entry in join.early.items()] == naive.early
        if number in stored:  # and then the process dies
            chunk = join.take_journal()
            chunks += [(join.ids.next, chunk)] if chunk is not None else []
            chunks = [(until, chunk) for until, chunk in chunks if until >= join.ids.next - most]
            again_join = LabelJoin(most)
            for _, chunk in chunks:
                again_join.apply_journal(chunk)
            assert again_join.contents() == join.contents()
            if chunks:
                join = again_join


def test_what_is_kept_does_not_grow() -> None:
    join = LabelJoin(100)
    for start in range(0, 5_000, 50):
        predictions = [("prediction", f"p{number}", 1) for number in range(start, start + 50)]
        feed(join, [*predictions, *(("label", f"nothing{number}", 1) for number in range(start, start + 300))])
        assert len(join.ids) <= 100
        assert len(join.ids.numbers) <= 100
        assert max(len(join.predictions), len(join.versions), len(join.labels), len(join.early)) <= 100


def test_labels_that_keep_coming_for_nothing_push_out_the_oldest() -> None:
    join = LabelJoin(3)
    feed(join, [("label", str(number), 1) for number in range(5)])
    assert list(join.early) == ["2", "3", "4"]


def test_ids_are_remembered_in_the_order_in_which_they_came() -> None:
    recent = RecentIds(3)
    assert recent.take(["a", "b", None, "a"])[0] == [0, 1, 2]
    assert recent.take(["c"])[0] is None
    assert recent.forget() == 1
    assert recent.contents() == {"b": 1, "c": 3}
    places, again = recent.take(["a", "b", "c"])  # a was forgotten, b is beyond the horizon once a is there
    assert (places, list(again)) == ([0, 1], [("b", 1, 5)])


def test_seen_ids_go_on_where_they_were_stored() -> None:
    seen = SeenIds(5)
    assert seen.take(["a", "b"]) is None
    chunks = [seen.take_journal()]
    assert seen.take(["b", "c"]) == [1]
    chunks.append(seen.take_journal())
    again = SeenIds(5)
    for chunk in chunks:
        assert chunk is not None
        again.apply_journal(chunk)
    assert again.ids.contents() == seen.ids.contents() == {"a": 0, "b": 1, "c": 2}
    assert again.take_journal() is None
