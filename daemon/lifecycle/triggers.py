"""Asks the policy what follows, stores its decision with the reason, and has it done.

Alarms, refits, cron times and people come in here; retrains are queued and versions sent on their way, all in the
caller's transaction. What has to wait for labels or time is asked again whenever the model's state is written. The same
answer to the same question is stored once, however often it is asked.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import RowMapping, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.alerts.notes import NoteKind
from daemon.lifecycle import facts, jobs, patience, versions
from daemon.lifecycle.facts import Asked
from daemon.lifecycle.jobs import Job
from daemon.lifecycle.patience import Patience, Plan, Waiting
from daemon.lifecycle.policy import Action, Decision, Reason, Rules, Trigger, can_be_judged, decide, refits_due
from daemon.lifecycle.promotion import NotPossible, Version, VersionReason, VersionState
from daemon.lifecycle.standing import settle
from daemon.logs import get_logger
from daemon.metrics import DECISIONS, Metrics
from daemon.stores.tables import decisions

log = get_logger("daemon.lifecycle.triggers")

Note = Callable[[AsyncConnection, str, NoteKind, Mapping[str, Any], float], Awaitable[object]]
"""Says what is being done about a model: ``incidents.note``."""

RECOVERED: Final = "recovered"
"""Why an alarm was closed whose change went away by itself."""


_STORED_ONCE: Final = frozenset({Action.WAIT, Action.REFUSE, Action.ALERT_ONLY})


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision, and the retrain that it queued."""

    decision: Decision
    job: Job | None = None


