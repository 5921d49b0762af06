"""What happened to a model, as marks on its charts."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.alerts.alarm import Alarm
from daemon.stores.tables import alarms, jobs, versions
from daemon.web.words import OUTCOMES, TRIGGERS, plain

MOST_MARKS: Final = 40

Placed = tuple[float, str, str]
"""Row, kind (alarm, retrain, promotion or rollback) and what to say of it."""


async def marks(connection: AsyncConnection, model: str, points: Sequence[RowMapping]) -> list[Placed]:
    """The latest alarms, retrains and versions of ``model``. ``points`` tell at which row a time was."""
    found: list[Placed] = []
    raised = select(alarms).where(alarms.c.model == model).order_by(alarms.c.id.desc()).limit(MOST_MARKS)
    at_alarm: dict[int, float] = {}
    for row in (await connection.execute(raised)).mappings():
        at_alarm[row["id"]] = row["row"]
        found.append((row["row"], "alarm", f"Alarm: {Alarm.from_row(dict(row)).what}"))
    trained = select(jobs).where(jobs.c.model == model).order_by(jobs.c.id.desc()).limit(MOST_MARKS)
    for row in (await connection.execute(trained)).mappings():
        place = at_alarm.get(row["alarm"] or -1)
        if place is None:
            place = row_at(points, row["cutoff"])
        if place is not None:
            found.append((place, "retrain", _retrain(row)))
    served = select(versions).where(versions.c.model == model, versions.c.from_row.is_not(None))
    served = served.order_by(versions.c.created.desc()).limit(MOST_MARKS)
    found += [
        (row["from_row"], "promotion", f"Version {row['version']} in service")
        for row in (await connection.execute(served)).mappings()
        if row["promoted"] is not None and row["from_row"] > 0
    ]
    return sorted(found)


def row_at(points: Sequence[Any], ts: float | None) -> float | None:
    """The row that was reached at ``ts``, between the points around it; None outside of them."""
    if ts is None:
        return None
    for before, after in pairwise(points):
        if before["ts"] <= ts <= after["ts"]:
            share = (ts - before["ts"]) / (after["ts"] - before["ts"] or 1.0)
            return float(before["row"] + share * (after["row"] - before["row"]))
    return None


def _retrain(row: RowMapping) -> str:
    trigger = TRIGGERS.get(row["trigger"], plain(row["trigger"]))
    outcome = f": {OUTCOMES.get(row['outcome'], plain(row['outcome'])).lower()}" if row["outcome"] else ""
    return f"Retrain {trigger}{outcome}"
