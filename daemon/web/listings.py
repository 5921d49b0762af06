"""Which lists there are, what they can be filtered by, and what an item of each shows."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import Column, ColumnElement

from daemon.stores import tables
from daemon.web.paging import Filter, Listing

SHOWN_BODY_BYTES: Final = 4_096
TEXT: Final = {"type": "string"}
WHOLE: Final = {"type": "integer"}


def _equals(column: Column[Any], meaning: str, *values: str) -> Filter:
    """Rows whose ``column`` is the value given: one of ``values``, where there are any."""

    def condition(value: str) -> ColumnElement[bool]:
        if values and value not in values:
            raise ValueError(f"it is one of {', '.join(values)}")
        return column == value

    return Filter(str(column.name), meaning, condition, {**TEXT, "enum": list(values)} if values else TEXT)


def _number(name: str, meaning: str, condition: Callable[[int], ColumnElement[bool]]) -> Filter:
    def checked(value: str) -> ColumnElement[bool]:
        number = int(value)
        if abs(number) >= 1 << 63:
            raise ValueError("it is too large")
        return condition(number)

    return Filter(name, meaning, checked, WHOLE)


def _resent(value: str) -> ColumnElement[bool]:
    if value not in {"true", "false"}:
        raise ValueError("it is true or false")
    sent = tables.dead_letters.c.resent
    return sent.is_not(None) if value == "true" else sent.is_(None)


def _letter(row: Mapping[str, Any]) -> dict[str, Any]:
    body = row["body"]
    return {
        **{name: value for name, value in row.items() if name != "body"},
        "body": body[:SHOWN_BODY_BYTES].decode("utf-8", "replace"),
        "body_bytes": len(body),
    }


_signals, _alarms, _decisions = tables.signals.c, tables.alarms.c, tables.decisions.c
_jobs, _versions, _letters = tables.jobs.c, tables.versions.c, tables.dead_letters.c

SIGNALS: Final = Listing(
    "signals",
    tables.signals,
    (_signals.id,),
    (
        _equals(_signals.signal, "such as feature:age, prediction, score, label or error"),
        _equals(_signals.version, "what was measured of this version"),
        _number("since_row", "chunks that end at this row or later", lambda row: _signals.row >= row),
        _number("until_row", "chunks that end at this row or before", lambda row: _signals.row <= row),
    ),
    dict,
)
ALARMS: Final = Listing(
    "alarms",
    tables.alarms,
    (_alarms.id,),
    (
        _equals(_alarms.state, "open or closed", "open", "closed"),
        _equals(_alarms.kind, "drift, concept, anomaly, quality, performance or volume"),
        _equals(_alarms.signal, "raised on this signal"),
        _equals(_alarms.severity, "warning or critical", "warning", "critical"),
    ),
    dict,
)
DECISIONS: Final = Listing(
    "decisions",
    tables.decisions,
    (_decisions.id,),
    (_equals(_decisions.action, "what was decided"), _equals(_decisions.reason, "why")),
    dict,
)
RETRAINS: Final = Listing(
    "retrains",
    tables.jobs,
    (_jobs.id,),
    (
        _equals(_jobs.state, "queued, running, succeeded or failed", "queued", "running", "succeeded", "failed"),
        _equals(_jobs.outcome, "promote, hold, reject or failed", "promote", "hold", "reject", "failed"),
        _equals(_jobs.trigger, "what asked for it"),
    ),
    dict,
)
VERSIONS: Final = Listing(
    "versions",
    tables.versions,
    (_versions.created, _versions.version),
    (_equals(_versions.state, "such as champion, candidate, retired or rejected"),),
    dict,
)
DEAD_LETTERS: Final = Listing(
    "dead-letters",
    tables.dead_letters,
    (_letters.id,),
    (
        _equals(_letters.model, "those of one model, where it could be read"),
        _equals(_letters.reason, "why it was put aside"),
        Filter("resent", "whether it was sent through again: true or false", _resent, {"type": "boolean"}),
    ),
    _letter,
)

OF_MODELS: Final = (SIGNALS, ALARMS, DECISIONS, RETRAINS, VERSIONS)