class Triggers:
    """Everything that can lead to a retrain. ``wake`` is called when there is work for the runner of retrains."""

    def __init__(
        self,
        rules: Callable[[str], Rules],
        *,
        note: Note,
        wake: Callable[[], None],
        metrics: Metrics | None = None,
    ) -> None:
        self._rules = rules
        self._note = note
        self._wake = wake
        self._metrics = metrics

    async def alarm(self, connection: AsyncConnection, model: str, alarm: int, now: float) -> Answer:
        """Decide on an alarm that has just been raised. Raises LookupError where there is none of that number."""
        row = await facts.alarm_row(connection, alarm)
        if row is None:
            raise LookupError(f"there is no alarm {alarm}")
        held = await patience.load(connection, model)
        before = held.to_bytes()
        joined = await facts.joined(connection, model) - facts.labels_later(row)
        waiting = Waiting(alarm, facts.change_row(row), joined - facts.labels_since_change(row))
        answer = await self._on_alarm(connection, model, held, waiting, row=row, now=now)
        if answer.decision.action is Action.WAIT:
            held.waiting.append(waiting)
        elif _is_explained(answer.decision):
            standing = await facts.open_alarms(connection, model)
            held.explained = [one for one in (*held.explained, waiting) if one.alarm in standing]
        await patience.save(connection, model, held, before)
        await settle(connection, model)
        return answer

    async def reconsider(self, connection: AsyncConnection, model: str, now: float) -> Answer | None:
        """Ask again for what waits. Returns the last answer, None where nothing waits."""
        held = await patience.load(connection, model)
        before = held.to_bytes()
        answer = None
        for waiting in tuple(held.waiting):
            row = await facts.alarm_row(connection, waiting.alarm)
            if row is None or row["state"] != "open":
                held.waiting.remove(waiting)
                continue
            answer = await self._on_alarm(connection, model, held, waiting, row=row, now=now)
            if answer.decision.action is Action.WAIT:
                break  # whatever keeps the oldest waiting keeps the others too
            if waiting in held.waiting:
                held.waiting.remove(waiting)
                if _is_explained(answer.decision):
                    held.explained.append(waiting)
        if held.plan is not None and (answer is None or answer.job is None):
            answer = await self._on_plan(connection, model, held, held.plan, now) or answer
        await patience.save(connection, model, held, before)
        trusted = await facts.served(connection, model) >= self._rules(model).watch_rows
        await settle(connection, model, watching=False if trusted else None)
        return answer

    async def renamed(self, connection: AsyncConnection, model: str, now: float) -> None:
        """Ask again about all that broken data explains: open alarms have other causes than before."""
        held = await patience.load(connection, model)
        before = held.to_bytes()
        explained, held.explained = held.explained, []
        for waiting in explained:
            row = await facts.alarm_row(connection, waiting.alarm)
            if row is None or row["state"] != "open":
                continue
            answer = await self._on_alarm(connection, model, held, waiting, row=row, now=now)
            if answer.decision.action is Action.WAIT:
                held.waiting.append(waiting)
            elif _is_explained(answer.decision):
                held.explained.append(waiting)
            elif answer.job is not None:
                break
        held.waiting.sort(key=lambda one: one.alarm)
        await patience.save(connection, model, held, before)
        await settle(connection, model)

    async def schedule(self, connection: AsyncConnection, model: str, now: float) -> Answer:
        """Decide on a cron time that has come."""
        return await self._on_request(connection, model, Trigger.SCHEDULE, now)

    async def by_hand(self, connection: AsyncConnection, model: str, now: float, *, by: str, why: str = "") -> Answer:
        """Decide on what a person asks for."""
        return await self._on_request(connection, model, Trigger.MANUAL, now, by=by, why=why)

    async def met_version(
        self, connection: AsyncConnection, model: str, version: str, now: float, row: int = 0
    ) -> None:
        """Take note of a version that events name and that was not made here: the model's first one is in service."""
        await versions.ensure_external(connection, model, version, now, row)
        await settle(connection, model)

    async def serves(self, connection: AsyncConnection, model: str, version: str, now: float, row: int = 0) -> None:
        """Take it that somebody else has brought a version into service: it serves from ``row`` on."""
        found = await versions.ensure_external(connection, model, version, now, row)
        if found.state not in (VersionState.CHAMPION, VersionState.DEPLOYING):
            await versions.serve(connection, model, version, now, row)
        await settle(connection, model)

    # --- one question each

    async def _on_alarm(
        self, connection: AsyncConnection, model: str, held: Patience, waiting: Waiting, *, row: RowMapping, now: float
    ) -> Answer:
        joined = await facts.joined(connection, model)
        labels = joined - waiting.joined
        found = await facts.gather(connection, model, Asked(trigger=Trigger.ALARM, labels=labels, alarm=row), now)
        decision = decide(found, self._rules(model))
        told = await self._store(connection, model, decision, now, Trigger.ALARM, alarm=waiting.alarm, row=row["row"])
        if decision.action is Action.ROLLBACK:
            await self._take_back(connection, model, now)
        if decision.action is Action.WAIT and told:
            fields = {"reason": decision.reason, "text": decision.detail.get("text")}
            await self._note(connection, model, NoteKind.RETRAIN_REFUSED, fields, now)
        if decision.action is not Action.RETRAIN:
            return Answer(decision)
        job = await self._enqueue(
            connection, model, held, Trigger.ALARM, now, since=waiting.since_row, alarm=waiting.alarm
        )
        if job is not None:
            held.plan = Plan(waiting.alarm, waiting.since_row, waiting.joined, labels)
            held.changed_row = waiting.since_row
            # one training takes all that has changed
            held.waiting.clear()
            held.explained.clear()
        return Answer(decision, job)

    async def _on_plan(
        self, connection: AsyncConnection, model: str, held: Patience, plan: Plan, now: float
    ) -> Answer | None:
        rules = self._rules(model)
        row = await facts.alarm_row(connection, plan.alarm)
        over = row is None or row["closed_reason"] == RECOVERED or facts.is_broken(row)
        if over or plan.done >= rules.refits:
            held.plan = None
            return None
        labels = await facts.joined(connection, model) - plan.joined
        due = refits_due(plan.used, labels, rules.refits)
        if due <= plan.done or not can_be_judged(await facts.served(connection, model), labels, rules):
            return None
        needed = max(plan.used, 1) * 2**due
        found = await facts.gather(
            connection, model, Asked(trigger=Trigger.REFIT, labels=labels, needed=needed, alarm=row), now
        )
        decision = decide(found, rules)
        await self._store(connection, model, decision, now, Trigger.REFIT, alarm=plan.alarm)
        if decision.action is Action.REFUSE:
            held.plan = None
        if decision.action is not Action.RETRAIN:
            return Answer(decision)
        job = await self._enqueue(connection, model, held, Trigger.REFIT, now, since=plan.since_row, alarm=plan.alarm)
        if job is not None:
            held.plan = Plan(plan.alarm, plan.since_row, plan.joined, plan.used, due)
        return Answer(decision, job)

    async def _on_request(
        self,
        connection: AsyncConnection,
        model: str,
        trigger: Trigger,
        now: float,
        *,
        by: str | None = None,
        why: str = "",
    ) -> Answer:
        held = await patience.load(connection, model)
        before = held.to_bytes()
        joined = await facts.joined(connection, model)
        labels = joined if trigger is Trigger.MANUAL else joined - held.trained_joined
        found = await facts.gather(connection, model, Asked(trigger=trigger, labels=labels), now)
        decision = decide(found, self._rules(model))
        await self._store(connection, model, decision, now, trigger, by=by, why=why)
        job = None
        if decision.action is Action.RETRAIN:
            changed = await facts.open_change(connection, model)
            since = held.changed_row if changed is None else changed
            job = await self._enqueue(connection, model, held, trigger, now, since=since, by=by)
        await patience.save(connection, model, held, before)
        if job is not None and trigger is Trigger.MANUAL:
            await settle(connection, model, held=None)  # whoever asks has seen to what the model was held for
        else:
            await settle(connection, model)
        return Answer(decision, job)

    # --- what follows

    async def _enqueue(
        self,
        connection: AsyncConnection,
        model: str,
        held: Patience,
        trigger: Trigger,
        now: float,
        *,
        since: int | None,
        alarm: int | None = None,
        by: str | None = None,
    ) -> Job | None:
        """Queue a retrain; None where somebody else was faster."""
        job, new = await jobs.enqueue(connection, model, trigger, now, alarm=alarm, since_row=since, by=by)
        if not new:
            return None
        held.trained_joined = await facts.joined(connection, model)
        self._wake()
        return job

    async def _take_back(self, connection: AsyncConnection, model: str, now: float) -> None:
        try:
            await start_rollback(connection, model, None)
        except NotPossible as refusal:
            text = f"the new version disappoints and cannot be taken back: {refusal.message}; {refusal.hint}"
            await settle(connection, model, held=text)
            await self._note(connection, model, NoteKind.DEPLOY_FAILED, {"text": text}, now)
            return
        self._wake()

    async def _store(
        self,
        connection: AsyncConnection,
        model: str,
        decision: Decision,
        now: float,
        trigger: Trigger,
        *,
        alarm: int | None = None,
        row: int | None = None,
        by: str | None = None,
        why: str = "",
    ) -> bool:
        """Store a decision unless it says again what the last one said. Returns whether it was news."""
        if decision.action in _STORED_ONCE and trigger is not Trigger.MANUAL:
            same = (decisions.c.model == model) & (
                decisions.c.alarm.is_(None) if alarm is None else decisions.c.alarm == alarm
            )
            query = select(decisions.c.action, decisions.c.reason).where(same).order_by(decisions.c.id.desc()).limit(1)
            last = (await connection.execute(query)).first()
            if last is not None and (last.action, last.reason) == (decision.action, decision.reason):
                return False
        asked = {"trigger": trigger, **({"by": by} if by else {}), **({"why": why} if why else {})}
        values = {"model": model, "at": now, "row": row, "alarm": alarm, "action": decision.action}
        values |= {"reason": decision.reason, "detail": {**asked, **decision.detail}}
        await connection.execute(insert(decisions).values(values))
        if self._metrics is not None:
            self._metrics.add(DECISIONS, 1, decision.action, decision.reason)
        log.info("decided", model=model, trigger=trigger, action=decision.action, reason=decision.reason)
        return True


def _is_explained(decision: Decision) -> bool:
    return decision.action is Action.ALERT_ONLY and decision.reason is Reason.DATA_BROKEN


async def start_rollback(connection: AsyncConnection, model: str, by: str | None) -> Version:
    """Send the version before the one in service back into it. Raises NotPossible."""
    previous = await versions.before(connection, model)
    return await versions.send(connection, model, previous.version, VersionReason.RESTORED, by)
