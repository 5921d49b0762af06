"""The latest rows that are labelled: what performance is measured on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from daemon.monitoring import tasks
from daemon.monitoring.prediction_scores import Scores, after_each_other
from daemon.monitoring.tasks import Task

UNKNOWN: Final = -1
"""The code of no class, and the number of a row that was stored by a release that did not keep it."""
Codes = NDArray[np.int32]


class Revision(NamedTuple):
    """A label that replaces an earlier one of a prediction."""

    row: int
    prediction: Any
    label: Any


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Predictions with their labels: ``rows`` are those of the predictions; classes as texts."""

    rows: NDArray[np.int64]
    errors: NDArray[np.float64]
    predictions: NDArray[Any]
    labels: NDArray[Any]
    scores: Scores


class _Codes(dict[str, int]):
    """Numbers classes as they come."""

    @classmethod
    def of(cls, names: Iterable[str]) -> Self:
        return cls((name, code) for code, name in enumerate(names))

    def __missing__(self, name: str | None) -> int:
        if name is None:
            return UNKNOWN
        code = self[name] = len(self)
        return code


class LabelledRows:
    """The last ``most`` rows that had an error when their label came: of each its number and its error.

    Of classes also label and prediction, as numbers of ``classes``, and scores. Rows are put in place when somebody
    looks: to take them in costs next to nothing.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.changed = True  # since the owner has set it to False
        self._new: list[Outcomes] = []
        self._new_rows = 0
        self._begin(np.empty(0))

    def _begin(self, errors: NDArray[np.float64]) -> None:
        """With rows of which nothing but the error is known."""
        unknown = np.full(len(errors), UNKNOWN)
        self._rows: NDArray[np.int64] = unknown.astype(np.int64)
        self._errors = errors
        self._labels, self._predictions = unknown.astype(np.int32), unknown.astype(np.int32)
        self._scores = Scores.none(len(errors))
        self._codes = _Codes()

    def add(self, outcomes: Outcomes) -> None:
        """Take in further rows; those without an error do not count."""
        self.changed = True
        self._new.append(outcomes)
        self._new_rows += len(outcomes.rows)
        if self._new_rows > self.most:
            self._settle()

    def revise(self, revisions: Sequence[Revision], task: Task) -> None:
        """Labels that replace those of earlier rows; of rows that are not here nothing comes."""
        self._settle()
        place_of = {row: place for place, row in enumerate(self._rows.tolist())}
        found = {place_of[one.row]: (one.prediction, one.label) for one in revisions if one.row in place_of}
        if not found:
            return
        self.changed = True
        places = np.array(list(found))
        predictions, labels = (tasks.column(list(values), task) for values in zip(*found.values(), strict=True))
        self._errors[places] = tasks.error(predictions, labels, task)
        if task is not Task.REGRESSION:
            self._labels[places] = self._coded(labels)

    def clear(self) -> None:
        """Begin again, for another version."""
        self.changed = True
        self._new, self._new_rows = [], 0
        self._begin(np.empty(0))

    @property
    def errors(self) -> NDArray[np.float64]:
        """The errors, oldest first; NaN where a revised label has none."""
        self._settle()
        return self._errors

    def of_classes(self) -> tuple[list[str], Codes, Codes, Scores]:
        """The classes by number, and of the rows where both are known: label, prediction and scores."""
        self._settle()
        self._renumber()
        known = (self._labels != UNKNOWN) & (self._predictions != UNKNOWN) & np.isfinite(self._errors)
        return list(self._codes), self._labels[known], self._predictions[known], self._scores.at(known)

    # --- what is stored

    def state(self) -> dict[str, Any]:
        """All but the errors, which have a place of their own, as values that msgpack can hold."""
        self._settle()
        self._renumber()
        classes, scores = self._scores.packed()
        scored = bool(classes) or bool(np.isfinite(self._scores.values).any())
        return {
            "errors": crc32(self._errors.tobytes()),
            "rows": _packed(self._rows),
            "classes": list(self._codes),
            "labels": _packed(self._labels) if self._codes else None,
            "predictions": _packed(self._predictions) if self._codes else None,
            "scores": (classes, scores) if scored else None,
        }

    def restore(self, errors: NDArray[np.float64], state: Mapping[str, Any] | None) -> None:
        """Go on from ``errors`` and ``state``, if that is of these errors: older releases stored those alone."""
        self._begin(errors.copy())
        if state is None or state["errors"] != crc32(errors.tobytes()):
            return
        self._rows = _unpacked(state["rows"]).astype(np.int64)
        self._codes = _Codes.of(state["classes"])
        if self._codes:
            self._labels = _unpacked(state["labels"]).astype(np.int32)
            self._predictions = _unpacked(state["predictions"]).astype(np.int32)
        if state["scores"] is not None:
            self._scores = Scores.restored(state["scores"])

    # --- putting in place

    def _settle(self) -> None:
        if not self._new:
            return
        new, self._new, self._new_rows = self._new, [], 0
        rows, errors = (np.concatenate([getattr(one, name) for one in new]) for name in ("rows", "errors"))
        kept = np.flatnonzero(np.isfinite(errors))[-self.most :]
        self._rows = self._last(self._rows, rows[kept])
        self._errors = self._last(self._errors, errors[kept])
        labels, predictions = self._new_codes(new, "labels", kept), self._new_codes(new, "predictions", kept)
        self._labels, self._predictions = self._last(self._labels, labels), self._last(self._predictions, predictions)
        scores = after_each_other([one.scores for one in new]).at(kept)
        self._scores = after_each_other([self._scores, scores]).at(slice(-self.most, None))
        if len(self._codes) > 2 * self.most:
            self._renumber()

    def _last(self, before: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate((before, new))[-self.most :]

    def _new_codes(self, new: Sequence[Outcomes], name: str, kept: NDArray[np.int64]) -> Codes:
        values = np.concatenate([getattr(one, name) for one in new])[kept]
        return self._coded(values) if values.dtype == object else np.full(len(kept), UNKNOWN, dtype=np.int32)

    def _coded(self, texts: NDArray[Any]) -> Codes:
        return np.array(list(map(self._codes.__getitem__, texts)), dtype=np.int32)

    def _renumber(self) -> None:
        """Number the classes that are here in the order of their names, so that nothing tells of those that were."""
        names = list(self._codes)
        rows = np.bincount(np.concatenate((self._labels, self._predictions)) - UNKNOWN, minlength=1 + len(names))
        in_order = sorted((names[code], code) for code in np.flatnonzero(rows[1:]).tolist())
        if [name for name, _ in in_order] == names:
            return
        number = np.full(len(names) + 1, UNKNOWN, dtype=np.int32)  # and of the unknown, which is the last one
        number[[code for _, code in in_order]] = np.arange(len(in_order))
        self._labels, self._predictions = number[self._labels], number[self._predictions]
        self._codes = _Codes.of(name for name, _ in in_order)


def _packed(numbers: NDArray[Any]) -> tuple[str, bytes]:
    """Whole numbers in as few bytes each as all of them need, after the name of their type."""
    largest = int(numbers.max(initial=0))
    kind = next(kind for kind in ("<i1", "<i2", "<i4", "<i8") if largest <= np.iinfo(kind).max)
    return kind, numbers.astype(kind).tobytes()


def _unpacked(packed: tuple[str, bytes]) -> NDArray[Any]:
    kind, numbers = packed
    return np.frombuffer(numbers, dtype=kind)
