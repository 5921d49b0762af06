"""What a person can do by hand, over HTTP or from the command line. The daemon's own rules hold here too."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from daemon.alerts import incidents, silences
from daemon.events.dead_letters import resend
from daemon.lifecycle import facts, versions
from daemon.lifecycle.policy import Action
from daemon.lifecycle.promotion import NotPossible, VersionReason
from daemon.lifecycle.standing import settle
from daemon.lifecycle.triggers import Triggers, start_rollback
from daemon.logs import get_logger
from daemon.monitoring.changes import Change, Changes
from daemon.monitoring.tasks import Task
from daemon.stores.engine import Store
from daemon.web.context import NoSuch, Refused
from detectors.columns import Stream
from detectors.reference import Reference

log = get_logger("daemon.actions")

Append = Callable[[bytes, int], Awaitable[object]]


class HandActions:
    """See ``daemon.web.context.Actions``."""

    def __init__(
        self,
        store: Store,
        triggers: Triggers,
        changes: Changes,
        append: Append,
        *,
        wake_retrainer: Callable[[], None],
        wake_dispatcher: Callable[[], None],
    ) -> None:
        self._store = store
        self._triggers = triggers
        self._changes = changes
        self._append = append
        self._wake_retrainer = wake_retrainer
        self._wake_dispatcher = wake_dispatcher

    async def retrain(self, model: str, *, by: str, reason: str) -> Mapping[str, Any]:
        """Ask for a retrain."""
        async with self._store.begin() as connection:
            answer = await self._triggers.by_hand(connection, model, time.time(), by=by, why=reason)
        decision = answer.decision
        if decision.action is not Action.RETRAIN or answer.job is None:
            raise Refused(decision.reason, str(decision.detail.get("text", decision.reason)))
        return {"retrain": answer.job.id, "message": f"retrain {answer.job.id} of {model} is queued"}

    async def rollback(self, model: str, *, by: str, reason: str) -> Mapping[str, Any]:
        """Put the version before this one back into service."""
        log.info("rollback by hand", model=model, by=by, why=reason)
        async with self._store.begin() as connection:
            try:
                version = await start_rollback(connection, model, by)
            except NotPossible as refusal:
                raise Refused(refusal.reason, refusal.message, refusal.hint) from None
            await settle(connection, model)
        self._wake_retrainer()
        return {"version": version.version, "message": f"version {version.version} of {model} goes back into service"}

    async def promote(self, model: str, version: str, *, by: str, reason: str) -> Mapping[str, Any]:
        """Put a version into service."""
        log.info("promotion by hand", model=model, version=version, by=by, why=reason)
        return await self._deploy(model, version, VersionReason.BY_HAND, by)

    async def approve(self, model: str, approval: str, *, approved: bool, by: str, reason: str) -> Mapping[str, Any]:
        """Let a version that waits for a person go into service, or not."""
        log.info(
            "approved by hand" if approved else "turned down by hand", model=model, version=approval, by=by, why=reason
        )
        if approved:
            return await self._deploy(model, approval, VersionReason.APPROVED, by)
        async with self._store.begin() as connection:
            try:
                await versions.decline(connection, model, approval, by)
            except NotPossible as refusal:
                raise _no(refusal) from None
            await settle(connection, model)
        return {"version": approval, "message": f"version {approval} of {model} is turned down"}

    async def _deploy(self, model: str, version: str, why: VersionReason, by: str) -> Mapping[str, Any]:
        async with self._store.begin() as connection:
            try:
                found = await versions.send(connection, model, version, why, by)
            except NotPossible as refusal:
                raise _no(refusal) from None
            await settle(connection, model)
        self._wake_retrainer()
        return {"version": found.version, "message": f"version {found.version} of {model} goes into service"}

    async def acknowledge(self, model: str, alarm: int, *, by: str) -> Mapping[str, Any]:
        """Say that somebody has seen an alarm."""
        async with self._store.begin() as connection:
            row = await facts.alarm_row(connection, alarm)
            if row is None or row["model"] != model:
                raise NoSuch(alarm)
            if not await incidents.acknowledge(connection, alarm, by, time.time()):
                who = row["acknowledged_by"]
                reason = "is_closed" if who is None else "acknowledged"
                raise Refused(reason, f"alarm {alarm} is closed" if who is None else f"{who} has acknowledged it")
        self._wake_dispatcher()
        return {"alarm": alarm, "by": by, "message": f"alarm {alarm} is acknowledged by {by}"}

    async def silence(self, model: str, *, signal: str | None, until: float, by: str, reason: str) -> Mapping[str, Any]:
        """Keep a model, or one of its signals, from alerting until a time (epoch seconds)."""
        async with self._store.begin() as connection:
            number = await silences.silence(
                connection, model, signal, until=until, by=by, reason=reason, now=time.time()
            )
        self._wake_dispatcher()
        return {"silence": number, "until": until, "message": f"{signal or model} is silent until {until:.0f}"}

    async def resend(self, letters: Sequence[int] | None, *, by: str) -> Mapping[str, Any]:
        """Send dead letters through again."""
        log.info("dead letters sent again", by=by, letters="all" if letters is None else len(letters))
        resent = await resend(self._store, self._append, letters, time.time())
        if letters is not None and resent < len(set(letters)):
            raise NoSuch(letters)
        return {"resent": resent}

    async def set_reference(
        self, model: str, task: str | None, references: Mapping[Stream, Reference], *, by: str
    ) -> Mapping[str, Any]:
        """Let a model be compared with the references given from now on."""
        log.info("reference set by hand", model=model, by=by, streams=[str(stream) for stream in references])
        await self._changes.change(model, Change(references, None if task is None else Task(task)))
        rows = {stream.value: reference.rows for stream, reference in references.items()}
        said = ", ".join(f"{stream} of {count:,} rows" for stream, count in rows.items())
        return {"model": model, "streams": rows, "message": f"{model} has a reference: {said}"}


def _no(refusal: NotPossible) -> Exception:
    if refusal.reason == "unknown":
        return NoSuch(refusal.message)
    return Refused(refusal.reason, refusal.message, refusal.hint)
