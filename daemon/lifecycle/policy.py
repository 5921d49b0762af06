"""What follows from an alarm, a cron time, more labels or a person's word: one decision, with its reason.

Pure: facts and rules go in, a decision comes out. Nothing here reads a clock or the store.

What the rules are there for, the stronger first:

- Broken data never trains. An alarm whose cause is broken data starts nothing, whatever its kind. One that was raised
  while the data was broken is explained by that and starts nothing, then or later, unless the rows that are whole tell
  that the world has changed; that one, and one that was there before, wait until the data is whole again. A few broken
  rows explain no more errors than there are such rows (see ``broken``).
- A gap between segments trains nothing by itself: what closes one is other data or another objective, and no more rows.
  A version that opens one while it is on probation is taken back, as one that errs more is.
- One retrain at a time, and none while a version is being deployed.
- The budget bounds what the daemon spends in any 24 hours, whatever happens: alarms, cron times and refits all count.
  A person may spend more, and what a person spends is not taken from the daemon.
- The cooldown keeps an alarm that is raised again and again from training again and again. Refits are exempt: there are
  few of them for each alarm, each needs twice the labels of the one before, and waiting would serve nobody.
- Fresh labels, those after the change, are what a retrain learns from: an alarm waits for enough of them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from daemon.settings import Mode
from detectors.base import Kind

DAY_SECONDS: Final = 86_400.0
MOST_SERVED: Final = 2_000
"""More labelled rows of the version in service are not counted."""
ERRORS: Final = frozenset({Kind.CONCEPT, Kind.PERFORMANCE})
"""Kinds of alarm that say that the model errs."""


class Trigger(StrEnum):
    """What asks for a retrain."""

    ALARM = "alarm"
    SCHEDULE = "schedule"
    REFIT = "refit"
    MANUAL = "manual"


class Action(StrEnum):
    """What is to be done."""

    RETRAIN = "retrain"
    WAIT = "wait"
    """Not yet: asked again as labels arrive and time passes, until it is done or the alarm closes."""
    REFUSE = "refuse"
    """Not at all: whoever asked may ask again."""
    ALERT_ONLY = "alert_only"
    """People are told; nothing else follows from this alarm."""
    ROLLBACK = "rollback"


class Reason(StrEnum):
    """Why."""

    ERROR_ROSE = "error_rose"
    """The model errs more than its reference: its world has changed."""
    DATA_MOVED = "data_moved"
    """The data has moved, and the settings have that kind of alarm train."""
    SCHEDULE_DUE = "schedule_due"
    BY_HAND = "by_hand"
    REFIT_MORE_LABELS = "refit_more_labels"
    """The labels since the last change have doubled since the last training."""
    NEW_VERSION_DISAPPOINTS = "new_version_disappoints"
    """A version on probation errs more than the gate promised."""

    DATA_BROKEN = "data_broken"
    ALREADY_RUNNING = "already_running"
    HELD = "held"
    """Something failed that a person has to see to first."""
    MODE_OBSERVES = "mode_observes"
    KIND_DOES_NOT_TRAIN = "kind_does_not_train"
    BUDGET_SPENT = "budget_spent"
    COOLDOWN = "cooldown"
    NO_LABELS = "no_labels"
    TOO_FEW_LABELS = "too_few_labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings of one model that the policy goes by; names and defaults are those of the settings."""

    mode: Mode = Mode.AUTO
    on: frozenset[str] = frozenset({Kind.CONCEPT.value, Kind.PERFORMANCE.value})
    cooldown_seconds: float = 3_600.0
    budget_per_day: int = 6
    minimum_labels: int = 500
    refits: int = 2
    """How often to train again as labels after a change double."""
    judged_share: float = 0.3
    """Share of the labels, the latest, by which a candidate is judged."""
    judged_rows: int = 100
    """And the least number of them."""
    rollback: bool = True
    watch_rows: int = 2_000
    """Labelled rows after which a new version is trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is so at this moment. Times are epoch seconds, rows numbers of the model's predictions."""

    trigger: Trigger
    now: float
    kind: Kind | None = None
    """Of the alarm."""
    alarm_row: int | None = None
    """Where the alarm was raised."""
    broken: str | None = None
    """What is broken, in words, where that is the cause of the alarm; None: it is another one."""
    gap: bool = False
    """The alarm is of a gap between segments."""
    training: bool = False
    """A retrain is queued or running."""
    deploying: bool = False
    """A version is being brought into service or taken back."""
    held: bool = False
    broken_since: int | None = None
    """First row of broken data whose alarm is open and that may explain what was raised; None: there is none."""
    changed: bool = False
    """But the alarm's cause is that the world has changed: the rows that are whole tell so."""
    broken_unseen: bool = False
    """And nobody has acknowledged one of these alarms."""
    delivered: int | None = None
    """Rows that a version on probation served before the change; None: none is on probation."""
    rose: float | None = None
    """By how much the error rate of the alarm rose; None: it is no rate."""
    proven: float | None = None
    """By how much the version on probation surely erred less often than the one before it, on the same rows; None: that
    is not known."""
    last_finished: float | None = None
    """When the last retrain ended."""
    recent: tuple[float, ...] = ()
    """When each retrain of the last 24 hours was queued, those by hand left out."""
    labels: int = 0
    """Labels since the change; without a change, since the last training."""
    needed: int | None = None
    """Labels that are enough, where that is not the rules' minimum."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done and why; ``detail`` has the figures (JSON values) and a sentence under ``text``."""

    action: Action
    reason: Reason
    detail: Mapping[str, Any] = field(default_factory=dict)


