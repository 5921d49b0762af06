"""One model on the first page: everything that a glance should tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.alarm import Alarm
from daemon.figures import count
from daemon.stores.tables import alarms, decisions, jobs, versions
from daemon.web import drawing, measured
from daemon.web.context import Context
from daemon.web.marks import marks
from daemon.web.words import StateWords, decided, measure, sentence, state_words, tidy

SPARK_CHUNKS: Final = 80
MOST_MOVED: Final = 3
MOST_ALARMS: Final = 20
UNMOVED: Final = frozenset({"error"})
"""Signals that have a chart of their own."""
STAGES: Final = {
    "dataset": "collecting rows",
    "train": "training",
    "gate": "comparing it with the one in service",
    "register": "storing it",
    "plot": "drawing its picture",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """Performance in words."""

    metric: str
    value: str
    interval: str
    reference: str
    change: str
    worse: bool
    gauge: drawing.Gauge


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
    doing, since = _doing(
        status["state"], job, await pending_version(connection, name), await last_decision(connection, name)
    )
    least = context.min_effect(name)
    changed = moved_signals(await measured.latest(connection, name), least)
    inverted = is_accuracy(status)
    return Card(
        status,
        state_words(status["state"]),
        shown(status["performance"]),
        job["progress"] if job is not None else _learned(context, status),
        says(context, status, raised),
        doing,
        since,
        drawing.spark(
            [point(dict(row), inverted=inverted) for row in points if row["value"] is not None],
            _reference(status, points, inverted=inverted),
            await marks(connection, name, points),
        ),
        tuple(changed[:MOST_MOVED]),
        drawing.effect_length(least),
    )


def shown(performance: Mapping[str, Any] | None) -> Shown | None:
    """Performance in words; None where nothing is measured yet."""
    if performance is None or performance.get("value") is None:
        return None
    metric, value, reference = performance["metric"], performance["value"], performance.get("reference")
    low, high = performance["low"], performance["high"]
    whole = metric == "accuracy"
    change, worse = "", False
    if reference is not None:
        loss = reference - value if whole else value - reference
        worse = (high < reference) if whole else (low > reference)
        size = f"{100 * abs(loss):.1f} points" if whole else measure(abs(loss), metric)
        relation = ("below" if loss > 0 else "above") if whole else ("more than" if loss > 0 else "less than")
        change = "level with the reference" if low <= reference <= high else f"{size} {relation} the reference"
    return Shown(
        {"accuracy": "Accuracy", "mae": "Mean absolute error"}.get(metric, metric),
        measure(value, metric),
        f"{measure(low, metric).removesuffix('%')}\N{EN DASH}{measure(high, metric)}",
        measure(reference, metric),
        change,
        worse,
        drawing.gauge(value, low, high, reference, whole=whole),
    )


def says(context: Context, status: Mapping[str, Any], raised: Sequence[Alarm]) -> str:
    """What is going on, in a sentence."""
    if status["held"]:
        return sentence(str(status["held"]))
    if status["state"] == "learning":
        needed = _needed(context, status)
        return f"{count(min(status['rows'], needed))} of {count(needed)} rows that make the reference."
    if raised:
        first = raised[0]
        more = f", and {len(raised) - 1} more {'alarms' if len(raised) > 2 else 'alarm'}" if len(raised) > 1 else ""  # noqa: PLR2004 (one more, or more)
        figures = f": {tidy(first.figures)}" if first.figures else ""
        return sentence(f"{first.what}{figures}{more}")
    return state_words(status["state"]).means


def _doing(
    state: str, job: RowMapping | None, pending: RowMapping | None, decision: RowMapping | None
) -> tuple[str, float | None]:
    """What is being done about it, and since when; nothing where nothing is to be done."""
    if job is not None:
        version = f"version {job['version']}" if job["version"] else "a new version"
        return f"Making {version}: {STAGES.get(job['stage'], job['stage'] or 'about to start')}.", job["started"]
    if pending is not None and pending["state"] == "awaiting":
        name, version = pending["model"], pending["version"]
        return f"Version {version} passed the gate and waits for approval: driftd approve {name} {version}", None
    if pending is not None:
        return f"Version {pending['version']} is on its way into service.", None
    if decision is not None and state in {"alarm", "held"}:
        return decided(decision["action"], decision["reason"], decision["detail"]), decision["at"]
    return "", None


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
        return drawing.Point(row["row"], 1 - value, 1 - high, 1 - low)
    return drawing.Point(row["row"], value, low, high)


def is_accuracy(status: Mapping[str, Any]) -> bool:
    """Whether errors are drawn upside down."""
    performance = status["performance"]
    if performance:
        return bool(performance["metric"] == "accuracy")
    return bool(status["task"] != "regression")


async def open_alarms(connection: AsyncConnection, model: str) -> list[Alarm]:
    """The open alarms, the worst and newest first."""
    rows = (
        select(alarms)
        .where(alarms.c.model == model, alarms.c.state == "open")
        .order_by(alarms.c.severity, alarms.c.id.desc())
        .limit(MOST_ALARMS)
    )
    return [Alarm.from_row(dict(row)) for row in (await connection.execute(rows)).mappings()]


async def active_job(connection: AsyncConnection, model: str) -> RowMapping | None:
    """The retrain that is queued or running."""
    rows = select(jobs).where(jobs.c.model == model, jobs.c.state.in_(("queued", "running")))
    return (await connection.execute(rows)).mappings().first()


async def pending_version(connection: AsyncConnection, model: str) -> RowMapping | None:
    """The version that waits for a person, or is being deployed."""
    pending = versions.c.state.in_(("awaiting", "deploying"))
    rows = select(versions).where(versions.c.model == model, pending).order_by(versions.c.created.desc()).limit(1)
    return (await connection.execute(rows)).mappings().first()


async def last_decision(connection: AsyncConnection, model: str) -> RowMapping | None:
    """What was decided last."""
    rows = select(decisions).where(decisions.c.model == model).order_by(decisions.c.id.desc()).limit(1)
    return (await connection.execute(rows)).mappings().first()


def _reference(status: Mapping[str, Any], points: Sequence[RowMapping], *, inverted: bool) -> float | None:
    performance = status["performance"]
    if performance and performance.get("reference") is not None:
        return float(performance["reference"])
    stored = points[-1]["reference"] if points else None
    if stored is None:
        return None
    known = float(stored)
    return 1 - known if inverted else known


def _needed(context: Context, status: Mapping[str, Any]) -> int:
    return context.reference_rows(status["model"])


def _learned(context: Context, status: Mapping[str, Any]) -> float | None:
    if status["state"] != "learning":
        return None
    return min(float(status["rows"]) / max(_needed(context, status), 1), 1.0)
