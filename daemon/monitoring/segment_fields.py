"""Which segments a prediction is of: one number a row, in bounded memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np
import structlog
from numpy.typing import NDArray

from daemon.events.event_rules import as_text
from daemon.events.rows import Predictions
from daemon.monitoring.schema import FEATURE_PREFIX
from detectors.bins import as_numbers
from detectors.columns import INVALID, number_as_text
from detectors.segments import ABSENT, MOST_FIELDS, MOST_VALUES, OTHER, SLOTS

log = structlog.get_logger(__name__)

CARRIED: Final = "carried"
"""Among the fields to watch: those of ``segment`` that events carry."""
KNOWN: Final = 1_000
"""Values of a field that are told apart until it is known which are the most frequent."""
GROUPS: Final = 5
"""Of a number with more values than there may be segments: as many rows in each."""
_BITS: Final = 12
_MASK: Final = (1 << _BITS) - 1
_NONE, _OTHER, _FIRST = 0, 1, 2
"""What stands for no value, for one that is not told apart, and for the first that is."""


@dataclass(slots=True)
class Field:
    """One field: its values get codes as they come, and places among the segments once they are chosen."""

    name: str
    codes: dict[str, int] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    slots: list[int] = field(default_factory=lambda: [ABSENT, OTHER])  # by code, once chosen
    names: list[str] = field(default_factory=list)  # by slot
    numeric: bool | None = None
    numbers: list[float] = field(default_factory=list)  # until the groups are known
    edges: list[float] | None = None
    said: bool = False

    @property
    def feature(self) -> str | None:
        """The feature whose values these are, if it is one's."""
        return self.name.removeprefix(FEATURE_PREFIX) if self.name.startswith(FEATURE_PREFIX) else None

    def of_texts(self, values: Sequence[str | None], *, chosen: bool) -> NDArray[np.int64]:
        """The code of each text; new ones get one while there is room."""
        known = self.codes
        for value in dict.fromkeys(values):
            if value is not None and value not in known:
                self._meet(value, chosen=chosen)
        get = known.get
        found = [_NONE if value is None else get(value, _OTHER) for value in values]
        if not chosen:
            for code, count in zip(*np.unique(found, return_counts=True), strict=True):
                self.counts[int(code)] = self.counts.get(int(code), 0) + int(count)
        return np.array(found, dtype=np.int64)

    def _meet(self, value: str, *, chosen: bool) -> None:
        room = len(self.names) < MOST_VALUES if chosen else len(self.codes) < KNOWN
        if not room:
            self._say_other()
            return
        self.codes[value] = _FIRST + len(self.codes)
        if chosen:
            self.slots.append(len(self.names))
            self.names.append(value)

    def of_column(self, column: NDArray[Any], *, chosen: bool) -> NDArray[np.int64]:
        """The code of each value of a feature."""
        if self.numeric is None:
            first = next((one for one in column.tolist() if one is not None and one == one), None)  # noqa: PLR0124
            if first is None:
                return np.zeros(len(column), dtype=np.int64)
            self.numeric = bool(np.isfinite(as_numbers(np.array([first], dtype=column.dtype))[0]))
        if not self.numeric:
            values = column.tolist()
            texts = values if column.dtype == object else [number_as_text(value) for value in values]
            return self.of_texts([None if one == INVALID else one for one in texts], chosen=chosen)
        numbers = as_numbers(column)
        finite = np.isfinite(numbers)
        codes = np.zeros(len(numbers), dtype=np.int64)
        if not chosen:
            self.numbers += numbers[finite].tolist()
        elif self.edges is not None:
            codes[finite] = _FIRST + np.searchsorted(np.array(self.edges), numbers[finite], side="right")
        return codes

    def choose(self) -> None:
        """The most frequent values, or the groups of a number, become the segments."""
        if not self.codes and not self.numbers:
            log.warning(
                "a field of DRIFTD_SEGMENTS has no value so far: name it as events do, a feature as feature:NAME",
                field=self.name,
            )
        if self.numeric:
            self._group()
            return
        ordered = sorted(self.codes.items(), key=lambda one: (-self.counts.get(one[1], 0), one[0]))
        self.slots = [ABSENT, OTHER] + [OTHER] * len(self.codes)
        for slot, (value, code) in enumerate(ordered[:MOST_VALUES]):
            self.slots[code] = slot
            self.names.append(value)
        self.counts = {}
        if len(ordered) > MOST_VALUES:
            self._say_other()

    def _group(self) -> None:
        numbers, self.numbers = np.array(self.numbers), []
        distinct = np.unique(numbers)
        if not len(distinct):
            return
        if len(distinct) <= MOST_VALUES:
            self.edges = ((distinct[1:] + distinct[:-1]) / 2).tolist()
            self.names = [f"{one:.6g}" for one in distinct.tolist()]
        else:
            cuts = np.unique(np.quantile(numbers, np.arange(1, GROUPS) / GROUPS))
            self.edges = cuts.tolist()
            ends = [f"{one:.6g}" for one in cuts.tolist()]
            between = [f"{low} to {high}" for low, high in pairwise(ends)]
            self.names = [f"below {ends[0]}", *between, f"{ends[-1]} or more"]
        self.slots = [ABSENT, OTHER, *range(len(self.names))]

    def _say_other(self) -> None:
        if not self.said:
            self.said = True
            log.warning("segments beyond the most frequent are counted as other", field=self.name, most=MOST_VALUES)

    def state(self) -> dict[str, Any]:
        """As values that msgpack can hold."""
        return {name: getattr(self, name) for name in self.__slots__}


