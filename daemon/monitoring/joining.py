"""Labels one by one, where it matters what came before what: early, twice, revised, for an id that is used again."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from daemon.monitoring.labelled import Revision
from daemon.monitoring.labels import BY_PREDICTION, UNLABELLED, Joined, LabelJoin, NewLabels
from daemon.monitoring.recent import Again


def join_one_by_one(
    join: LabelJoin, ids: Sequence[str | None], labels: NewLabels, again: Again
) -> tuple[Joined, Sequence[int], Sequence[Any], Mapping[str, bool]]:
    """Join ``labels``, and the labels that wait, to what ``join`` holds, new predictions (``ids``) among it.

    Answers also the rows that were given a label and which, in order, and the ids whose waiting labels are new (True)
    or have changed.
    """
    one = _OneByOne(join, again)
    one.run(ids, labels)
    return one.joined(), one.rows, one.values, one.waits


class _OneByOne:
    def __init__(self, join: LabelJoin, again: Again) -> None:
        self._join = join
        self._most = join.max_waiting
        self._early = join.early
        self._again: dict[str, list[int]] = {}  # the rows of ids that are used again
        for name, before, now in again:
            self._again.setdefault(name, [before]).append(now)
        # predictions of this batch that a label waits for, with their rows
        self._awaited: dict[str, int] = {}
        self._pairs: list[tuple[int, Any, Any, Any, int]] = []
        self._label_rows: list[int] = []
        self._duplicates = 0
        self._revised = 0
        self._revisions: list[Revision] = []
        self.rows: list[int] = []
        self.values: list[Any] = []
        self.waits: dict[str, bool] = {}  # whether the label is at the end of those that wait

    def run(self, ids: Sequence[str | None], labels: NewLabels) -> None:
        first = self._join.ids.next - len(ids)
        if self._early:
            self._awaited = {
                name: self._coming(name, first) for name in ids if name is not None and name in self._early
            }
        for place, (name, label, next_row) in enumerate(
            zip(labels.ids, labels.labels, labels.next_rows.tolist(), strict=True)
        ):
            self._take(place, name, label, next_row)
        for name, row in list(self._awaited.items()):
            self._complete(name, row)

    def joined(self) -> Joined:
        """What has come of it."""
        rows, predictions, versions, labels, places = zip(*self._pairs, strict=True) if self._pairs else [()] * 5
        segments, first = self._join.segments, self._join.ids.first
        within = None if segments is None else [segments[row - first] for row in rows]
        return Joined(
            rows,
            predictions,
            versions,
            labels,
            places,
            self._label_rows,
            self._duplicates,
            self._revised,
            within,
            self._join.scores.at([row - first for row in rows]),
            self._revisions,
        )

    def _take(self, place: int, name: str, label: Any, next_row: int) -> None:
        awaited = self._awaited.get(name)
        if awaited is not None and awaited < next_row:
            self._complete(name, awaited)
        row = self._come(name, next_row)
        if row < max(0, next_row - self._most):
            self._label_rows.append(-1)
            self._wait(name, label, next_row)
            coming = self._coming(name, next_row)
            if coming >= 0:
                self._awaited[name] = coming
            return
        self._label_rows.append(row)
        before = self._join.labels[row - self._join.ids.first]
        if before is UNLABELLED:
            self._pair(row, label, place)
        elif before == label:
            self._duplicates += 1
        else:
            self._revised += 1
            self._revisions.append(Revision(row, self._join.predictions[row - self._join.ids.first], label))
        self._label(row, label)

    def _come(self, name: str, next_row: int) -> int:
        """The row of the newest prediction of this id before ``next_row``, -1 for none."""
        rows = self._again.get(name)
        if rows is None:
            row = self._join.ids.numbers.get(name, -1)
            return row if row < next_row else -1
        place = bisect_left(rows, next_row)
        return rows[place - 1] if place else -1

    def _coming(self, name: str, next_row: int) -> int:
        """The row of the next prediction of this id from ``next_row`` on, -1 for none."""
        rows = self._again.get(name)
        if rows is None:
            row = self._join.ids.numbers.get(name, -1)
            return row if row >= next_row else -1
        place = bisect_left(rows, next_row)
        return rows[place] if place < len(rows) else -1

    def _wait(self, name: str, label: Any, next_row: int) -> None:
        before = self._early.get(name)
        if before is not None and before[1] >= next_row - self._most:
            if before[0] == label:
                self._duplicates += 1
            else:
                self._revised += 1
            self._early[name] = (label, before[1])
            self.waits.setdefault(name, False)
            return
        self._early.pop(name, None)
        if len(self._early) >= self._most:
            # those whose prediction has come wait no more, and are in nobody's way
            for other, row in list(self._awaited.items()):
                if row < next_row:
                    self._complete(other, row)
        if len(self._early) >= self._most:
            self._early.popitem(last=False)
        self._early[name] = (label, next_row)
        self.waits.pop(name, None)
        self.waits[name] = True

    def _complete(self, name: str, row: int) -> None:
        """The prediction has come whose label was waiting, if it still is."""
        self._awaited.pop(name, None)
        waiting = self._early.pop(name, None)
        if waiting is not None and waiting[1] >= row - self._most:
            self._pair(row, waiting[0], BY_PREDICTION)
            self._label(row, waiting[0])

    def _label(self, row: int, label: Any) -> None:
        self._join.labels[row - self._join.ids.first] = label
        self.rows.append(row)
        self.values.append(label)

    def _pair(self, row: int, label: Any, place: int) -> None:
        at = row - self._join.ids.first
        kept = self._join
        self._pairs.append((row, kept.predictions[at], kept.versions[at], label, place))
