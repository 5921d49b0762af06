"""Joins labels to predictions, in whatever order they come, in bounded memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import msgspec

DEFAULT_MAX_WAITING = 200_000


class Waiting(NamedTuple):
    """What is kept of a prediction until its label comes."""

    row: int
    prediction: Any
    version: Any


@dataclass(slots=True)
class Joined:
    """Predictions whose label has come: ``order`` is the place in the batch of whichever of the two came later."""

    order: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    predictions: list[Any] = field(default_factory=list)
    versions: list[Any] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)

    def add(self, order: int, waiting: Waiting, label: Any) -> None:  # noqa: ANN401 (any JSON scalar)
        """One pair."""
        self.order.append(order)
        self.rows.append(waiting.row)
        self.predictions.append(waiting.prediction)
        self.versions.append(waiting.version)
        self.labels.append(label)

    def sort(self) -> None:
        """Put pairs in the order of completion, so that the split of a log into batches does not show."""
        places = sorted(range(len(self.order)), key=self.order.__getitem__)
        for name in ("order", "rows", "predictions", "versions", "labels"):
            values = getattr(self, name)
            setattr(self, name, [values[place] for place in places])


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """What became of a batch of labels."""

    joined: int = 0
    duplicates: int = 0
    revised: int = 0


class LabelJoin:
    """The predictions of one model that a label may still come for, and the labels that came before their prediction.

    Both are kept for ``max_waiting`` rows of the model, labelled or not; within that horizon an id counts once, however
    often it is sent. The horizon is counted in rows, not in batches: the split of a log into batches changes nothing.
    """

    def __init__(self, max_waiting: int = DEFAULT_MAX_WAITING) -> None:
        self.max_waiting = max_waiting
        self._predictions: dict[str, Waiting] = {}
        self._labels: dict[str, Any] = {}  # of the predictions that are kept
        self._early: dict[str, tuple[Any, int]] = {}  # label, and the row count when it came
        self._journal: list[tuple[Any, ...]] = []

    @property
    def early(self) -> int:
        """How many labels wait for their prediction."""
        return len(self._early)

    def new_predictions(self, ids: Sequence[str | None], next_row: int) -> list[int] | None:
        """Which of ``ids`` were not seen before, by index; None where all are new, as is usual.

        ``next_row`` is the row that the first new one will get.
        """
        unique = set(ids)
        if len(unique) == len(ids) and None not in unique and self._predictions.keys().isdisjoint(unique):
            return None
        fresh: list[int] = []
        seen: set[str] = set()
        for index, one in enumerate(ids):
            if one is not None:
                known = self._predictions.get(one)
                if one in seen or (known is not None and known.row > next_row + len(fresh) - self.max_waiting):
                    continue
                seen.add(one)
            fresh.append(index)
        return None if len(fresh) == len(ids) else fresh

    def add_predictions(
        self,
        order: Sequence[int],
        ids: Sequence[str | None],
        rows: Sequence[int],
        predictions: Sequence[Any],
        versions: Sequence[Any],
        joined: Joined,
    ) -> None:
        """Keep new predictions; those whose label is already there go to ``joined``."""
        self._journal.append((list(ids), list(rows), list(predictions), list(versions)))
        for one in self._predictions.keys() & set(ids):  # an id from beyond the horizon that is used again
            del self._predictions[one]
            self._labels.pop(one, None)
        entries = dict(zip(ids, map(Waiting, rows, predictions, versions), strict=True))
        entries.pop(None, None)
        self._predictions.update(entries)  # type: ignore[arg-type]  # the id None has just been taken out
        if self._early:
            for place, one in zip(order, ids, strict=True):
                if one is not None and one in self._early:
                    label, came = self._early.pop(one)
                    if came > entries[one].row - self.max_waiting:
                        self._labels[one] = label
                        joined.add(place, entries[one], label)

    def add_labels(
        self,
        order: Sequence[int],
        ids: Sequence[str],
        labels: Sequence[Any],
        next_rows: Sequence[int],
        joined: Joined,
    ) -> LabelCounts:
        """Join labels to predictions that are there, and keep those that came first.

        ``next_rows`` is, for each label, the row that the next prediction after it gets.
        """
        self._journal.append((list(ids), list(labels), list(next_rows)))
        known, early, predictions = self._labels, self._early, self._predictions
        duplicates = revised = 0
        before = len(joined.order)
        for place, one, label, next_row in zip(order, ids, labels, next_rows, strict=True):
            waiting = predictions.get(one)
            if waiting is not None and waiting.row >= next_row - self.max_waiting:
                if one not in known:
                    known[one] = label
                    joined.add(place, waiting, label)
                elif known[one] == label:
                    duplicates += 1
                else:
                    revised += 1
                    known[one] = label
            elif one in early:
                duplicates += early[one][0] == label
                revised += early[one][0] != label
                early[one] = (label, early[one][1])
            else:
                early[one] = (label, next_row)
        return LabelCounts(len(joined.order) - before, duplicates, revised)

    def forget(self, next_row: int) -> None:
        """Let go of what is beyond the horizon. Call at the end of each batch."""
        horizon = next_row - self.max_waiting
        gone = []
        for one, waiting in self._predictions.items():
            if waiting.row >= horizon:
                break
            gone.append(one)
        for one in gone:
            del self._predictions[one]
            self._labels.pop(one, None)
        late = []
        for one, (_, came) in self._early.items():
            if came >= horizon:
                break
            late.append(one)
        # labels alone do not move the horizon
        late.extend(islice(self._early, len(late), max(len(late), len(self._early) - self.max_waiting)))
        for one in late:
            del self._early[one]

    def take_journal(self) -> bytes | None:
        """What has changed since the last call, to be stored; None where nothing has."""
        if not self._journal:
            return None
        packed = msgspec.msgpack.encode(self._journal)
        self._journal = []
        return packed

    def apply_journal(self, packed: bytes) -> None:
        """Repeat what an earlier ``take_journal`` gave, oldest first."""
        for entry in msgspec.msgpack.decode(packed):
            if len(entry) == 4:  # noqa: PLR2004 (predictions have four columns, labels three)
                self.add_predictions(range(len(entry[0])), *entry, Joined())
            else:
                self.add_labels(range(len(entry[0])), *entry, Joined())
        self._journal = []
