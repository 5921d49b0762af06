"""As the daemon decides: its own pipeline, detectors and policy, on what the models of this history say."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.checkpoint import MonitorSnapshot
from daemon.events.rows import Labels, Predictions
from daemon.events.rows import Rows as Events
from daemon.events.tabular import Table
from daemon.lifecycle.broken import OpenBreakage, explains_since, explanation, is_change
from daemon.lifecycle.policy import Action, Facts, Reason, Trigger, decide, refits_due
from daemon.lifecycle.policy import Rules as DecisionRules
from daemon.monitoring import references
from daemon.monitoring.gaps import GAP_FIELD
from daemon.monitoring.monitors import make_monitor, rules_of
from daemon.monitoring.second_looks import with_cause
from daemon.pipeline import Pipeline
from daemon.settings import ModelSettings
from daemon.stores import tables
from daemon.stores.engine import Store, open_store, sqlite_url
from daemon.what_if.history import History
from daemon.what_if.learner import Learner, Said
from daemon.what_if.policies import Rows
from detectors.base import Verdict
from detectors.columns import Stream
from detectors.reference import Reference

MODEL: Final = "what-if"
FAR_CHECKPOINTS_SECONDS: Final = 3600.0


@dataclass(slots=True)
class _Plan:
    """Refits after an alarm: how many labels the first training used, and how many refits there were."""

    alarm: Verdict
    since: int
    used: int
    done: int = 0


class Ours:
    """Watches what is served, and asks the policy about each alarm as labels come.

    A retrain takes the rows after the change. There is no gate here: what is trained is served. Where the history has
    no times, cooldown and daily budget, which are of time, are left out.
    """

    name = "driftd"

    def __init__(self, store: Store, history: History, learner: Learner, settings: ModelSettings, delay: int) -> None:
        self.alarms = 0
        self._history = history
        self._learner = learner
        self._settings = settings
        self._rules: DecisionRules = rules_of(settings)
        self._delay = delay
        self._store = store
        self._pipeline = Pipeline(
            store,
            None,
            lambda model: make_monitor(model, settings, estimated=False),
            self._respond,
            clock=time.time,
            checkpoint_seconds=FAR_CHECKPOINTS_SECONDS,
            most_models=1,
        )
        self._first = 0
        self._labelled = 0  # rows whose labels were given to the monitor
        self._waiting: list[Verdict] = []
        self._explained: list[Verdict] = []  # by broken data
        self._broken = OpenBreakage()
        self._plan: _Plan | None = None
        self._trained: list[float] = []

    @classmethod
    async def open(cls, folder: Path, history: History, learner: Learner, settings: ModelSettings, delay: int) -> Self:
        """With a store in ``folder``."""
        store = open_store(sqlite_url(folder / "store.db"))
        async with store.begin() as connection:
            await connection.run_sync(tables.metadata.create_all)
        return cls(store, history, learner, settings, delay)

    async def close(self) -> None:
        """Let go of the store."""
        await self._store.close()

    async def begin(self, rows: Rows) -> None:
        """See ``Policy``."""
        self._first = self._labelled = int(rows[-1]) + 1
        learned = self._reference(rows)
        await self._pipeline.change(MODEL, lambda monitor: references.give(monitor, self._history.task, learned))

    def served(self, start: int, said: Said) -> None:
        """Take in what was predicted for the rows from ``start`` on, and the labels that have come meanwhile."""
        rows = np.arange(start, start + len(said.values))
        predictions = self._predictions(rows, said)
        due = np.arange(self._labelled, max(self._labelled, int(rows[-1]) + 1 - self._delay))
        due = due[self._history.labelled[due]]
        labels = None
        if len(due):
            # a label is the event right after the prediction at which it comes
            at = np.maximum(due + self._delay, start)
            labels = Labels(
                2 * at + 1, [str(row) for row in due.tolist()], self._history.ts[at], self._history.labels[due].tolist()
            )
            self._labelled = int(due[-1]) + 1
        self._pipeline.take(MODEL, Events(predictions, labels, None, float(self._history.ts[rows[-1]])), 0.0)

    async def after(self, start: int, stop: int, known: Rows) -> Rows | None:  # noqa: ARG002 (see Policy)
        """See ``Policy``."""
        await self._pipeline.flush()
        now = float(self._history.ts[stop - 1]) if self._history.timed else 0.0
        for verdict in tuple(self._waiting):
            since = self._first + verdict.change_row
            labels = known[known >= since]
            decision = decide(self._facts(Trigger.ALARM, now, len(labels), verdict), self._rules)
            if decision.action is not Action.WAIT:
                self._waiting.remove(verdict)
            if decision.action is Action.ALERT_ONLY and decision.reason is Reason.DATA_BROKEN:
                self._explained.append(verdict)
            if decision.action is Action.RETRAIN:
                # one training takes all that has changed
                self._waiting.clear()
                self._explained.clear()
                self._plan = _Plan(verdict, since, len(labels))
                return self._train(labels, now)
        return self._refit(known, now)

    async def trained(self, rows: Rows, row: int) -> None:
        """See ``Policy``."""
        learned = self._reference(rows)
        await self._pipeline.change(MODEL, lambda monitor: monitor.adopt(f"from row {row}", dict(learned)))

    def _hear(self, verdict: Verdict) -> None:
        self._broken.hear(MODEL, verdict)
        if verdict.recovered:
            over = verdict.signal, verdict.kind
            self._waiting = [one for one in self._waiting if (one.signal, one.kind) != over]
            self._explained = [one for one in self._explained if (one.signal, one.kind) != over]
        else:
            self.alarms += 1
            self._waiting.append(verdict)

    def _refit(self, known: Rows, now: float) -> Rows | None:
        plan = self._plan
        if plan is None:
            return None
        labels = known[known >= plan.since]
        due = refits_due(plan.used, len(labels), self._rules.refits)
        if due <= plan.done:
            return None
        if decide(self._facts(Trigger.REFIT, now, len(labels), plan.alarm), self._rules).action is not Action.RETRAIN:
            return None
        plan.done = due
        return self._train(labels, now)

    def _train(self, rows: Rows, now: float) -> Rows:
        if self._history.timed:
            self._trained.append(now)
        return rows[-self._settings.retrain.window_rows :]

    def _facts(self, trigger: Trigger, now: float, labels: int, alarm: Verdict) -> Facts:
        return Facts(
            trigger=trigger,
            now=now,
            kind=alarm.kind,
            alarm_row=alarm.row,
            broken=explanation(alarm.kind, alarm.evidence),
            gap=GAP_FIELD in alarm.evidence,
            broken_since=explains_since(self._broken.of(MODEL), alarm.evidence),
            changed=is_change(alarm.evidence),
            last_finished=self._trained[-1] if self._trained else None,
            recent=tuple(self._trained),
            labels=labels,
        )

    def _predictions(self, rows: Rows, said: Said) -> Predictions:
        nothing = [None] * len(rows)
        features = {name: column[rows] for name, column in self._history.features.items()}
        ids = [str(row) for row in rows.tolist()]
        ts = self._history.ts[rows]
        return Predictions(2 * rows, ids, ts, nothing, nothing, said.values, said.scores, None, features, None)

    def _reference(self, rows: Rows) -> dict[Stream, Reference]:
        """What the monitor is to go by: the rows learned from, and what the gate would have seen said of the latest."""
        bins, task = self._settings.reference_bins, self._history.task
        count = min(max(int(self._rules.judged_share * len(rows)), self._rules.judged_rows), len(rows) // 2)
        late = rows[-count:]
        said = self._predictions(late, self._learner.judged(rows, count))
        found = references.learn([Table(len(rows) - count, said, self._history.labels[late].tolist())], task, bins)[1]
        nothing = Said([None] * len(rows), np.full(len(rows), np.nan))
        return found | references.learn([Table(0, self._predictions(rows, nothing))], None, bins)[1]

    async def _respond(self, _connection: AsyncConnection, found: MonitorSnapshot, _now: float) -> None:
        for verdict in found.findings.verdicts:
            self._hear(with_cause(verdict, found.findings.renamed))
        for renamed in found.findings.renamed:
            self._broken.rename(MODEL, renamed.kind, renamed.signal, renamed.change_row, renamed.cause)
            # what broken data has explained is asked about again
            self._waiting = [renamed.renamed(verdict) for verdict in (*self._waiting, *self._explained)]
            self._explained = []
