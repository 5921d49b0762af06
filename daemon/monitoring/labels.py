"""Joins labels to predictions, in whatever order they come, in bounded memory."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from operator import itemgetter
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.monitoring.labelled import Revision
from daemon.monitoring.prediction_scores import Packed, Scores, WaitingScores
from daemon.monitoring.recent import Again, RecentIds

DEFAULT_MAX_WAITING: Final = 200_000

BY_PREDICTION: Final = -1
"""In the place of a label: the label was there already, and the prediction completed the pair."""


class _Unlabelled:
    """Stands for the label that has not come."""


UNLABELLED: Final = _Unlabelled()


@dataclass(frozen=True, slots=True)
class NewPredictions:
    """New predictions, in order."""

    ids: Sequence[str | None] = ()
    predictions: Sequence[Any] = ()
    versions: Sequence[str | None] = ()
    segments: Sequence[int] | None = None
    scores: NDArray[np.float64] | None = None
    score_classes: Sequence[Mapping[str, float | None] | None] | None = None


@dataclass(frozen=True, slots=True)
class NewLabels:
    """Labels, in order. ``next_rows`` says what came before what: the row that the next prediction after each gets."""

    ids: Sequence[str] = ()
    labels: Sequence[Any] = ()
    next_rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))


@dataclass(slots=True)
class Joined:
    """What came of a batch of predictions and labels.

    The sequences up to ``label_places``, and ``scores`` and ``segments`` where there are any, have an entry for each
    pair, in no particular order; ``label_places`` has the place, among the batch's labels, of the one that completed
    the pair. ``label_rows`` is the row of the prediction of each label of the batch, -1 where it has not come.
    ``revisions`` are labels that differ from the one that completed the pair, in order.
    """

    rows: Sequence[int] = field(default_factory=list)
    predictions: Sequence[Any] = field(default_factory=list)
    versions: Sequence[Any] = field(default_factory=list)
    labels: Sequence[Any] = field(default_factory=list)
    label_places: Sequence[int] = field(default_factory=list)
    label_rows: Sequence[int] = field(default_factory=list)
    duplicates: int = 0
    revised: int = 0
    segments: Sequence[int] | None = None
    scores: Scores = field(default_factory=lambda: Scores.none(0))
    revisions: Sequence[Revision] = ()


class LabelJoin:
    """The predictions of one model that a label may still come for, and the labels that came before their prediction.

    Both are kept for ``max_waiting`` rows of the model, labelled or not. The horizon is counted in rows, not batches:
    the split of a log into batches changes nothing.
    """

    def __init__(self, max_waiting: int = DEFAULT_MAX_WAITING) -> None:
        self.max_waiting = max_waiting
        self.ids = RecentIds(max_waiting)
        self.predictions: list[Any] = []  # these three of the rows from ``ids.first`` on
        self.versions: list[Any] = []
        self.labels: list[Any] = []
        self.segments: list[int] | None = None  # of the same rows, as soon as one has any
        self.scores = WaitingScores()  # of the same rows
        self.early: OrderedDict[str, tuple[Any, int]] = OrderedDict()  # label, and the row count when it came
        self._again: Again = ()
        self._journal: list[Sequence[Any]] = []

    def number(self, ids: Sequence[str | None]) -> list[int] | None:
        """Give the new ones among these predictions their rows, and say which they are; None for all, as is usual.

        To be followed by ``join`` with those.
        """
        places, self._again = self.ids.take(ids)
        return places

    def join(self, new: NewPredictions, labels: NewLabels) -> Joined:
        """Take in the predictions that were numbered last, and the labels that came with them."""
        self.predictions += new.predictions
        self.versions += new.versions
        self.labels += [UNLABELLED] * len(new.ids)
        self._segment(new.segments)
        scores = self._score(new)
        joined = self._at_once(new, labels)
        if joined is None:
            from daemon.monitoring.joining import join_one_by_one

            joined, rows, values, waits = join_one_by_one(self, new.ids, labels, self._again)
            early = [(one, *self.early[one], new) for one, new in waits.items() if one in self.early]
        else:
            rows, values, early = joined.rows, joined.labels, []
        self._again = ()
        if new.ids or labels.ids:
            versions = _short(new.versions)
            self._journal.append((new.ids, new.predictions, versions, rows, values, early, new.segments, scores))
        self._forget()
        return joined

    def _at_once(self, new: NewPredictions, labels: NewLabels) -> Joined | None:
        """The same where each label comes after its prediction, and for the first time; None where that is not so."""
        if self._again or (self.early and not self.early.keys().isdisjoint(new.ids)):
            return None
        if not labels.ids:
            return Joined()
        rows = np.fromiter(map(self.ids.numbers.get, labels.ids, repeat(-1)), np.int64, len(labels.ids))
        has_come = (rows >= np.maximum(labels.next_rows - self.max_waiting, 0)) & (rows < labels.next_rows)
        if not has_come.all():
            return None
        known = rows.tolist()
        places = (rows - self.ids.first).tolist()
        take = itemgetter(*places, places[0])  # of one place it would give no tuple
        if len(set(known)) < len(known) or set(take(self.labels)) != {UNLABELLED}:
            return None
        for place, label in zip(places, labels.labels, strict=True):
            self.labels[place] = label
        predictions, versions = take(self.predictions)[:-1], take(self.versions)[:-1]
        segments = None if self.segments is None else take(self.segments)[:-1]
        scores = self.scores.at(rows - self.ids.first)
        return Joined(
            known, predictions, versions, labels.labels, range(len(known)), known, segments=segments, scores=scores
        )

    def _score(self, new: NewPredictions) -> Packed | None:
        """Keep the scores of the predictions that were taken last; answer them as they are stored, if there are any."""
        if new.scores is None:
            self.scores.append(Scores.none(len(new.ids)))
            return None
        scores = self.scores.take(new.scores, new.score_classes)
        return scores.packed() if np.isfinite(scores.values).any() else None

    def _segment(self, segments: Sequence[int] | None) -> None:
        """Keep the segments of the predictions that were taken last."""
        if self.segments is None:
            if segments is None:
                return
            self.segments = [0] * (len(self.predictions) - len(segments))
        self.segments += [0] * (len(self.predictions) - len(self.segments)) if segments is None else segments

    def _forget(self) -> None:
        gone = self.ids.forget()
        if gone:
            del self.predictions[:gone], self.versions[:gone], self.labels[:gone]
            self.scores.forget(gone)
            if self.segments is not None:
                del self.segments[:gone]
        horizon = self.ids.next - self.max_waiting
        while self.early:
            one = next(iter(self.early))
            if self.early[one][1] >= horizon:
                break
            del self.early[one]

    def contents(self) -> list[tuple[Any, ...]]:
        """Every prediction that is kept, with its label if it came, and every label that waits."""
        kept = sorted(self.ids.contents().items(), key=itemgetter(1))
        known = []
        for one, row in kept:
            place = row - self.ids.first
            label = self.labels[place]
            known.append(
                (one, row, self.predictions[place], self.versions[place], None if label is UNLABELLED else label)
            )
        horizon = self.ids.next - self.max_waiting
        return [*known, *((one, waits) for one, waits in self.early.items() if waits[1] >= horizon)]

    def take_journal(self) -> bytes | None:
        """What has changed since the last call, to be stored; None where nothing has."""
        journal, self._journal = self._journal, []
        return msgspec.msgpack.encode((self.ids.next, journal)) if journal else None

    def apply_journal(self, packed: bytes) -> None:
        """Repeat what an earlier ``take_journal`` gave, oldest first."""
        after, journal = msgspec.msgpack.decode(packed)
        if not len(self.ids):
            self.ids.start(after - sum(len(ids) for ids, *_ in journal))
        start = self.ids.next
        for ids, predictions, versions, rows, labels, early, *more in journal:  # older releases kept no more than that
            segments, scores = (*more, None, None)[:2]
            self.ids.take(ids)
            self.predictions += predictions
            self.versions += versions * (len(ids) if len(versions) == 1 else 1)
            self.labels += [UNLABELLED] * len(ids)
            self._segment(segments)
            self.scores.append(Scores.none(len(ids)) if scores is None else Scores.restored(scores))
            first = self.ids.first
            for row, label in zip(rows, labels, strict=True):
                if row >= first:
                    self.labels[row - first] = label
                    if self.early:
                        self.early.pop(self.ids.id(row) or "", None)
            for one, label, came, new in early:
                if new:
                    self.early.pop(one, None)
                if one in self.early or came >= start:  # else the chunk in which it came is gone, and so is its time
                    self.early[one] = (label, came)
            while len(self.early) > self.max_waiting:
                self.early.popitem(last=False)
        self._forget()


def _short(versions: Sequence[Any]) -> Sequence[Any]:
    return versions[:1] if len(set(versions)) == 1 else versions
