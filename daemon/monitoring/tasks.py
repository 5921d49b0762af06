"""What a model predicts, and what follows for its predictions, labels and errors."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.events.columns import column_of
from detectors.columns import number_as_text

MOST_CLASSES = 20
"""Whole numbers with more distinct values than this are taken as quantities, not as classes."""


class Task(StrEnum):
    """The kinds of model."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"


def infer(predictions: Sequence[Any], *, scored: bool) -> Task:
    """The task that predictions look like; ``scored`` says that they came with probabilities."""
    present = {value for value in predictions if value is not None and value == value}  # noqa: PLR0124 (NaN is missing)
    numbers = {value for value in present if not isinstance(value, str)}
    quantities = len(numbers) > MOST_CLASSES or any(value % 1 for value in numbers)
    if not scored and quantities and len(numbers) == len(present):
        return Task.REGRESSION
    return Task.BINARY if len(present) <= 2 else Task.MULTICLASS  # noqa: PLR2004 (two classes are binary)


def class_text(value: Any) -> str | None:
    """A class as text, the same however it was written: 1, 1.0, true and "1" are one class."""
    if value is None or isinstance(value, str):
        return value
    return str(int(value)) if isinstance(value, int) else number_as_text(value)


class _ClassTexts(dict[Any, str | None]):
    """Remembers the text of each class of a batch."""

    def __missing__(self, value: Any) -> str | None:
        text = self[value] = class_text(value)
        return text


def column(values: Sequence[Any], task: Task | None) -> NDArray[Any]:
    """Predictions or labels as a column: numbers for a regression, text for classes, as they come while unknown."""
    if task is Task.REGRESSION:
        return column_of(values, "number")
    if task is None:
        return column_of([int(value) if isinstance(value, bool) else value for value in values])
    texts = np.empty(len(values), dtype=object)
    texts[:] = list(map(_ClassTexts().__getitem__, values))
    return texts


def error(predictions: NDArray[Any], labels: NDArray[Any], task: Task) -> NDArray[np.float64]:
    """The error of each row: 0 or 1 for classes, the absolute difference for numbers; missing where either is."""
    if task is Task.REGRESSION:
        with np.errstate(invalid="ignore", over="ignore"):
            return np.asarray(np.abs(predictions - labels))
    wrong: NDArray[np.float64] = (predictions != labels).astype(np.float64)
    wrong[(predictions == None) | (labels == None)] = np.nan  # noqa: E711 (element by element)
    return wrong


def from_score(score: float | dict[str, float | None] | None) -> str | None:
    """The class that a probability speaks for, where no prediction came with it."""
    if isinstance(score, dict):
        present = {name: value for name, value in score.items() if value is not None}
        return max(present, key=present.__getitem__) if present else None
    return None if score is None else str(int(score >= 0.5))  # noqa: PLR2004 (the usual cut)


def score_value(score: float | dict[str, float | None] | None) -> float:
    """One number for a score: the probability of the greater of two classes, or of the likeliest of many."""
    if isinstance(score, dict):
        present = {name: value for name, value in score.items() if value is not None}
        if not present:
            return np.nan
        return present[max(present)] if len(present) == 2 else max(present.values())  # noqa: PLR2004
    return np.nan if score is None else score
