"""From verdicts to alarms, and from alarms to what is done about them, inside the checkpoint's transaction."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.alerts import incidents
from daemon.alerts.alarm import Alarm, spoken
from daemon.alerts.notes import NoteKind
from daemon.checkpoint import MonitorSnapshot
from daemon.lifecycle.standing import settle
from daemon.lifecycle.triggers import RECOVERED
from daemon.monitoring.second_looks import Renamed
from daemon.stores.tables import alarms, models
from detectors.base import Verdict
from detectors.columns import Stream
from detectors.triage import CAUSE

OPEN, CLOSED = "open", "closed"


class Triggers(Protocol):
    """Decides what follows: from an alarm just raised, and from whatever still waits for labels or time."""

    async def alarm(self, connection: AsyncConnection, model: str, alarm: int, now: float) -> object:
        """An alarm has been raised."""
        ...

    async def renamed(self, connection: AsyncConnection, model: str, now: float) -> object:
        """Open alarms have other causes than before."""
        ...

    async def reconsider(self, connection: AsyncConnection, model: str, now: float) -> object:
        """Labels have come, or time has passed."""
        ...

    async def met_version(self, connection: AsyncConnection, model: str, version: str, now: float, row: int) -> None:
        """Events name a version for the first time."""
        ...

    async def serves(self, connection: AsyncConnection, model: str, version: str, now: float, row: int) -> None:
        """Events show that a version which the daemon did not deploy serves from ``row`` on."""
        ...


class Responder:
    """Raises and closes alarms for the findings of a checkpoint, and asks ``triggers`` what follows."""

    def __init__(self, triggers: Triggers, group_seconds: Callable[[str], float]) -> None:
        self._triggers = triggers
        self._group_seconds = group_seconds

    async def __call__(self, connection: AsyncConnection, found: MonitorSnapshot, now: float) -> None:
        """See ``daemon.checkpoint.Respond``."""
        model = found.monitor.model
        for version in found.findings.met:
            await self._triggers.met_version(connection, model, version, now, found.row["rows"])
        for version in found.findings.served:
            await self._triggers.serves(connection, model, version, now, found.row["rows"])
        await self._learned(connection, found)
        await self.judge(connection, model, found.row["version"], found.findings.verdicts, now)
        await self._rename(connection, model, found.findings.renamed, now)
        if found.findings.counts:
            await self._triggers.reconsider(connection, model, now)

    async def judge(
        self, connection: AsyncConnection, model: str, version: str | None, verdicts: Sequence[Verdict], now: float
    ) -> None:
        """Raise what was found, close what is over, and have decided what follows."""
        raised = []
        for verdict in verdicts:
            if verdict.recovered:
                await close(
                    connection,
                    model,
                    now,
                    RECOVERED,
                    kinds=[verdict.kind],
                    signal=verdict.signal,
                    row=verdict.change_row,
                )
            elif (alarm := await _raise(connection, model, version, verdict, now)) is not None:
                raised.append(alarm)
        if raised:
            # all of them first: broken data explains what else was found in the same rows
            await incidents.raise_alarms(connection, model, raised, now, group_seconds=self._group_seconds(model))
            for alarm in raised:
                await self._triggers.alarm(connection, model, alarm, now)
        if any(verdict.recovered for verdict in verdicts):
            await incidents.close_if_over(connection, model, now)
            await settle(connection, model)

    async def _rename(self, connection: AsyncConnection, model: str, renamed: Sequence[Renamed], now: float) -> None:
        """Store the other causes of open alarms, say so, and have decided again what follows."""
        before: dict[int, Alarm] = {}
        after: dict[int, Alarm] = {}
        for one in renamed:
            changed = await _give_cause(connection, model, one)
            if changed is not None:
                number = changed[0].id
                before.setdefault(number, changed[0])
                after[number] = changed[1]
        if not after:
            return
        await self._triggers.renamed(connection, model, now)
        # of one signal there may be two alarms
        said = {
            (spoken(alarm.signal), alarm.why, before[number].cause): None
            for number, alarm in after.items()
            if alarm.why != before[number].why
        }
        if said:
            fields = [{"signal": signal, "cause": cause, "before": was} for signal, cause, was in said]
            await incidents.note(connection, model, NoteKind.CAUSE, {"alarms": fields}, now)

    async def _learned(self, connection: AsyncConnection, found: MonitorSnapshot) -> None:
        """The model has a reference as soon as one of its streams has."""
        if found.learned & {Stream.FEATURES, Stream.PREDICTION}:
            learned = update(models).where(models.c.model == found.monitor.model, models.c.learning)
            if (await connection.execute(learned.values(learning=False))).rowcount:
                await settle(connection, found.monitor.model)


async def _raise(
    connection: AsyncConnection, model: str, version: str | None, verdict: Verdict, now: float
) -> int | None:
    """Store an alarm; None where one of the same kind and signal is open already."""
    standing = select(alarms.c.id).where(
        alarms.c.model == model,
        alarms.c.kind == verdict.kind,
        alarms.c.signal == verdict.signal,
        alarms.c.state == OPEN,
    )
    if (await connection.execute(standing)).first() is not None:
        return None
    row: Mapping[str, Any] = {
        "model": model,
        "version": version,
        "kind": verdict.kind,
        "signal": verdict.signal,
        "detector": verdict.detector,
        "severity": verdict.severity,
        "row": verdict.row,
        "ts": verdict.ts,
        "change_row": verdict.change_row,
        "change_ts": verdict.change_ts,
        "evidence": verdict.evidence,
        "ranking": [list(one) for one in verdict.ranking],
        "state": OPEN,
        "raised": now,
    }
    stored = await connection.execute(insert(alarms).values(row).returning(alarms.c.id))
    return int(stored.scalar_one())


async def _give_cause(connection: AsyncConnection, model: str, renamed: Renamed) -> tuple[Alarm, Alarm] | None:
    """Store an open alarm's other cause. Answers the alarm before and after; None where there is no such alarm."""
    which = (alarms.c.model == model) & (alarms.c.state == OPEN) & (alarms.c.row == renamed.raised_row)
    which &= (alarms.c.kind == renamed.kind) & (alarms.c.signal == renamed.signal)
    row = (await connection.execute(select(alarms).where(which))).mappings().first()
    if row is None:
        return None
    evidence = row["evidence"] | {CAUSE: renamed.cause}
    await connection.execute(update(alarms).where(alarms.c.id == row["id"]).values(evidence=evidence))
    return Alarm.from_row(dict(row)), Alarm.from_row({**row, "evidence": evidence})


async def close(
    connection: AsyncConnection,
    model: str,
    now: float,
    reason: str,
    *,
    kinds: Sequence[str],
    signal: str | None = None,
    row: int | None = None,
) -> None:
    """Close the open alarms of a model that are of these kinds, and of one signal where it is given.

    ``row`` is the first one after which what was raised no longer holds, where that is known.
    """
    which = (alarms.c.model == model) & (alarms.c.state == OPEN) & alarms.c.kind.in_(kinds)
    if signal is not None:
        which &= alarms.c.signal == signal
    await connection.execute(
        update(alarms).where(which).values(state=CLOSED, closed=now, closed_reason=reason, closed_row=row)
    )
