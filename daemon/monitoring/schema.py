"""The features of a model and their types, as its reference has them."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daemon.events.columns import CATEGORY, NUMBER, Column, kind_of
from detectors.base import Kind, Severity, Verdict
from detectors.cause import CAUSE, new_feature
from detectors.columns import Columns
from detectors.reference import Reference

FEATURE_PREFIX: Final = "feature:"
SCHEMA_DETECTOR: Final = "schema"

Schema = dict[str, str]
"""Feature -> ``number`` or ``category``."""


def learn(schema: Schema, columns: Columns, most: int) -> None:
    """While the reference is being learned: a feature that was text once is a category."""
    for signal, column in columns.values.items():
        name = signal.removeprefix(FEATURE_PREFIX)
        if (name in schema or len(schema) < most) and schema.get(name) != CATEGORY:
            schema[name] = CATEGORY if column.dtype == object else NUMBER


def appeared(schema: Schema, columns: Columns) -> list[Verdict]:
    """Add the features that the schema does not have, and say of each that it has appeared, and where."""
    news = []
    for signal, column in columns.values.items():
        name = signal.removeprefix(FEATURE_PREFIX)
        if name in schema:
            continue
        place = int(np.argmax(_present(column)))
        row, ts = int(columns.rows[place]), float(columns.ts[place])
        schema[name] = kind = CATEGORY if column.dtype == object else NUMBER
        evidence = {"appeared": True, "feature": name, "type": kind, CAUSE: new_feature(signal).to_evidence()}
        news.append(Verdict(Kind.QUALITY, signal, SCHEMA_DETECTOR, Severity.WARNING, row, ts, row, ts, evidence))
    return news


def kinds_of_new(parts: Iterable[tuple[NDArray[np.int64], Mapping[str, Column]]], schema: Schema) -> Schema:
    """The types of features that the schema does not have: each that of its first value.

    ``parts`` are columns, each with the places of its rows.
    """
    first: dict[str, tuple[int, str]] = {}
    for order, columns in parts:
        for name, column in columns.items():
            if name in schema:
                continue
            present = _present(column)
            if present.any():
                place = int(np.argmax(present))
                found = (int(order[place]), kind_of([column[place]]) if column.dtype == object else NUMBER)
                first[name] = min(first.get(name, found), found)
    return {name: kind for name, (_, kind) in first.items()}


def choose(columns: Columns, schema: Schema, chosen: frozenset[str] | None, left_out: frozenset[str]) -> Columns:
    """Only the features that are to be watched."""
    values = {
        signal: column
        for signal, column in columns.values.items()
        if (name := signal.removeprefix(FEATURE_PREFIX)) in schema
        and (chosen is None or name in chosen)
        and name not in left_out
    }
    return replace(columns, values=values)


def kinds_of(reference: Reference) -> Schema:
    """The types of a reference's features."""
    return {
        signal.removeprefix(FEATURE_PREFIX): kind
        for signal, kind in zip(reference.signals, reference.kinds, strict=True)
    }


def _present(column: NDArray[Any]) -> NDArray[np.bool_]:
    return np.array([value is not None for value in column]) if column.dtype == object else ~np.isnan(column)