_DUE: Final = {
    Trigger.SCHEDULE: Reason.SCHEDULE_DUE,
    Trigger.REFIT: Reason.REFIT_MORE_LABELS,
    Trigger.MANUAL: Reason.BY_HAND,
}


def decide(facts: Facts, rules: Rules) -> Decision:
    """Decide what follows from ``facts`` under ``rules``."""
    if facts.trigger is Trigger.ALARM:
        disappoints = _disappoints(facts, rules)
        only_told = _only_told(facts, rules, disappoints=disappoints)
        if only_told is not None:
            return only_told
        if disappoints:
            return _disappointed(facts, rules)
    elif facts.trigger is not Trigger.MANUAL and rules.mode is Mode.OBSERVE:
        return Decision(Action.REFUSE, Reason.MODE_OBSERVES, _OBSERVES)
    obstacle = next(_by_hand_obstacles(facts) if facts.trigger is Trigger.MANUAL else _obstacles(facts, rules), None)
    if obstacle is not None:
        patient = facts.trigger in (Trigger.ALARM, Trigger.REFIT)
        return Decision(Action.WAIT if patient else Action.REFUSE, *obstacle)
    reason = _DUE.get(facts.trigger, Reason.ERROR_ROSE if facts.kind in ERRORS else Reason.DATA_MOVED)
    return Decision(Action.RETRAIN, reason, {"labels": facts.labels})


def can_be_judged(served: int, labels: int, rules: Rules) -> bool:
    """Whether the version in service has answered enough of ``labels`` labelled rows to be compared on the latest."""
    return served >= min(max(rules.judged_share * labels, rules.judged_rows), MOST_SERVED)


