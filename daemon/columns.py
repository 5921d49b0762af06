"""Decoded events of one model -> columns, one per feature."""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.columns import INVALID, number_as_text

NUMBER = "number"
CATEGORY = "category"

Column = NDArray[Any]


class FeatureDecoder:
    """Raw feature objects -> one column per feature.

    ``schema`` maps a feature to ``number`` or ``category``, as learned from the model's reference. Where every object
    fits, they are decoded in one pass by a struct made for the schema; a single misfit sends its batch through a slower
    pass that keeps what fits and marks the rest invalid. Without a schema the types are those of the batch's values.

    ``unknown`` collects features that the schema does not have, found by a look at one event of each batch.
    """

    def __init__(self, schema: Mapping[str, str] | None = None) -> None:
        self.schema = dict(schema or {})
        self.unknown: dict[str, str] = {}
        self._fast: msgspec.json.Decoder[list[Any]] | None = None
        if self.schema:
            names = [f"f{number}" for number in range(len(self.schema))]
            fields = [
                (name, (float if kind == NUMBER else str) | None, None)
                for name, kind in zip(names, self.schema.values(), strict=True)
            ]
            rename = dict(zip(names, self.schema, strict=True))
            struct = msgspec.defstruct("Features", fields, rename=rename, gc=False)
            self._fast = msgspec.json.Decoder(list[struct])  # type: ignore[valid-type]
            getter = attrgetter(*names)
            self._values = getter if len(names) > 1 else lambda one: (getter(one),)

    def __call__(self, raws: Sequence[msgspec.Raw]) -> dict[str, Column]:
        """Columns of length ``len(raws)``; each raw must hold a JSON object."""
        document = b"[" + b",".join(raws) + b"]"
        if self._fast is not None:
            try:
                rows = self._fast.decode(document)
            except msgspec.ValidationError:
                pass
            else:
                self._look_at(raws[-1])
                return {
                    name: np.array(column, dtype=np.float64 if kind == NUMBER else object)
                    for (name, kind), column in zip(
                        self.schema.items(), zip(*map(self._values, rows), strict=True), strict=True
                    )
                }
        return self.from_objects(msgspec.json.decode(document, type=list[dict[str, Any]]))

    def from_objects(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
        """The same from decoded objects."""
        names = dict.fromkeys(self.schema)
        for row in rows:
            names.update(dict.fromkeys(row))
        return {name: column_of([row.get(name) for row in rows], self.schema.get(name)) for name in names}

    def _look_at(self, raw: msgspec.Raw) -> None:
        features = msgspec.json.decode(raw, type=dict[str, Any])
        if not features.keys() <= self.schema.keys():
            self.unknown.update((name, kind_of([features[name]])) for name in features.keys() - self.schema.keys())


def kind_of(values: Sequence[Any]) -> str:
    """``number`` where all that is there is a number, else ``category``."""
    return NUMBER if set(map(type, values)) <= {int, float, type(None)} else CATEGORY


def column_of(values: Sequence[Any], kind: str | None = None) -> Column:
    """Plain values as a column: of numbers where ``kind`` or all that is there says so, else of text."""
    if (kind or kind_of(values)) == NUMBER:
        return np.array([_number(value) for value in values], dtype=np.float64)
    return np.array([_text(value) for value in values], dtype=object)


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
    return number_as_text(float(value)) if isinstance(value, int | float) else INVALID
