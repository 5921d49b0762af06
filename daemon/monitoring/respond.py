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
from detectors.cause import CAUSE
from detectors.columns import Stream

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
        findings = found.findings
        await self.judge(connection, model, found.row["version"], findings.verdicts, now, findings.renamed)
        if findings.counts:
            await self._triggers.reconsider(connection, model, now)

    async def judge(
        self,
        connection: AsyncConnection,
        model: str,
        version: str | None,
        verdicts: Sequence[Verdict],
        now: float,
        renamed: Sequence[Renamed] = (),
    ) -> None:
        """Raise what was found, close what is over, and have decided what follows from all that is known by now."""
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
        changed = await _give_causes(connection, model, renamed)
        if raised:
            # all of them first: broken data explains what else was found in the same rows
            await incidents.raise_alarms(connection, model, raised, now, group_seconds=self._group_seconds(model))
            standing = await connection.execute(
                select(alarms.c.id).where(alarms.c.id.in_(raised), alarms.c.state == OPEN).order_by(alarms.c.id)
            )
            for alarm in standing.scalars().all():
                await self._triggers.alarm(connection, model, alarm, now)
        if changed:
            await self._triggers.renamed(connection, model, now)
            await self._say_causes(connection, model, [one for one in changed if one[1].id not in raised], now)
        if any(verdict.recovered for verdict in verdicts):
            await incidents.close_if_over(connection, model, now)
            await settle(connection, model)

    async def _say_causes(
        self, connection: AsyncConnection, model: str, changed: Sequence[tuple[Alarm, Alarm]], now: float
    ) -> None:
        """Say that alarms, which have been said, have another cause: once, of one signal there may be two."""
        said = {
            (spoken(after.signal), after.why, before.cause): None
            for before, after in changed
            if after.is_open and after.cause != before.cause
        }
        if said:
            fields = [{"signal": signal, "cause": cause, "before": was} for signal, cause, was in said]
            await incidents.note(connection, model, NoteKind.CAUSE, {"alarms": fields}, now)
            await incidents.reconsider(connection, now, model)

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


async def _give_causes(
    connection: AsyncConnection, model: str, renamed: Sequence[Renamed]
) -> list[tuple[Alarm, Alarm]]:
    """Store the other causes of alarms, be they over by now or not. Answers each before and after all of them."""
    before: dict[int, Alarm] = {}
    after: dict[int, Alarm] = {}
    for one in renamed:
        which = (alarms.c.model == model) & (alarms.c.row == one.raised_row)
        which &= (alarms.c.kind == one.kind) & (alarms.c.signal == one.signal)
        row = (await connection.execute(select(alarms).where(which).order_by(alarms.c.id.desc()))).mappings().first()
        if row is None:
            continue
        evidence = row["evidence"] | {CAUSE: one.cause}
        await connection.execute(update(alarms).where(alarms.c.id == row["id"]).values(evidence=evidence))
        before.setdefault(row["id"], Alarm.from_row(dict(row)))
        after[row["id"]] = Alarm.from_row({**row, "evidence": evidence})
    return [(before[number], alarm) for number, alarm in after.items()]


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
