"""What the page says: states, decisions and times in plain words."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from daemon.alerts.figures import figure
from daemon.alerts.notes import Note, NoteKind

DECIMAL: Final = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?")
MINUTE: Final = 60.0
HOUR: Final = 3_600.0
DAY: Final = 86_400.0

LOOP: Final = (
    ("learning", "Learning"),
    ("steady", "Steady"),
    ("alarm", "Alarm"),
    ("retraining", "Retraining"),
    ("evaluating", "Evaluating"),
    ("watching", "Watching"),
)
"""The stations of the loop, in order."""


@dataclass(frozen=True, slots=True)
class StateWords:
    """A state: its word, its station of the loop, how much it matters (0 is most) and what it means."""

    word: str
    station: int
    rank: int
    means: str


STATES: Final = {
    "held": StateWords("Held", 2, 0, "Somebody has to see to it before anything happens by itself again."),
    "alarm": StateWords("Alarm", 2, 1, "Something has changed."),
    "retraining": StateWords("Retraining", 3, 2, "A new version is being trained."),
    "evaluating": StateWords("Evaluating", 4, 3, "A new version is before the gate, or on its way into service."),
    "shadow": StateWords("Shadow", 4, 3, "The new version answers beside the one in service, unheard."),
    "canary": StateWords("Canary", 5, 4, "The new version answers a small part of the requests."),
    "watching": StateWords("Watching", 5, 5, "A new version is in service, watched against what the gate promised."),
    "learning": StateWords("Learning", 0, 6, "Learning what normal looks like."),
    "steady": StateWords("Steady", 1, 7, "Nothing has moved enough to matter."),
}

ACTIONS: Final = {
    "retrain": "Retrain",
    "wait": "Retrain, but not yet",
    "refuse": "No retrain",
    "alert_only": "Alert only",
    "rollback": "Rollback",
}
REASONS: Final = {
    "error_rose": "the model errs more than its reference",
    "data_moved": "the data has moved",
    "schedule_due": "the schedule says so",
    "by_hand": "somebody asked for it",
    "refit_more_labels": "twice the labels have arrived since the last training",
    "new_version_disappoints": "the new version errs more than the gate promised",
    "data_broken": "broken data never trains",
    "already_running": "one is under way",
    "held": "somebody has to see to the model first",
    "mode_observes": "the mode is observe: alerts only",
    "kind_does_not_train": "this kind of alarm does not train",
    "budget_spent": "the budget of today is spent",
    "cooldown": "the last one was too recent",
    "no_labels": "there are no fresh labels",
    "too_few_labels": "there are too few fresh labels",
}
GATE: Final = {
    "promote": "passed the gate",
    "hold": "is held, not proven either way",
    "reject": "was rejected by the gate",
    "failed": "could not be made",
}
DEPLOYMENTS: Final = frozenset({NoteKind.PROMOTED, NoteKind.ROLLED_BACK, NoteKind.DEPLOY_FAILED})
OUTCOMES: Final = {
    "promote": "Passed the gate",
    "hold": "Held: not proven either way",
    "reject": "Rejected by the gate",
    "failed": "Failed",
}
VERSIONS: Final = {
    "seen": "seen in events",
    "awaiting": "waits for approval",
    "deploying": "on its way into service",
    "champion": "in service",
    "retired": "retired",
    "withdrawn": "taken back",
    "rejected": "rejected",
}
TRIGGERS: Final = {"alarm": "after an alarm", "schedule": "by schedule", "refit": "more labels", "manual": "by hand"}


def state_words(state: str) -> StateWords:
    """The words for a state; for one that is not known, its name."""
    return STATES.get(state, StateWords(plain(state).capitalize(), 1, 1, ""))


def decided(action: str, reason: str, detail: Mapping[str, Any]) -> str:
    """A decision in a sentence: of the policy, of the gate, or what became of a version."""
    if action in DEPLOYMENTS:
        return sentence(tidy(str(Note(NoteKind(action), 0.0, detail))))
    why = tidy(str(detail["text"])) if detail.get("text") else REASONS.get(reason, plain(reason))
    if action in GATE:
        subject = f"version {detail['version']}" if detail.get("version") else "the new version"
        return sentence(f"{subject} {GATE[action]}: {why}")
    return sentence(f"{ACTIONS.get(action, plain(action))}: {why}")


def plain(name: object) -> str:
    """A stored name as words: ``too_few_rows`` is ``too few rows``."""
    return str(name).replace("_", " ").replace("-", " ")


def sentence(text: str) -> str:
    """``text`` with a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"


def tidy(text: str) -> str:
    """Text that was written for a terminal, with the signs of a page."""
    return text.replace("->", "→").replace(" %", "%")


def shorter(label: str) -> str:
    """The label of a bin of a number, with as many digits as say something."""
    return DECIMAL.sub(lambda found: figure(float(found[0])), label)


def measure(value: float | None, metric: str) -> str:
    """A value of a metric: accuracy in per cent with one digit, anything else as a figure."""
    if value is None:
        return ""
    return f"{100 * value:.1f}%" if metric == "accuracy" else figure(value)


def ago(ts: float | None, now: float) -> str:
    """How long ago ``ts`` was, both epoch seconds: ``12 s ago``."""
    if ts is None:
        return "never"
    seconds = now - ts
    if seconds < 2:  # noqa: PLR2004 (what a person calls now)
        return "just now" if seconds > -MINUTE else moment(ts, now)
    if seconds < MINUTE:
        return f"{seconds:.0f} s ago"
    if seconds < HOUR:
        return f"{seconds / MINUTE:.0f} min ago"
    if seconds < 2 * DAY:
        return f"{seconds / HOUR:.0f} h ago"
    return f"{seconds / DAY:.0f} days ago"


def lasted(seconds: float | None) -> str:
    """A duration: ``3 min 5 s``."""
    if seconds is None:
        return ""
    if seconds < MINUTE:
        return f"{max(seconds, 0):.0f} s"
    if seconds < HOUR:
        return f"{seconds // MINUTE:.0f} min {seconds % MINUTE:.0f} s"
    return f"{seconds // HOUR:.0f} h {seconds % HOUR // MINUTE:.0f} min"


def moment(ts: float | None, now: float) -> str:
    """A point in time in UTC: ``20 Nov 12:03``, with the year where it is another."""
    if ts is None:
        return ""
    try:
        at, today = datetime.fromtimestamp(ts, UTC), datetime.fromtimestamp(now, UTC)
    except (OverflowError, ValueError, OSError):
        return figure(ts)
    year = "" if at.year == today.year else f" {at.year}"
    return f"{at.day} {at:%b}{year} {at:%H:%M}"