def refits_due(used: int, labels: int, refits: int) -> int:
    """How many refits ``labels`` since a change are enough for, the first training having used ``used`` of them."""
    return min(refits, (labels // max(used, 1)).bit_length() - 1) if labels > used else 0


def _disappoints(facts: Facts, rules: Rules) -> bool:
    """Whether a version on probation never gave what was promised, and the one before may well be better.

    What errs a little more than was promised, and much less than the one before did, is not taken back.
    """
    if facts.kind not in ERRORS or facts.delivered is None or facts.delivered >= rules.minimum_labels:
        return False
    return facts.rose is None or facts.proven is None or facts.rose >= facts.proven


def _only_told(facts: Facts, rules: Rules, *, disappoints: bool) -> Decision | None:
    """Alarms from which nothing follows but an alert."""
    if facts.broken is not None:
        detail = {"cause": facts.broken, "text": f"broken data never trains: {facts.broken}"}
        return Decision(Action.ALERT_ONLY, Reason.DATA_BROKEN, detail)
    if not disappoints and (facts.kind is None or facts.kind.value not in rules.on):
        text = f"an alarm of kind {facts.kind} does not train: DRIFTD_RETRAIN__ON names those that do"
        return Decision(Action.ALERT_ONLY, Reason.KIND_DOES_NOT_TRAIN, {"kind": facts.kind, "text": text})
    if facts.gap and not disappoints:
        text = "more labels of all segments need not close a gap between them: driftd retrain trains all the same"
        return Decision(Action.ALERT_ONLY, Reason.KIND_DOES_NOT_TRAIN, {"kind": facts.kind, "text": text})
    since = None if facts.changed else facts.broken_since
    if since is not None and facts.alarm_row is not None and since <= facts.alarm_row:
        text = f"the data has been broken since row {facts.broken_since}, which explains the alarm"
        return Decision(Action.ALERT_ONLY, Reason.DATA_BROKEN, {"broken_since": facts.broken_since, "text": text})
    if rules.mode is Mode.OBSERVE:
        return Decision(Action.ALERT_ONLY, Reason.MODE_OBSERVES, _OBSERVES)
    return None


def _disappointed(facts: Facts, rules: Rules) -> Decision:
    """The version never gave what the gate promised (had it, for a while, the world would have changed since)."""
    detail = {"delivered": facts.delivered, "text": "the new version errs more than the gate promised"}
    if rules.mode is not Mode.AUTO or not rules.rollback:
        text = f"{detail['text']}: take it back with driftd rollback, or leave it"
        return Decision(Action.ALERT_ONLY, Reason.NEW_VERSION_DISAPPOINTS, detail | {"text": text})
    if facts.held or facts.deploying:
        return Decision(Action.WAIT, *(_HELD if facts.held else _BUSY))
    return Decision(Action.ROLLBACK, Reason.NEW_VERSION_DISAPPOINTS, detail)


Obstacle = tuple[Reason, Mapping[str, Any]]

_OBSERVES: Final = {"text": "the mode is observe: alerts only"}
_HELD: Final[Obstacle] = (Reason.HELD, {"text": "the model is held until somebody sees to it: driftd status says why"})
_BUSY: Final[Obstacle] = (
    Reason.ALREADY_RUNNING,
    {"text": "a retrain or a deployment of this model is under way"},
)


def _obstacles(facts: Facts, rules: Rules) -> Iterator[Obstacle]:
    """What keeps the daemon from training by itself, the most lasting first."""
    if facts.held:
        yield _HELD
    if facts.broken_since is not None:
        text = f"the data has been broken since row {facts.broken_since}"
        yield Reason.DATA_BROKEN, {"broken_since": facts.broken_since, "text": text}
    if facts.training or facts.deploying:
        yield _BUSY
    spent = sorted(at for at in facts.recent if at > facts.now - DAY_SECONDS)
    if len(spent) >= rules.budget_per_day:
        text = f"{len(spent)} retrains in 24 hours: DRIFTD_RETRAIN__BUDGET_PER_DAY allows {rules.budget_per_day}"
        again = {"until": spent[-rules.budget_per_day] + DAY_SECONDS} if rules.budget_per_day else {}
        yield Reason.BUDGET_SPENT, {**again, "text": text}
    if facts.trigger is not Trigger.REFIT and facts.last_finished is not None:
        until = facts.last_finished + rules.cooldown_seconds
        if facts.now < until:
            yield Reason.COOLDOWN, {"until": until, "text": "the last retrain was too recent (cooldown)"}
    needed = rules.minimum_labels if facts.needed is None else facts.needed
    if facts.labels < needed:
        labels = max(facts.labels, 0)
        detail = {"labels": labels, "needed": needed, "text": f"{labels} of {needed} fresh labels so far"}
        yield (Reason.TOO_FEW_LABELS if labels else Reason.NO_LABELS), detail


def _by_hand_obstacles(facts: Facts) -> Iterator[Obstacle]:
    """What not even a person can overrule."""
    if facts.broken_unseen:
        text = "an alarm says that the data is broken: acknowledge it first (driftd ack) if you know better"
        yield Reason.DATA_BROKEN, {"broken_since": facts.broken_since, "text": text}
    if facts.training or facts.deploying:
        yield _BUSY
    if facts.labels <= 0:
        yield Reason.NO_LABELS, {"text": "there are no labels to learn from"}
