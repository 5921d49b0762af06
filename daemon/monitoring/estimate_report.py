"""What is said of the estimates of a model: how far they are to be believed, and what the newest ones are."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from daemon.monitoring.estimate_chunks import EstimatedChunk
from daemon.monitoring.tasks import Task

SHOWN: Final = ("value", "low", "high", "real", "rows", "first_row", "last_row", "last_ts", "labels")


class State(StrEnum):
    """How far the estimates of a model are to be believed."""

    REFERENCE = "reference"
    """Waiting for the reference of features and predictions."""
    LEARNING = "learning"
    TRUSTED = "trusted"
    DISTRUSTED = "distrusted"
    """Labels have shown that it was wrong; it learns anew."""


@dataclass(frozen=True, slots=True)
class Turn:
    """From a row on the estimates are trusted, or distrusted."""

    row: int
    ts: float
    trusted: bool


def report(
    task: Task | None,
    state: State,
    learning: tuple[int, int] | None,
    distrusted: Turn | None,
    chunks: Sequence[EstimatedChunk],
) -> dict[str, Any]:
    """Of the newest chunk, and of the newest one that half of the labels have come of.

    ``learning`` are the labels so far and how many are wanted, ``distrusted`` is since when it has been.
    """
    checked = next((one for one in reversed(chunks) if 2 * one.labelled >= one.rows), None)
    nothing = dict.fromkeys(SHOWN)
    return {
        "metric": "mae" if task is Task.REGRESSION else "accuracy",
        "state": state.value,
        "learning": None if learning is None else list(learning),
        "trusted": state is State.TRUSTED,
        "distrusted_since": None if distrusted is None else {"row": distrusted.row, "ts": distrusted.ts},
        **(_shown(chunks[-1], task) if chunks else nothing),
        "checked": None if checked is None else _shown(checked, task),
    }


def _shown(chunk: EstimatedChunk, task: Task | None) -> dict[str, Any]:
    """A chunk as it is shown: accuracy, or the mean absolute error."""
    mean, low, high, real = chunk.mean, chunk.low, chunk.high, chunk.real
    if task is not Task.REGRESSION:
        mean, low, high = 1 - mean, 1 - high, 1 - low
        real = None if real is None else 1 - real
    found = [None if one is None else round(one, 6) for one in (mean, low, high, real)]
    of = (chunk.rows, chunk.first_row, chunk.last_row, chunk.last_ts, chunk.labelled)
    return dict(zip(SHOWN, (*found, *of), strict=True))
