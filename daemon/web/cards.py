"""One model on the first page: everything that a glance should tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.web import drawing, measured
from daemon.web.context import Context
from daemon.web.going_on import active_job, doing, last_decision, open_alarms, pending_version, says
from daemon.web.marks import marks
from daemon.web.shown import Shown, is_accuracy, shown
from daemon.web.words import StateWords, state_words

SPARK_CHUNKS: Final = 80
MOST_MOVED: Final = 3
UNMOVED: Final = frozenset({"error"})
"""Signals that have a chart of their own."""


@dataclass(frozen=True, slots=True)
class MovedSignal:
    """One signal and how much it moved; ``length`` and ``threshold`` are of 100."""

    signal: str
    effect: float
    length: float
    matters: bool


@dataclass(frozen=True, slots=True)
class Card:
    """What is shown of a model: what is going on (``says``), what is done about it and since when (epoch seconds).

    ``progress`` is a share of 1 of what it is busy with.
    """

    status: Mapping[str, Any]
    words: StateWords
    performance: Shown | None
    progress: float | None
    says: str
    doing: str = ""
    doing_since: float | None = None
    spark: drawing.Spark | None = None
    moved: tuple[MovedSignal, ...] = ()
    threshold: float = 0.0


def row_card(context: Context, status: Mapping[str, Any]) -> Card:
    """The short form, from the status alone."""
    return Card(
        status,
        state_words(status["state"]),
        shown(status["performance"]),
        _learned(context, status),
        "",
    )


async def full_card(connection: AsyncConnection, context: Context, status: Mapping[str, Any]) -> Card:
    """The long form, with what was measured, raised and decided."""
    name = status["model"]
    points = await measured.recent(connection, name, "error", SPARK_CHUNKS)
    raised = await open_alarms(connection, name)
    job = await active_job(connection, name)
    pending, decision = await pending_version(connection, name), await last_decision(connection, name, raised)
    being_done, since = doing(status["state"], job, pending, decision)
    least = context.min_effect(name)
    changed = moved_signals(await measured.latest(connection, name), least)
    inverted = is_accuracy(status)
    return Card(
        status,
        state_words(status["state"]),
        shown(status["performance"]),
        job["progress"] if job is not None else _learned(context, status),
        says(status, raised, context.reference_rows(name)),
        being_done,
        since,
        drawing.spark(
            [point(dict(row), inverted=inverted) for row in points if row["value"] is not None],
            _reference(status, points, inverted=inverted),
            await marks(connection, name, points),
        ),
        tuple(changed[:MOST_MOVED]),
        drawing.effect_length(least),
    )


def moved_signals(latest: Sequence[Mapping[str, Any]], least: float) -> list[MovedSignal]:
    """Signals by how much they moved, most first."""
    return [
        MovedSignal(row["signal"], row["effect"], drawing.effect_length(row["effect"]), row["effect"] >= least)
        for row in latest
        if row["effect"] is not None and row["signal"] not in UNMOVED
    ]


def point(row: Mapping[str, Any], *, inverted: bool) -> drawing.Point:
    """A measurement as it is drawn: an error rate as the accuracy that people expect."""
    value = row["value"]
    low = row["low"] if row["low"] is not None else value
    high = row["high"] if row["high"] is not None else value
    if inverted:
        return drawing.Point(row["row"], 1 - value, 1 - high, 1 - low, row["rows"])
    return drawing.Point(row["row"], value, low, high, row["rows"])


def _reference(status: Mapping[str, Any], points: Sequence[RowMapping], *, inverted: bool) -> float | None:
    performance = status["performance"]
    if performance and performance.get("reference") is not None:
        return float(performance["reference"])
    stored = points[-1]["reference"] if points else None
    if stored is None:
        return None
    known = float(stored)
    return 1 - known if inverted else known


def _learned(context: Context, status: Mapping[str, Any]) -> float | None:
    if status["state"] != "learning":
        return None
    return min(float(status["rows"]) / max(context.reference_rows(status["model"]), 1), 1.0)
