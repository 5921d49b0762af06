"""What the daemon decides, and what it never does."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.lifecycle.policy import DAY_SECONDS, Action, Decision, Facts, Reason, Rules, Trigger, decide, refits_due
from daemon.settings import Mode
from detectors.base import Kind

NOW = 1_000_000.0
RULES = Rules()
ALARM = Facts(trigger=Trigger.ALARM, now=NOW, kind=Kind.CONCEPT, alarm_row=20_400, labels=500)

rows = st.integers(0, 50_000)
facts = st.builds(
    Facts,
    trigger=st.sampled_from(Trigger),
    now=st.just(NOW),
    kind=st.one_of(st.none(), st.sampled_from(Kind)),
    alarm_row=st.one_of(st.none(), rows),
    training=st.booleans(),
    deploying=st.booleans(),
    held=st.booleans(),
    broken=st.one_of(st.none(), st.just("income is missing")),
    broken_since=st.one_of(st.none(), rows),
    broken_unseen=st.booleans(),
    delivered=st.one_of(st.none(), st.integers(-100, 5_000)),
    last_finished=st.one_of(st.none(), st.floats(NOW - 2 * DAY_SECONDS, NOW)),
    recent=st.lists(st.floats(NOW - 2 * DAY_SECONDS, NOW), max_size=8).map(tuple),
    labels=st.integers(-500, 5_000),
    needed=st.one_of(st.none(), st.integers(1, 3_000)),
)
rules = st.builds(
    Rules,
    mode=st.sampled_from(Mode),
    on=st.frozensets(st.sampled_from(["concept", "performance", "drift"])),
    cooldown_seconds=st.floats(0, 2 * DAY_SECONDS),
    budget_per_day=st.integers(0, 8),
    minimum_labels=st.integers(1, 2_000),
    refits=st.integers(0, 4),
    rollback=st.booleans(),
)


@pytest.mark.parametrize(
    ("changed", "action", "reason"),
    [
        ({}, Action.RETRAIN, Reason.ERROR_ROSE),
        ({"kind": Kind.PERFORMANCE}, Action.RETRAIN, Reason.ERROR_ROSE),
        ({"trigger": Trigger.SCHEDULE, "kind": None}, Action.RETRAIN, Reason.SCHEDULE_DUE),
        ({"trigger": Trigger.REFIT, "kind": None}, Action.RETRAIN, Reason.REFIT_MORE_LABELS),
        ({"trigger": Trigger.MANUAL, "kind": None}, Action.RETRAIN, Reason.BY_HAND),
        # a change of the world during probation is no fault of the new version
        ({"delivered": 4_000}, Action.RETRAIN, Reason.ERROR_ROSE),
        ({"delivered": 40}, Action.ROLLBACK, Reason.NEW_VERSION_DISAPPOINTS),
        # by less than it was proven to be better than the one before: that one would be worse still
        ({"delivered": 40, "rose": 0.05, "proven": 0.21}, Action.RETRAIN, Reason.ERROR_ROSE),
        ({"delivered": 40, "rose": 0.21, "proven": 0.21}, Action.ROLLBACK, Reason.NEW_VERSION_DISAPPOINTS),
        ({"delivered": 40, "rose": None, "proven": 0.21}, Action.ROLLBACK, Reason.NEW_VERSION_DISAPPOINTS),
        ({"delivered": 40, "rose": 0.05, "proven": None}, Action.ROLLBACK, Reason.NEW_VERSION_DISAPPOINTS),
        ({"delivered": 40, "deploying": True}, Action.WAIT, Reason.ALREADY_RUNNING),
        ({"delivered": 40, "held": True}, Action.WAIT, Reason.HELD),
        ({"delivered": 40, "broken_since": 20_000}, Action.ALERT_ONLY, Reason.DATA_BROKEN),
        # covariate shift that hurts nobody
        ({"kind": Kind.DRIFT}, Action.ALERT_ONLY, Reason.KIND_DOES_NOT_TRAIN),
        ({"kind": Kind.ANOMALY}, Action.ALERT_ONLY, Reason.KIND_DOES_NOT_TRAIN),
        ({"kind": Kind.QUALITY, "broken": "income is missing"}, Action.ALERT_ONLY, Reason.DATA_BROKEN),
        ({"kind": Kind.VOLUME, "broken": "labels no longer arrive"}, Action.ALERT_ONLY, Reason.DATA_BROKEN),
        # it errs more because it is fed with cents
        ({"broken": "income is in another unit"}, Action.ALERT_ONLY, Reason.DATA_BROKEN),
        ({"kind": Kind.QUALITY}, Action.ALERT_ONLY, Reason.KIND_DOES_NOT_TRAIN),
        # no rows close a gap between segments; a version that opens one is taken back
        ({"kind": Kind.PERFORMANCE, "gap": True}, Action.ALERT_ONLY, Reason.KIND_DOES_NOT_TRAIN),
        ({"kind": Kind.PERFORMANCE, "gap": True, "delivered": 40}, Action.ROLLBACK, Reason.NEW_VERSION_DISAPPOINTS),
        # broken before the alarm: that explains it; broken after it: the alarm waits
        ({"broken_since": 20_000}, Action.ALERT_ONLY, Reason.DATA_BROKEN),
        ({"broken_since": 20_401}, Action.WAIT, Reason.DATA_BROKEN),
        ({"training": True}, Action.WAIT, Reason.ALREADY_RUNNING),
        ({"deploying": True}, Action.WAIT, Reason.ALREADY_RUNNING),
        ({"held": True}, Action.WAIT, Reason.HELD),
        ({"labels": 499}, Action.WAIT, Reason.TOO_FEW_LABELS),
        ({"labels": 0}, Action.WAIT, Reason.NO_LABELS),
        ({"last_finished": NOW - 3_599}, Action.WAIT, Reason.COOLDOWN),
        ({"last_finished": NOW - 3_600}, Action.RETRAIN, Reason.ERROR_ROSE),
        ({"recent": (NOW - 10,) * 6}, Action.WAIT, Reason.BUDGET_SPENT),
        ({"recent": (NOW - 10,) * 5 + (NOW - DAY_SECONDS,)}, Action.RETRAIN, Reason.ERROR_ROSE),
        # whoever can ask again is refused, and not kept waiting
        ({"trigger": Trigger.SCHEDULE, "kind": None, "labels": 1}, Action.REFUSE, Reason.TOO_FEW_LABELS),
        ({"trigger": Trigger.MANUAL, "kind": None, "training": True}, Action.REFUSE, Reason.ALREADY_RUNNING),
        ({"trigger": Trigger.MANUAL, "kind": None, "labels": 0}, Action.REFUSE, Reason.NO_LABELS),
    ],
)
def test_each_situation_has_its_decision(changed: dict[str, object], action: Action, reason: Reason) -> None:
    decision = decide(replace(ALARM, **changed), RULES)  # type: ignore[arg-type]
    assert (decision.action, decision.reason) == (action, reason)


def test_observing_never_trains_by_itself_but_a_person_may() -> None:
    observing = replace(RULES, mode=Mode.OBSERVE)
    assert decide(ALARM, observing) == Decision(
        Action.ALERT_ONLY, Reason.MODE_OBSERVES, {"text": "the mode is observe: alerts only"}
    )
    assert decide(replace(ALARM, trigger=Trigger.SCHEDULE), observing).reason is Reason.MODE_OBSERVES
    assert decide(replace(ALARM, trigger=Trigger.MANUAL), observing).action is Action.RETRAIN


def test_recommending_trains_but_does_not_take_back_by_itself() -> None:
    recommending = replace(RULES, mode=Mode.RECOMMEND)
    assert decide(ALARM, recommending).action is Action.RETRAIN
    disappointed = decide(replace(ALARM, delivered=0), recommending)
    assert (disappointed.action, disappointed.reason) == (Action.ALERT_ONLY, Reason.NEW_VERSION_DISAPPOINTS)
    assert "driftd rollback" in disappointed.detail["text"]


def test_settings_may_let_drift_train() -> None:
    decision = decide(replace(ALARM, kind=Kind.DRIFT), replace(RULES, on=frozenset({"drift"})))
    assert (decision.action, decision.reason) == (Action.RETRAIN, Reason.DATA_MOVED)
    # and that alone does not make an error train
    assert decide(ALARM, replace(RULES, on=frozenset({"drift"}))).reason is Reason.KIND_DOES_NOT_TRAIN
    assert decide(replace(ALARM, delivered=4_000), replace(RULES, on=frozenset())).action is Action.ALERT_ONLY


def test_a_person_overrules_limits_but_not_broken_data_that_nobody_has_looked_at() -> None:
    by_hand = replace(
        ALARM, trigger=Trigger.MANUAL, kind=None, recent=(NOW,) * 9, last_finished=NOW, held=True, labels=1
    )
    assert decide(by_hand, RULES).action is Action.RETRAIN
    broken = replace(by_hand, broken_since=7, broken_unseen=True)
    assert decide(broken, RULES).reason is Reason.DATA_BROKEN
    assert decide(replace(broken, broken_unseen=False), RULES).action is Action.RETRAIN


def test_a_wait_for_time_says_until_when() -> None:
    cooling = decide(replace(ALARM, last_finished=NOW - 600), RULES)
    assert cooling.detail["until"] == NOW + 3_000
    spent = decide(replace(ALARM, recent=(NOW - 100, NOW - 50, NOW - 10)), replace(RULES, budget_per_day=2))
    assert spent.detail["until"] == NOW - 50 + DAY_SECONDS
    assert (
        decide(replace(ALARM, recent=(NOW - 100, NOW - 10)), replace(RULES, budget_per_day=2)).detail["until"]
        == NOW - 100 + DAY_SECONDS
    )
    assert "until" not in decide(ALARM, replace(RULES, budget_per_day=0)).detail


@given(facts, rules)
def test_broken_data_never_trains(facts: Facts, rules: Rules) -> None:
    decision = decide(facts, rules)
    if facts.trigger is Trigger.ALARM and facts.broken is not None:
        assert decision.action is Action.ALERT_ONLY
    if decision.action is Action.RETRAIN:
        if facts.trigger is Trigger.MANUAL:
            assert not facts.broken_unseen
        else:
            assert facts.broken_since is None


@given(facts, rules)
def test_never_two_at_once(facts: Facts, rules: Rules) -> None:
    decision = decide(facts, rules)
    if decision.action is Action.RETRAIN:
        assert not facts.training
    if decision.action in (Action.RETRAIN, Action.ROLLBACK):
        assert not facts.deploying


@given(facts, rules)
def test_the_daemon_by_itself_keeps_to_mode_labels_and_hold(facts: Facts, rules: Rules) -> None:
    decision = decide(facts, rules)
    if decision.action is Action.RETRAIN and facts.trigger is not Trigger.MANUAL:
        assert rules.mode is not Mode.OBSERVE
        assert facts.labels >= (rules.minimum_labels if facts.needed is None else facts.needed)
        assert not facts.held
    if decision.action is Action.ROLLBACK:
        assert rules.mode is Mode.AUTO
        assert rules.rollback
        assert not facts.held
        assert facts.trigger is Trigger.ALARM


@given(facts, rules)
def test_only_alarms_and_refits_wait_and_every_no_is_put_in_words(facts: Facts, rules: Rules) -> None:
    decision = decide(facts, rules)
    if decision.action is Action.WAIT:
        assert facts.trigger in (Trigger.ALARM, Trigger.REFIT)
    if decision.action is not Action.RETRAIN:
        assert decision.detail["text"]


@dataclass
class Day:
    """A model's retrains, as the daemon would have run them."""

    rules: Rules
    asked: list[tuple[float, Trigger]] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)

    def ask(self, now: float, trigger: Trigger, seconds: float) -> None:
        facts = Facts(
            trigger=trigger,
            now=now,
            kind=Kind.CONCEPT,
            alarm_row=1,
            training=bool(self.ended) and now < self.ended[-1],
            last_finished=max((end for end in self.ended if end <= now), default=None),
            recent=tuple(at for at, by in self.asked if by is not Trigger.MANUAL and at > now - DAY_SECONDS),
            labels=10_000,
        )
        if decide(facts, self.rules).action is Action.RETRAIN:
            self.asked.append((now, trigger))
            self.ended.append(now + seconds)


