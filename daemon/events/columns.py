"""Decoded features of one model -> columns, one per feature."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from msgspec import Meta
from msgspec.structs import astuple
from numpy.typing import NDArray

from daemon.events.event_features import UNREADABLE, FeatureCheck, Features
from daemon.events.event_rules import Event, EventLimits, Problem, is_name, strict_event
from detectors.columns import INVALID, number_as_text

NUMBER: Final = "number"
CATEGORY: Final = "category"

Column = NDArray[Any]

_NUMERIC: Final = frozenset({int, float, type(None)})
_TEXT: Final = frozenset({str, type(None)})


class BadFeatures(ValueError):
    """Some events' features cannot be used: put those events aside and decode the others."""

    def __init__(self, problems: dict[int, Problem]) -> None:
        super().__init__(f"{len(problems)} features objects that cannot be used")
        self.problems = problems


class FeatureDecoder:
    """Raw feature objects -> one column per feature.

    ``schema`` maps a feature to ``number`` or ``category``, as learned from the model's reference. Where every object
    fits, they are decoded in one pass by a struct made for the schema; a single misfit (another type, a feature that is
    not in the schema) sends its batch through a slower pass.

    A ``guessed`` schema only says what is likely: where an object does not fit it, all are taken as if there were none.

    A feature that the schema does not have gets a column of values as they came (see ``typed``) once it has a value,
    while there are less than ``most``; without a schema all are such.
    """

    def __init__(
        self,
        schema: Mapping[str, str] | None = None,
        limits: EventLimits | None = None,
        most: int | None = None,
        *,
        guessed: bool = False,
    ) -> None:
        self.guessed = guessed
        self.schema = dict(schema or {})
        self.limits = limits or EventLimits()
        self.most = self.limits.features if most is None else most
        self._check = FeatureCheck(self.limits)
        self._order: list[str] = []
        self._narrow: Any = None  # text is text
        self._wide: Any = None  # text may be a boolean or a number as well
        self._decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
        self._known: Known | None = None

    def __call__(self, raws: Sequence[msgspec.Raw]) -> tuple[dict[str, Column], NDArray[np.int64] | None]:
        """Columns, and the places in ``raws`` of the objects that they hold; None for all of them.

        A null is no object. Raises BadFeatures.
        """
        if self.schema and not self._order:
            self._prepare(raws)
        for struct in (self._narrow, None if self.guessed else self._wide):
            if struct is not None:
                try:
                    rows = self._decoders[struct].decode(b"[" + b",".join(raws) + b"]")
                except UNREADABLE:
                    continue
                if struct is self._wide:
                    self._narrow = self._known = None  # there will be more of that kind
                return self.of_rows(rows)
        objects = self._objects(raws)
        present = [place for place, one in enumerate(objects) if one is not None]
        columns = self.from_objects([one for one in objects if one is not None])
        return columns, None if len(present) == len(objects) else np.array(present, dtype=np.int64)

    def of_rows(self, rows: Sequence[Any]) -> tuple[dict[str, Column], NDArray[np.int64] | None]:
        """The same from objects that are decoded already."""
        if None not in rows:
            return self._columns(rows), None
        present = [place for place, row in enumerate(rows) if row is not None]
        return self._columns([rows[place] for place in present]), np.array(present, dtype=np.int64)

    @property
    def settled(self) -> bool:
        """Whether whatever fits the schema is within the limits."""
        return bool(self._order)

    def known(self, model: str) -> "Known | None":
        """What decodes whole events of ``model``, features and all; None while that is not possible."""
        if self._narrow is not None and (self._known is None or self._known.model != model):
            fields = [("features", self._narrow | None, None)]
            bases = (strict_event(self.limits),)
            event: Any = msgspec.defstruct("KnownEvent", fields, bases=bases, forbid_unknown_fields=True, gc=False)
            self._known = Known(model, self, msgspec.json.Decoder(event))
        return self._known

    def from_objects(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
        """The same from decoded objects."""
        if not self.schema or self.guessed:
            names = dict.fromkeys(name for row in rows for name in row)
            return {name: untyped([row.get(name) for row in rows]) for name in names}
        columns = {name: column_of([row.get(name) for row in rows], kind) for name, kind in self.schema.items()}
        appeared = {name: untyped([row.get(name) for row in rows]) for name in self._appeared(rows)}
        return columns | appeared

    def _appeared(self, rows: Sequence[Mapping[str, Any]]) -> Iterable[str]:
        found = dict.fromkeys(
            name
            for row in rows
            if not row.keys() <= self.schema.keys()
            for name in row
            if name not in self.schema and row[name] is not None
        )
        return list(found)[: max(0, self.most - len(self.schema))]

    def _objects(self, raws: Sequence[msgspec.Raw]) -> Sequence[Features | None]:
        objects = self._check.objects(raws)
        if objects is not None:
            return objects
        read = [self._check.read(raw) for raw in raws]
        problems = {place: one for place, one in enumerate(read) if isinstance(one, Problem)}
        if problems:
            raise BadFeatures(problems)
        return [None if isinstance(one, Problem) else one for one in read]

    def _prepare(self, raws: Sequence[msgspec.Raw]) -> None:
        """Make the struct, its fields in the order in which this sender writes them: that is found fastest."""
        first = next((one for one in self._check.objects(raws[:1]) or () if one), None)
        if first is None or len(self.schema) > self.limits.features:
            return  # a wider reference was given than events may be
        if not all(is_name(name, self.limits.feature_chars) for name in self.schema):
            return
        self._order = [
            *(name for name in first if name in self.schema),
            *(one for one in self.schema if one not in first),
        ]
        text = Annotated[str, Meta(max_length=self.limits.text_chars)]
        self._narrow = self._struct(text | None)
        self._wide = self._struct(text | float | bool | None)

    def _struct(self, text: Any) -> Any:
        kinds: dict[str, tuple[Any, Any]] = {NUMBER: (float | None, np.nan), CATEGORY: (text, None)}
        fields = [(f"f{number}", *kinds[self.schema[name]]) for number, name in enumerate(self._order)]
        rename = {f"f{number}": name for number, name in enumerate(self._order)}
        struct: Any = msgspec.defstruct(
            "Features", fields, rename=rename, forbid_unknown_fields=True, eq=False, gc=False
        )
        self._decoders[struct] = msgspec.json.Decoder(list[struct | None])
        return struct

    def _columns(self, rows: Sequence[Any]) -> dict[str, Column]:
        if not rows:
            return {}
        values = zip(*map(astuple, rows), strict=True)
        text = _texts if type(rows[0]) is self._wide else _objects
        return {
            name: _numbers(column) if self.schema[name] == NUMBER else text(column)
            for name, column in zip(self._order, values, strict=True)
        }


@dataclass(frozen=True, slots=True)
class Known:
    """A model whose features are known: its events are decoded in one pass."""

    model: str
    features: FeatureDecoder
    events: msgspec.json.Decoder[Event]


def kind_of(values: Iterable[Any]) -> str:
    """``number`` where all that is there is a number, else ``category``."""
    return NUMBER if set(map(type, values)) <= _NUMERIC else CATEGORY


def column_of(values: Sequence[Any], kind: str | None = None) -> Column:
    """Plain values as a column: of numbers where ``kind`` or all that is there says so, else of text."""
    if (kind or kind_of(values)) == NUMBER:
        return np.array([_number(value) for value in values], dtype=np.float64)
    return _texts(values)


class Untyped(np.ndarray):
    """A column of values as they came, of any type; what can be no value of any type is an infinity."""


def untyped(values: Sequence[Any]) -> Untyped:
    """Such a column."""
    column = np.empty(len(values), dtype=object)
    column[:] = [np.inf if isinstance(value, list | dict) else value for value in values]
    return column.view(Untyped)


def typed(columns: Mapping[str, Column], schema: Mapping[str, str]) -> dict[str, Column]:
    """All columns with types: those of ``schema``, and else those of the values; one without any value is left out."""
    known = {}
    for name, column in columns.items():
        if not isinstance(column, Untyped):
            if name in schema or _has_values(column):
                known[name] = _of_kind(column, schema.get(name))
            continue
        values = column.tolist()
        if values.count(None) < len(values):
            known[name] = column_of(values, schema.get(name))
    return known


def _has_values(column: Column) -> bool:
    return column.tolist().count(None) < len(column) if column.dtype == object else not bool(np.isnan(column).all())


def _of_kind(column: Column, kind: str | None) -> Column:
    """A column that was decoded by another schema, as this one would have it."""
    if kind is None or (column.dtype == object) == (kind == CATEGORY):
        return column
    if kind == CATEGORY:
        return _objects([number_as_text(value) for value in column.tolist()])
    return np.array([np.nan if value is None else np.inf for value in column.tolist()], dtype=np.float64)


def _numbers(values: Sequence[float | None]) -> Column:
    try:
        return np.fromiter(values, np.float64, len(values))
    except TypeError:  # a null
        return np.array(values, dtype=np.float64)


def _texts(values: Sequence[Any]) -> Column:
    return _objects(values if set(map(type, values)) <= _TEXT else [_text(value) for value in values])


def _objects(values: Sequence[Any]) -> Column:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _number(value: object) -> float:
    if value is None:
        return np.nan
    # a number sent as text is a change of type that the model behind it may not survive
    if not isinstance(value, int | float) or isinstance(value, bool):
        return np.inf
    try:
        return float(value)
    except OverflowError:
        return np.inf


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return INVALID if isinstance(value, list | dict) else number_as_text(_number(value))
