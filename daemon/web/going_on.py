"""What is going on with a model, and what is done about it: read from the store, and in words."""

from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Any, Final

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.alerts.alarm import URGENCY, Alarm
from daemon.alerts.figures import count
from daemon.stores.tables import alarms, decisions, jobs, versions
from daemon.web.words import decided, sentence, state_words, tidy
from detectors.base import Severity

MOST_ALARMS: Final = 20
STAGES: Final = {
    "dataset": "collecting rows",
    "train": "training",
    "gate": "comparing it with the one in service",
    "register": "storing it",
    "plot": "drawing its picture",
    "publish": "publishing it",
}


def says(status: Mapping[str, Any], raised: Sequence[Alarm], needed: int) -> str:
    """What is going on, in a sentence. ``needed`` is how many rows make the reference."""
    if status["held"]:
        return sentence(str(status["held"]))
    if status["state"] == "learning":
        return f"{count(min(status['rows'], needed))} of {count(needed)} rows that make the reference."
    if raised:
        first = raised[0]
        more = f", and {len(raised) - 1} more {'alarms' if len(raised) > 2 else 'alarm'}" if len(raised) > 1 else ""  # noqa: PLR2004 (one more, or more)
        figures = f": {tidy(first.figures)}" if first.figures else ""
        return sentence(f"{first.headline}{figures}{more}")
    return state_words(status["state"]).means


def doing(
    state: str, job: RowMapping | None, pending: RowMapping | None, decision: RowMapping | None
) -> tuple[str, float | None]:
    """What is being done about it, and since when; nothing where nothing is to be done."""
    if job is not None:
        version = f"version {job['version']}" if job["version"] else "a new version"
        return f"Making {version}: {STAGES.get(job['stage'], job['stage'] or 'about to start')}.", job["started"]
    if pending is not None and pending["state"] == "awaiting":
        name, version = pending["model"], pending["version"]
        return (
            f"Version {version} passed the gate and waits for approval: driftd approve {quote(name)} {quote(version)}",
            None,
        )
    if pending is not None:
        return f"Version {pending['version']} is on its way into service.", None
    if decision is not None and state in {"alarm", "held"}:
        return decided(decision["action"], decision["reason"], decision["detail"]), decision["at"]
    return "", None


async def open_alarms(connection: AsyncConnection, model: str) -> list[Alarm]:
    """The open alarms, those that matter most and then the newest first."""
    rows = select(alarms).where(alarms.c.model == model, alarms.c.state == "open").order_by(alarms.c.id.desc())
    found = [Alarm.from_row(dict(row)) for row in (await connection.execute(rows.limit(MOST_ALARMS))).mappings()]
    return sorted(found, key=lambda one: (URGENCY.index(one.kind), one.severity is Severity.WARNING))


async def active_job(connection: AsyncConnection, model: str) -> RowMapping | None:
    """The retrain that is queued or running."""
    rows = select(jobs).where(jobs.c.model == model, jobs.c.state.in_(("queued", "running")))
    return (await connection.execute(rows)).mappings().first()


async def pending_version(connection: AsyncConnection, model: str) -> RowMapping | None:
    """The version that waits for a person, or is being deployed."""
    pending = versions.c.state.in_(("awaiting", "deploying"))
    rows = select(versions).where(versions.c.model == model, pending).order_by(versions.c.created.desc()).limit(1)
    return (await connection.execute(rows)).mappings().first()


async def last_decision(connection: AsyncConnection, model: str, raised: Sequence[Alarm]) -> RowMapping | None:
    """What was decided last on the first of the open alarms; on anything, where nothing was on that one."""
    rows = select(decisions).where(decisions.c.model == model).order_by(decisions.c.id.desc()).limit(1)
    if raised:
        found = (await connection.execute(rows.where(decisions.c.alarm == raised[0].id))).mappings().first()
        if found is not None:
            return found
    return (await connection.execute(rows)).mappings().first()