@given(
    rules,
    st.lists(
        st.tuples(st.floats(0, 3 * 3_600), st.sampled_from(Trigger), st.floats(0, 3_600)), min_size=1, max_size=60
    ),
)
def test_budget_cooldown_and_one_at_a_time_hold_over_days(
    rules: Rules, events: list[tuple[float, Trigger, float]]
) -> None:
    day, now = Day(rules), 0.0
    for later, trigger, seconds in events:
        now += later
        day.ask(now, trigger, seconds)
    by_itself = [at for at, trigger in day.asked if trigger is not Trigger.MANUAL]
    for first in by_itself:
        assert sum(first <= at < first + DAY_SECONDS for at in by_itself) <= rules.budget_per_day
    for (at, trigger), ended in zip(day.asked[1:], day.ended, strict=False):
        assert at >= ended
        if trigger in (Trigger.ALARM, Trigger.SCHEDULE):
            assert at >= ended + rules.cooldown_seconds


@pytest.mark.parametrize(
    ("labels", "due"), [(0, 0), (500, 0), (999, 0), (1_000, 1), (1_999, 1), (2_000, 2), (4_000, 2), (64_000, 2)]
)
def test_refits_are_due_as_the_labels_double(labels: int, due: int) -> None:
    assert refits_due(500, labels, refits=2) == due


@given(st.integers(0, 5_000), st.integers(-10, 100_000), st.integers(0, 5))
def test_refits_are_few(used: int, labels: int, refits: int) -> None:
    due = refits_due(used, labels, refits)
    assert 0 <= due <= refits
    assert due == 0 or labels >= max(used, 1) * 2**due