class SegmentFields:
    """The fields by which a model's predictions are told apart.

    ``watched`` are their names, ``feature:NAME`` for a feature, ``CARRIED`` for whatever events carry. The first
    ``rows`` predictions decide which of a field's values are segments; later ones may come to be while there is room.
    """

    def __init__(self, watched: Sequence[str], rows: int) -> None:
        self._carried = CARRIED in watched
        self._rows = rows
        self.fields = [Field(name) for name in watched if name != CARRIED][:MOST_FIELDS]
        self.are_named = bool(self.fields)  # some of them in the settings, whatever events carry
        self.taken = 0
        self._settled = False
        self.first_row = 0  # the first that was taken when the segments were chosen
        self._said = len([name for name in watched if name != CARRIED]) > MOST_FIELDS

    @property
    def chosen(self) -> bool:
        """Whether it is known which values are segments."""
        return self.taken >= self._rows

    def take(self, predictions: Predictions, first_row: int) -> NDArray[np.int64] | None:
        """The segments of each row in one number; None where there is nothing to tell rows apart by.

        ``first_row`` is the number of the first of the predictions.
        """
        count = len(predictions)
        if not self.chosen and self.taken + count >= self._rows:
            self.first_row = first_row + self._rows - self.taken
        given = predictions.segments
        carried = None if given.count(None) == count else given
        if carried is None and not self.fields:
            self.taken += count
            self._settle()
            return None
        split = count if self.chosen else min(count, self._rows - self.taken)
        found = np.zeros(count, dtype=np.int64)
        for start, stop in ((0, split), (split, count)):
            if start < stop:
                if carried is not None and self._carried:
                    self._discover(carried[start:stop], first_row + start)
                found[start:stop] = self._codes(predictions, carried, start, stop)
                self.taken += stop - start
            self._settle()
        return found

    def _settle(self) -> None:
        """Choose the segments if it is time to."""
        if self.chosen and not self._settled:
            self._settled = True
            for one in self.fields:
                one.choose()

    def _discover(self, segments: Sequence[Mapping[str, Any] | None], first_row: int) -> None:
        if self.chosen:
            # what is counted must not depend on what is still to come: no further fields, and none before this row
            if self.fields:
                return
            place = next((place for place, one in enumerate(segments) if one), None)
            if place is None:
                return
            segments, self.first_row = segments[place : place + 1], first_row + place
        known = {one.name for one in self.fields}
        for keys in dict.fromkeys(map(tuple, filter(None, segments))):
            for name in sorted(keys):
                if name in known:
                    continue
                if len(self.fields) == MOST_FIELDS:
                    if not self._said:
                        self._said = True
                        log.warning("further fields of segment are not watched", field=name, most=MOST_FIELDS)
                    return
                self.fields.append(Field(name))
                known.add(name)

    def _codes(
        self, predictions: Predictions, carried: Sequence[Mapping[str, Any] | None] | None, start: int, stop: int
    ) -> NDArray[np.int64]:
        packed = np.zeros(stop - start, dtype=np.int64)
        for place, one in enumerate(self.fields):
            if one.feature is not None:
                codes = self._of_feature(one, predictions, start, stop)
            elif carried is None:
                continue
            else:
                values = [None if segment is None else segment.get(one.name) for segment in carried[start:stop]]
                codes = one.of_texts(_texts(values), chosen=self.chosen)
            packed |= codes << (_BITS * place)
        return packed

    def _of_feature(self, one: Field, predictions: Predictions, start: int, stop: int) -> NDArray[np.int64]:
        column = predictions.features.get(one.feature or "")
        codes = np.zeros(stop - start, dtype=np.int64)
        if column is None:
            return codes
        if predictions.with_features is None:
            return one.of_column(column[start:stop], chosen=self.chosen)
        low, high = np.searchsorted(predictions.with_features, (start, stop))
        codes[predictions.with_features[low:high] - start] = one.of_column(column[low:high], chosen=self.chosen)
        return codes

    def slots(self, packed: NDArray[np.int64]) -> NDArray[np.int64]:
        """The slot of each row (n) in each field (n, F), once they are chosen."""
        found = np.empty((len(packed), len(self.fields)), dtype=np.int64)
        for place, one in enumerate(self.fields):
            found[:, place] = np.array(one.slots)[(packed >> (_BITS * place)) & _MASK]
        return found

    def names(self) -> dict[int, str]:
        """What the slots of all fields are called: ``channel=web``; those without a value have no name."""
        found: dict[int, str] = {}
        for place, one in enumerate(self.fields):
            name = one.feature or one.name
            found |= {place * SLOTS + slot: f"{name}={value}" for slot, value in enumerate(one.names)}
            found[place * SLOTS + OTHER] = f"{name}=(other)"
        return found

    def state(self) -> dict[str, Any]:
        """As values that msgpack can hold."""
        return {
            "taken": self.taken,
            "row": self.first_row,
            "said": self._said,
            "fields": [one.state() for one in self.fields],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what was stored, where it is of the same fields; those that are watched no more are dropped."""
        stored = [Field(**one) for one in state["fields"]]
        own = [one.name for one in self.fields]
        if [one.name for one in stored][: len(own)] == own and (self._carried or len(stored) == len(own)):
            self.taken, self.first_row, self._said, self.fields = state["taken"], state["row"], state["said"], stored
            self._settled = self.chosen


def _texts(values: Sequence[Any]) -> Sequence[str | None]:
    if set(map(type, values)) <= {str, type(None)}:
        return values
    return [None if one is None else as_text(one) for one in values]
