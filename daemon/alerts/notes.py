"""What is being done about an incident, in words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from daemon.alerts.figures import count, figure, is_number, percent


class NoteKind(StrEnum):
    """What happened. The fields that each understands are named with it; all of them may be left out."""

    CAUSE = "cause"
    """alarms that have another cause now: [{signal, cause (in words), before (its name, empty for none)}]"""
    RETRAIN_STARTED = "retrain_started"
    """version, rows (labelled rows it learns from), since_row, trigger"""
    RETRAIN_REFUSED = "retrain_refused"
    """reason (the stored one), text (what a person should know of it)"""
    RETRAIN_FAILED = "retrain_failed"
    """version, reason, text"""
    GATE = "gate"
    """version, outcome (promote, hold, reject), reasons, gain {estimate, low, high, confidence}"""
    AWAITING_APPROVAL = "awaiting_approval"
    """version"""
    PROMOTED = "promoted"
    """version, previous"""
    DEPLOY_FAILED = "deploy_failed"
    """version, text"""
    ROLLED_BACK = "rolled_back"
    """version (the one in service again), previous (the one taken back), reason"""
    QUARANTINED = "quarantined"
    """rows"""
    ACKNOWLEDGED = "acknowledged"
    """by"""
    SILENCED = "silenced"
    """by, signal, until (epoch seconds), reason"""
    OTHER = "other"
    """text"""


LOUD: Final = frozenset({NoteKind.ROLLED_BACK, NoteKind.AWAITING_APPROVAL, NoteKind.DEPLOY_FAILED})
"""What somebody should see at once, even when it is news of an incident that is known."""

ALONE: Final = frozenset(
    {NoteKind.PROMOTED, NoteKind.ROLLED_BACK, NoteKind.RETRAIN_FAILED, NoteKind.AWAITING_APPROVAL}
    | {NoteKind.DEPLOY_FAILED}
)
"""What is said even where no incident is open, such as after a retrain by schedule."""


MOST_CAUSES: Final = 2
MOST_SIGNALS: Final = 3


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that happened at ``at`` (epoch seconds), with JSON-able ``fields``."""

    kind: NoteKind
    at: float
    fields: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return _WORDS[self.kind](self.fields)


def _cause(fields: Mapping[str, Any]) -> str:
    told: dict[tuple[str, str], list[str]] = {}
    for one in fields.get("alarms", ()):
        told.setdefault((one["cause"], one["before"]), []).append(one["signal"])
    texts = []
    for (cause, before), signals in list(told.items())[:MOST_CAUSES]:
        more = f" and {len(signals) - MOST_SIGNALS} more" if len(signals) > MOST_SIGNALS else ""
        of = f"{'another' if before else 'the'} cause of {', '.join(signals[:MOST_SIGNALS])}{more}"
        texts.append(f"{of}: {cause}{f', and not {before}' if before and not cause.startswith(before) else ''}")
    return f"more rows tell {'; '.join(texts)}" if texts else "more rows tell other causes"


def _started(fields: Mapping[str, Any]) -> str:
    rows = f" with {count(fields['rows'])} labelled rows" if fields.get("rows") else ""
    if not rows and fields.get("since_row") is not None:
        rows = f" on the rows since {count(fields['since_row'])}"
    trigger = f" ({_words(fields['trigger'])})" if fields.get("trigger") not in (None, "alarm") else ""
    return f"retraining{_version(fields, ' ')}{rows}{trigger}"


def _refused(fields: Mapping[str, Any]) -> str:
    return f"not retraining{_because(fields)}"


def _failed(fields: Mapping[str, Any]) -> str:
    return f"the retrain{_version(fields, ' of ')} failed{_because(fields)}"


def _gate(fields: Mapping[str, Any]) -> str:
    said = {"promote": "passed the gate", "hold": "is held by the gate", "reject": "was rejected by the gate"}
    outcome = str(fields.get("outcome", ""))
    reasons = ", ".join(_words(reason) for reason in fields.get("reasons") or ())
    because = f" ({reasons})" if reasons and outcome != "promote" else ""
    subject = _version(fields, "") or "the candidate"
    return f"{subject} {said.get(outcome, f'came out of the gate with {outcome}')}{because}{_gain(fields.get('gain'))}"


def _gain(gain: object) -> str:
    if not isinstance(gain, Mapping) or not is_number(gain.get("estimate")):
        return ""
    bounds = ""
    if is_number(gain.get("low")):
        sure = f"{percent(gain['confidence'])} sure: " if is_number(gain.get("confidence")) else ""
        low, high = figure(gain["low"]), gain.get("high")
        bounds = f" ({sure}{low} to {figure(high)})" if is_number(high) else f" ({sure}at least {low})"
    return f": gain {figure(gain['estimate'])}{bounds}"


def _promoted(fields: Mapping[str, Any]) -> str:
    instead = f" instead of {fields['previous']}" if fields.get("previous") else ""
    return f"{_version(fields, '') or 'a new version'} is in service{instead}"


def _rolled_back(fields: Mapping[str, Any]) -> str:
    taken = f"version {fields['previous']} was taken back" if fields.get("previous") else "rolled back"
    again = f", {_version(fields, '')} is in service again" if fields.get("version") else ""
    return f"{taken}{_because(fields)}{again}"


def _silenced(fields: Mapping[str, Any]) -> str:
    what = f" {fields['signal']}" if fields.get("signal") else ""
    return f"silenced{what}{_by(fields)}{_because(fields)}"


def _version(fields: Mapping[str, Any], before: str) -> str:
    return f"{before}version {fields['version']}" if fields.get("version") else ""


def _because(fields: Mapping[str, Any]) -> str:
    parts = [_words(fields["reason"])] if fields.get("reason") else []
    parts += [str(fields["text"])] if fields.get("text") else []
    return f": {', '.join(parts)}" if parts else ""


def _by(fields: Mapping[str, Any]) -> str:
    return f" by {fields['by']}" if fields.get("by") else ""


def _words(reason: object) -> str:
    return str(reason).replace("_", " ")


_WORDS: Final[Mapping[NoteKind, Callable[[Mapping[str, Any]], str]]] = {
    NoteKind.CAUSE: _cause,
    NoteKind.RETRAIN_STARTED: _started,
    NoteKind.RETRAIN_REFUSED: _refused,
    NoteKind.RETRAIN_FAILED: _failed,
    NoteKind.GATE: _gate,
    NoteKind.AWAITING_APPROVAL: lambda fields: f"{_version(fields, '') or 'a new version'} waits for approval",
    NoteKind.PROMOTED: _promoted,
    NoteKind.DEPLOY_FAILED: lambda fields: (
        f"{_version(fields, '') or 'a version'} could not be deployed{_because(fields)}"
    ),
    NoteKind.ROLLED_BACK: _rolled_back,
    NoteKind.QUARANTINED: lambda fields: f"{count(fields.get('rows', 0))} rows are kept out of training",
    NoteKind.ACKNOWLEDGED: lambda fields: f"acknowledged{_by(fields)}",
    NoteKind.SILENCED: _silenced,
    NoteKind.OTHER: lambda fields: str(fields.get("text", "")),
}
