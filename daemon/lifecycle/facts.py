"""What the store says that the policy wants to know."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import RowMapping, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.lifecycle import jobs, versions
from daemon.lifecycle.broken import BrokenData, breaks, explains_since, explanation, is_change, rise
from daemon.lifecycle.policy import ERRORS, Facts, Trigger
from daemon.monitoring.findings import LABELS_LATER
from daemon.monitoring.gaps import GAP_FIELD
from daemon.stores.tables import alarms, counters, models
from daemon.stores.tables import jobs as jobs_table
from detectors.base import Kind

JOINED: Final = "joined"
"""The counter of predictions whose label has arrived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What asks, and how many labels speak for it."""

    trigger: Trigger
    labels: int
    alarm: RowMapping | None = None
    needed: int | None = None


async def gather(connection: AsyncConnection, model: str, asked: Asked, now: float) -> Facts:
    """Gather the facts for one decision."""
    row = (await connection.execute(select(models).where(models.c.model == model))).mappings().first()
    broken, unseen = await _broken(connection, model)
    recent, last_finished = await jobs.spent(connection, model, now)
    delivered = proven = None
    if asked.alarm is not None and row is not None and row["watching"]:
        champion = await versions.in_service(connection, model)
        if champion is not None:
            delivered = change_row(asked.alarm) - (champion.from_row or 0)
            proven = await _proven(connection, champion.job)
    return Facts(
        trigger=asked.trigger,
        now=now,
        kind=None if asked.alarm is None else Kind(asked.alarm["kind"]),
        alarm_row=None if asked.alarm is None else asked.alarm["row"],
        gap=asked.alarm is not None and GAP_FIELD in asked.alarm["evidence"],
        broken=None if asked.alarm is None else explanation(Kind(asked.alarm["kind"]), asked.alarm["evidence"]),
        training=await jobs.find_active(connection, model) is not None,
        deploying=await versions.under_way(connection, model) is not None,
        held=row is not None and row["held"] is not None,
        broken_since=explains_since(broken, None if asked.alarm is None else asked.alarm["evidence"]),
        changed=asked.alarm is not None and is_change(asked.alarm["evidence"]),
        broken_unseen=unseen,
        delivered=delivered,
        rose=None if asked.alarm is None else rise(asked.alarm["evidence"]),
        proven=proven,
        last_finished=last_finished,
        recent=recent,
        labels=asked.labels,
        needed=asked.needed,
    )


async def joined(connection: AsyncConnection, model: str) -> int:
    """How many predictions have their label."""
    query = select(counters.c.value).where(counters.c.model == model, counters.c.name == JOINED)
    return (await connection.execute(query)).scalar() or 0


async def served(connection: AsyncConnection, model: str) -> int:
    """How many labelled rows the version in service has answered, as far as they are counted."""
    row = (await connection.execute(select(models.c.performance).where(models.c.model == model))).scalar()
    return int(row["rows"]) if row else 0


async def alarm_row(connection: AsyncConnection, alarm: int) -> RowMapping | None:
    """Read one alarm."""
    return (await connection.execute(select(alarms).where(alarms.c.id == alarm))).mappings().first()


async def open_alarms(connection: AsyncConnection, model: str) -> set[int]:
    """The numbers of a model's open alarms."""
    query = select(alarms.c.id).where(alarms.c.model == model, alarms.c.state == "open")
    return set((await connection.execute(query)).scalars())


async def open_change(connection: AsyncConnection, model: str) -> int | None:
    """Where the earliest change began of which an error alarm is open."""
    began = func.min(func.coalesce(alarms.c.change_row, alarms.c.row))
    standing = (alarms.c.model == model) & (alarms.c.state == "open") & alarms.c.kind.in_(ERRORS)
    return (await connection.execute(select(began).where(standing))).scalar()


def is_broken(alarm: RowMapping) -> bool:
    """Whether broken data is why an alarm was raised."""
    return explanation(Kind(alarm["kind"]), alarm["evidence"]) is not None


def change_row(alarm: RowMapping) -> int:
    """Where the change of an alarm began."""
    row: int = alarm["row"] if alarm["change_row"] is None else alarm["change_row"]
    return row


def labels_later(alarm: RowMapping) -> int:
    """How many of the labels that the store has counted came after the alarm: a checkpoint may hold thousands."""
    evidence: dict[str, Any] = alarm["evidence"]
    return int(evidence.get(LABELS_LATER, 0))


def labels_since_change(alarm: RowMapping) -> int:
    """How many labels had come since the change when the alarm was raised, as its detector has counted them.

    Only a detector that watches labels can have counted any.
    """
    evidence: dict[str, Any] = alarm["evidence"]
    return int(evidence.get("rows_since_change", 0)) if alarm["signal"] in ("error", "label") else 0


async def _proven(connection: AsyncConnection, job: int | None) -> float | None:
    """The lower bound of the gain in the error rate by which a version passed the gate, where it is known."""
    result = (await connection.execute(select(jobs_table.c.result).where(jobs_table.c.id == job))).scalar()
    gain = (result or {}).get("gain") or {}
    return float(gain["low"]) if gain.get("loss") == "error" and gain.get("low") is not None else None


async def _broken(connection: AsyncConnection, model: str) -> tuple[list[BrokenData], bool]:
    """What is broken as far as open alarms say, and whether one of these alarms is not acknowledged."""
    standing = (alarms.c.model == model) & (alarms.c.state == "open")
    rows = (await connection.execute(select(alarms).where(standing))).mappings().all()
    rows = [row for row in rows if breaks(Kind(row["kind"]), row["signal"], row["evidence"])]
    found = [BrokenData.of(change_row(row), row["evidence"]) for row in rows]
    return found, any(row["acknowledged_by"] is None for row in rows)
