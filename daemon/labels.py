"""Joins labels to predictions, in whatever order they come, in bounded memory."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from daemon.recent import RecentIds

DEFAULT_MAX_WAITING: Final = 200_000

BY_PREDICTION: Final = -1
"""In the place of a label: the label was there already, and the prediction completed the pair."""


class _Unlabelled:
    """Stands for the label that has not come."""


UNLABELLED: Final = _Unlabelled()


@dataclass(slots=True)
class Joined:
    """What came of a batch of predictions and labels.

    The lists up to ``label_places`` have an entry for each pair, in no particular order; that is the place, among the
    batch's labels, of the one that completed the pair. ``label_rows`` is the row of the prediction of each label of the
    batch, -1 where it has not come.
    """

    rows: list[int] = field(default_factory=list)
    predictions: list[Any] = field(default_factory=list)
    versions: list[Any] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    label_places: list[int] = field(default_factory=list)
    label_rows: list[int] = field(default_factory=list)
    duplicates: int = 0
    revised: int = 0


class LabelJoin:
    """The predictions of one model that a label may still come for, and the labels that came before their prediction.

    Both are kept for ``max_waiting`` rows of the model, labelled or not. The horizon is counted in rows, not in batches:
    the split of a log into batches changes nothing.
    """

    def __init__(self, max_waiting: int = DEFAULT_MAX_WAITING) -> None:
        self.max_waiting = max_waiting
        self.ids = RecentIds(max_waiting)
        self._predictions: list[Any] = []  # these three of the rows from ``ids.first`` on
        self._versions: list[Any] = []
        self._labels: list[Any] = []
        self._early: OrderedDict[str, tuple[Any, int]] = OrderedDict()  # label, and the row count when it came
        self._set: dict[int, Any] = {}  # what a call of ``join`` has changed: labels by row, and who waits now
        self._waits: dict[str, None] = {}
        self._journal: list[Any] = []

    @property
    def early(self) -> int:
        """How many labels wait for their prediction."""
        return len(self._early)

    def fresh(self, ids: Sequence[str | None]) -> list[int] | None:
        """Which predictions were not met before, by place; None where all are new, as is usual."""
        return self.ids.fresh(ids)

    def join(
        self,
        ids: Sequence[str | None],
        predictions: Sequence[Any],
        versions: Sequence[Any],
        label_ids: Sequence[str] = (),
        labels: Sequence[Any] = (),
        next_rows: Sequence[int] = (),
    ) -> Joined:
        """Take in new predictions, and labels with them.

        ``next_rows`` says what came before what: for each label, the row that the next prediction after it gets.
        """
        joined = Joined()
        self._set, self._waits = {}, {}
        first, start, labelled = self.ids.next, 0, 0
        # an id that is used again must not take the labels that came before
        for stop in (*self.ids.reused(ids), len(ids)):
            until = len(label_ids) if stop == len(ids) else _first_above(next_rows, first + stop)
            self._add(ids[start:stop], predictions[start:stop], versions[start:stop])
            self._join(ids[start:stop], label_ids, labels, next_rows, range(labelled, until), joined)
            start, labelled = stop, until
        early = [(one, *self._early[one]) for one in self._waits if one in self._early]
        self._journal.append((ids, predictions, _short(versions), list(self._set), list(self._set.values()), early))
        self._forget()
        return joined

    def _add(self, ids: Sequence[str | None], predictions: Sequence[Any], versions: Sequence[Any]) -> None:
        self.ids.add(ids)
        self._predictions += predictions
        self._versions += versions
        self._labels += [UNLABELLED] * len(ids)

    def _join(
        self,
        new: Sequence[str | None],
        label_ids: Sequence[str],
        labels: Sequence[Any],
        next_rows: Sequence[int],
        places: range,
        joined: Joined,
    ) -> None:
        first, early = self.ids.first, self._early
        # predictions of this batch whose label is there before them
        awaited = dict.fromkeys(one for one in new if one is not None and one in early) if early else {}
        number, known = self.ids.number, self._labels
        for place in places:
            one, label, next_row = label_ids[place], labels[place], next_rows[place]
            row = number(one)
            if row >= next_row:  # the prediction is still to come
                awaited[one] = None
            elif one in awaited:
                del awaited[one]
                self._complete(one, row, joined)
            if not max(0, next_row - self.max_waiting) <= row < next_row:
                joined.label_rows.append(-1)
                if one not in early and len(early) >= self.max_waiting:
                    # those whose prediction has come wait no more, and are in nobody's way
                    for other in [other for other in awaited if number(other) < next_row]:
                        del awaited[other]
                        self._complete(other, number(other), joined)
                self._wait(one, label, next_row, joined)
                continue
            joined.label_rows.append(row)
            before = known[row - first]
            if before is UNLABELLED:
                self._pair(row, label, place, joined)
            elif before == label:
                joined.duplicates += 1
            else:
                joined.revised += 1
            self._label(row, label)
        for one in awaited:
            self._complete(one, number(one), joined)

    def _wait(self, one: str, label: Any, next_row: int, joined: Joined) -> None:
        before = self._early.get(one)
        if before is None or before[1] < next_row - self.max_waiting:
            self._early.pop(one, None)
            if len(self._early) >= self.max_waiting:
                self._early.popitem(last=False)
            self._early[one] = (label, next_row)
            self._waits.pop(one, None)
            self._waits[one] = None
            return
        if before[0] == label:
            joined.duplicates += 1
        else:
            joined.revised += 1
        self._early[one] = (label, before[1])
        self._waits[one] = None

    def _complete(self, one: str, row: int, joined: Joined) -> None:
        """The prediction has come whose label was waiting, if it still is."""
        waiting = self._early.pop(one, None)
        if waiting is not None and waiting[1] >= row - self.max_waiting:
            self._label(row, waiting[0])
            self._pair(row, waiting[0], BY_PREDICTION, joined)

    def _label(self, row: int, label: Any) -> None:
        self._labels[row - self.ids.first] = label
        self._set[row] = label

    def _pair(self, row: int, label: Any, place: int, joined: Joined) -> None:
        at = row - self.ids.first
        joined.rows.append(row)
        joined.predictions.append(self._predictions[at])
        joined.versions.append(self._versions[at])
        joined.labels.append(label)
        joined.label_places.append(place)

    def _forget(self) -> None:
        gone = self.ids.forget()
        del self._predictions[:gone], self._versions[:gone], self._labels[:gone]
        horizon = self.ids.next - self.max_waiting
        while self._early:
            one = next(iter(self._early))
            if self._early[one][1] >= horizon:
                break
            del self._early[one]

    def contents(self) -> list[tuple[Any, ...]]:
        """Every prediction that is kept, with its label if it came, and every label that waits."""
        kept = sorted(self.ids.contents().items(), key=lambda one: one[1])
        rows = [(row - self.ids.first, one, row) for one, row in kept]
        known = [
            (
                one,
                row,
                self._predictions[at],
                self._versions[at],
                None if self._labels[at] is UNLABELLED else self._labels[at],
            )
            for at, one, row in rows
        ]
        return [*known, *self._early.items()]

    def take_journal(self) -> bytes | None:
        """What has changed since the last call, to be stored; None where nothing has."""
        journal, self._journal = self._journal, []
        return msgspec.msgpack.encode((self.ids.next, journal)) if journal else None

    def apply_journal(self, packed: bytes) -> None:
        """Repeat what an earlier ``take_journal`` gave, oldest first."""
        after, journal = msgspec.msgpack.decode(packed)
        if not len(self.ids):
            self.ids.start(after - sum(len(ids) for ids, *_ in journal))
        for ids, predictions, versions, rows, labels, early in journal:
            self._add(ids, predictions, versions * (len(ids) if len(versions) == 1 else 1))
            for row, label in zip(rows, labels, strict=True):
                if row >= self.ids.first:
                    self._labels[row - self.ids.first] = label
                    self._early.pop(self.ids.id(row), None)
            for one, label, came in early:
                if one in self._early and self._early[one][1] != came:
                    del self._early[one]
                self._early[one] = (label, came)
            while len(self._early) > self.max_waiting:
                self._early.popitem(last=False)
            self._forget()


def _short(versions: Sequence[Any]) -> Sequence[Any]:
    return versions[:1] if len(set(versions)) == 1 else versions


def _first_above(next_rows: Sequence[int], row: int) -> int:
    """The first label that came after the prediction ``row``."""
    return next((place for place, next_row in enumerate(next_rows) if next_row > row), len(next_rows))
