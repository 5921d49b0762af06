"""JSON schemas of what goes in and out. Those of lists come from the tables, and so cannot fall behind them."""

from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Integer, LargeBinary, Table

from daemon.fleet.workers import Role
from daemon.monitoring.estimate_report import State
from daemon.stores import tables
from daemon.web.problem import ProblemKind
from detectors.columns import Stream

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
WHOLE: Final[Schema] = {"type": "integer"}
NUMBER: Final[Schema] = {"type": "number"}
FLAG: Final[Schema] = {"type": "boolean"}
STATES: Final = ("learning", "steady", "alarm", "retraining", "evaluating", "shadow", "canary", "watching", "held")

MEANINGS: Final = {
    "action": "what was decided",
    "alarm": "id of the alarm that led to it",
    "attempts": "how often it was started",
    "body": "the first bytes of what was sent, as text",
    "change_row": "row at which the change is estimated to have begun",
    "change_ts": "when the change is estimated to have begun, epoch seconds",
    "counts": "rows in each bin; the bins are those of the model's reference",
    "cutoff": "labels known at this time are used, epoch seconds",
    "detail": "what the decision rests on",
    "detector": "which detector raised it",
    "effect": "population stability index against the reference",
    "error": "why it failed",
    "evidence": "the figures behind it, and under `cause` why: its name, confidence, text, figures and ranking;"
    " where later rows have told another one, also the `row` that did, and what it is said `instead_of`",
    "hash": "sha256 of the version's files",
    "high": "upper end of the interval",
    "line": "number of the event in its record, from 0",
    "low": "lower end of the interval",
    "metrics": "what was measured of it before it went into service",
    "offset": "place of its record in the log",
    "origin": "trained here, or external",
    "ranking": "signals by how much they moved, most first, with shares of 1",
    "reason": "why, by name",
    "reasons": "why, by name",
    "reference": "what the value was in the reference",
    "resent": "when it was sent through again, epoch seconds",
    "result": "what the retrain measured",
    "row": "0-based number of the model's prediction",
    "rows": "number of rows",
    "since_row": "first row that it trains on",
    "state": "where it stands",
    "trigger": "what asked for it",
    "ts": "time of the event, epoch seconds",
    "value": "mean, error rate, or share of the most moved bin",
}


def _object(properties: dict[str, Schema], required: tuple[str, ...] = (), **more: Any) -> Schema:
    schema: Schema = {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}
    return {**schema, **more}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _column(column: Column[Any]) -> Schema:
    kinds = ((Boolean, FLAG), (Float, NUMBER), ((Integer, BigInteger), WHOLE), (LargeBinary, TEXT))
    schema: Schema = {} if isinstance(column.type, JSON) else dict(TEXT)
    for kind, found in kinds:
        if isinstance(column.type, kind):
            schema = dict(found)
    if column.nullable and schema:
        schema = _or_null(schema)
    meaning = MEANINGS.get(column.name)
    return {**schema, "description": meaning} if meaning else schema


def _row(table: Table, **more: Schema) -> Schema:
    properties = {str(column.name): _column(column) for column in table.columns}
    return _object({**properties, **more}, (*properties, *more))


def _list(item: str) -> Schema:
    return _object(
        {
            "items": {"type": "array", "items": {"$ref": f"#/components/schemas/{item}"}},
            "total": {**WHOLE, "description": "items on all pages"},
            "next": {**_or_null(TEXT), "description": "cursor of the next page, null on the last"},
        },
        ("items", "total", "next"),
    )


_BY: Final = {
    "by": {**TEXT, "default": "api", "maxLength": 200, "description": "who asks; stored"},
    "reason": {**TEXT, "default": "", "maxLength": 1_000, "description": "why; stored"},
}
_SCALAR: Final = {"type": ["string", "number", "boolean"]}
_COUNTED: Final = _object(
    dict.fromkeys(("prediction", "features", "label"), WHOLE), ("prediction", "features", "label")
)
_OPEN_TOTAL: Final = _object({"open": WHOLE, "total": WHOLE}, ("open", "total"))
_RUNNING_TOTAL: Final = _object({"running": WHOLE, "total": WHOLE}, ("running", "total"))
_EPOCH: Final = {**_or_null(NUMBER), "description": "epoch seconds"}

EVENT: Final = _object(
    {
        "type": {**TEXT, "enum": ["prediction", "label", "features"], "default": "prediction"},
        "id": {"type": ["string", "number"], "description": "joins a prediction with its label and its features"},
        "model": {**TEXT, "default": "default"},
        "version": {"type": ["string", "number"]},
        "ts": {"type": ["string", "number"], "description": "ISO 8601 or epoch seconds; the time of arrival if absent"},
        "features": {"type": "object", "description": "numbers, text, booleans or null by name"},
        "prediction": {**_SCALAR, "description": "a class or a number"},
        "score": {"type": ["number", "object"], "description": "a probability, or an object of them by class"},
        "label": {**_SCALAR, "description": "what came true"},
        "segment": {"type": "object", "description": "text by name"},
    }
)

_MEASURED: Final = _object(
    {
        "metric": {
            **TEXT,
            "enum": ["accuracy", "f1", "auc", "log_loss", "rms_calibration_error", "mae", "rmse"],
        },
        **dict.fromkeys(("value", "low", "high"), _or_null(NUMBER)),
        "rows": WHOLE,
        "classes": {**_or_null(WHOLE), "description": "it is the mean over so many classes, each of the same weight"},
        "why_not": {**_or_null(TEXT), "description": "why there is no value: not enough data, and of what"},
    },
    ("metric", "value", "low", "high", "rows", "classes", "why_not"),
)
_ESTIMATED: Final = {
    **dict.fromkeys(("value", "low", "high"), _or_null(NUMBER)),
    "real": {**_or_null(NUMBER), "description": "what the labels of these rows say, as far as they have come"},
    "rows": {**_or_null(WHOLE), "description": "rows that are estimated together"},
    **dict.fromkeys(("first_row", "last_row"), _or_null(WHOLE)),
    "last_ts": _EPOCH,
    "labels": {**_or_null(WHOLE), "description": "of these rows, how many have their label"},
}
_ESTIMATE: Final = {
    "metric": {**TEXT, "enum": ["accuracy", "mae"]},
    "state": {**TEXT, "enum": list(State)},
    "trusted": FLAG,
    "distrusted_since": _object(
        {"row": WHOLE, "ts": NUMBER},
        ("row", "ts"),
        type=["object", "null"],
        description="where labels showed that the estimates were wrong, until they are learned anew",
    ),
    "learning": {
        "type": ["array", "null"],
        "items": WHOLE,
        "description": "labels that it has, and labels that it learns from; null once it has learned",
    },
}

MODEL: Final = _object(
    {
        "model": TEXT,
        "task": {**_or_null(TEXT), "enum": ["binary", "multiclass", "regression", None]},
        "state": {**TEXT, "enum": list(STATES)},
        "held": {**_or_null(TEXT), "description": "what a person has to see to first"},
        "version": {**_or_null(TEXT), "description": "the version in service"},
        "events": {**_COUNTED, "description": "taken since the store was made"},
        "joined": {**WHOLE, "description": "predictions whose label has arrived"},
        "waiting": {**WHOLE, "description": "predictions that wait for their label"},
        "duplicates": WHOLE,
        "revised": WHOLE,
        "expired": WHOLE,
        "dead_letters": WHOLE,
        "lag": {**WHOLE, "description": "events in the log that are not processed yet"},
        "alarms": _OPEN_TOTAL,
        "retrains": _RUNNING_TOTAL,
        "promotions": WHOLE,
        "rollbacks": WHOLE,
        "performance": _object(
            {
                "metric": {**TEXT, "enum": ["accuracy", "mae"]},
                **dict.fromkeys(("value", "low", "high"), NUMBER),
                "reference": _or_null(NUMBER),
                "rows": WHOLE,
                "positive": {
                    **_or_null(TEXT),
                    "description": "of two classes the one that F1 and a plain score are of",
                },
                "metrics": {"type": "array", "items": _MEASURED, "description": "all that can be had, this one first"},
            },
            ("metric", "value", "low", "high", "reference"),
            type=["object", "null"],
            description="over the latest labelled rows, with an interval of 95 %; null without labels",
        ),
        "estimate": _object(
            {
                **_ESTIMATE,
                **_ESTIMATED,
                "checked": _object(
                    _ESTIMATED,
                    tuple(_ESTIMATED),
                    type=["object", "null"],
                    description="the newest rows of which at least half have their label",
                ),
            },
            (*_ESTIMATE, *_ESTIMATED, "checked"),
            type=["object", "null"],
            description="before labels come: of the newest rows, with an interval of 95 %; null where that is off",
        ),
        "rows": WHOLE,
        "first_ts": _EPOCH,
        "last_ts": _EPOCH,
        "last_label_ts": _EPOCH,
        "last_arrival": _EPOCH,
    },
    (
        "model",
        "state",
        "version",
        "events",
        "joined",
        "waiting",
        "duplicates",
        "dead_letters",
        "lag",
        "alarms",
        "retrains",
        "promotions",
        "rollbacks",
        "performance",
    ),
)

_PARTITIONS: Final = {
    "type": "array",
    "items": _object(
        {
            "topic": TEXT,
            "partition": WHOLE,
            "behind": {**_or_null(WHOLE), "description": "records to be read, as was last said"},
        },
        ("topic", "partition", "behind"),
    ),
}
_NAMES: Final = {"type": "array", "items": TEXT}
_FLEET: Final = {
    "workers": {
        "type": "array",
        "description": "who is there, or was within the hour, in the order of their start; of a daemon alone: nobody",
        "items": _object(
            {
                "worker": {**TEXT, "description": "its name"},
                "host": TEXT,
                "roles": {"type": "array", "items": {**TEXT, "enum": list(Role)}},
                "release": {**TEXT, "description": "of driftd"},
                "url": {**_or_null(TEXT), "description": "of its page"},
                "started": {**NUMBER, "description": "epoch seconds"},
                "seen": {**NUMBER, "description": "when it last gave a sign of life, epoch seconds by its own clock"},
                "alive": FLAG,
                "partitions": {**_PARTITIONS, "description": "those that it reads"},
                "models": {**_NAMES, "description": "those that it watches"},
            },
            (
                "worker",
                "host",
                "roles",
                "release",
                "url",
                "started",
                "seen",
                "alive",
                "partitions",
                "models",
            ),
        ),
    },
    "unread": {**_PARTITIONS, "description": "partitions that nobody reads"},
    "unowned": {**_NAMES, "description": "models that nobody watches"},
    "parcels": _object(
        {"count": WHOLE, "events": WHOLE}, ("count", "events"), description="what was read and is not judged yet"
    ),
    "troubles": {
        "type": "array",
        "description": "what nobody does, and what to type",
        "items": _object({"text": TEXT, "hint": TEXT}, ("text", "hint")),
    },
}

_RATE: Final = _object(
    {"segment": TEXT, "rows": WHOLE, **dict.fromkeys(("value", "low", "high"), NUMBER)},
    ("segment", "rows", "value", "low", "high"),
    type=["object", "null"],
    description="over so many rows, with an interval of 95 %; null: not enough data",
)
_GAP: Final = _object(
    {"field": TEXT, **dict.fromkeys(("value", "low", "high"), NUMBER), "least": _RATE, "greatest": _RATE},
    ("field", "value", "low", "high", "least", "greatest"),
    type=["object", "null"],
    description="the greatest of the segments' figures less the least, with an interval of 95 %",
)


def _figures(schema: Schema) -> Schema:
    compared = _object({"now": schema, "reference": schema}, ("now", "reference"))
    return dict.fromkeys(("selection_rate", "mean_prediction", "error_rate", "mean_error"), compared)


_SEGMENT: Final = _object(
    {
        "segment": {**TEXT, "description": "a value of the field; (other) for all beyond the most frequent"},
        "rows": {**WHOLE, "description": "of the current period"},
        "reference_rows": WHOLE,
        **_figures(_RATE),
        "drift": {
            "type": "array",
            "description": "signals that moved for certain within the segment, with their stability index",
            "items": {"type": "array", "items": {"type": ["string", "number"]}},
        },
    },
    ("segment", "rows", "reference_rows", "drift"),
)
_SEGMENTS: Final = _object(
    {
        "model": TEXT,
        "least_rows": {**WHOLE, "description": "of a segment, below which there is not enough data"},
        "learning": {**FLAG, "description": "whether the segments' own reference is still to come"},
        "fields": {
            "type": "array",
            "items": _object(
                {
                    "field": {**TEXT, "description": "a field of segment, or feature:NAME"},
                    "segments": {"type": "array", "items": _SEGMENT},
                    "gaps": _object(_figures(_GAP)),
                },
                ("field", "segments", "gaps"),
            ),
        },
    },
    ("model", "least_rows", "learning", "fields"),
)

SCHEMAS: Final[dict[str, Schema]] = {
    "Event": EVENT,
    "Taken": _object(
        {
            "accepted": {**WHOLE, "description": "events that will be processed"},
            "rejected": {**WHOLE, "description": "events put aside as dead letters"},
            "errors": {
                "type": "array",
                "description": "the first of those put aside",
                "items": _object({"line": WHOLE, "reason": TEXT, "detail": TEXT}, ("line", "reason", "detail")),
            },
        },
        ("accepted", "rejected", "errors"),
    ),
    "Model": MODEL,
    "Models": _list("Model"),
    "Status": _object(
        {
            "models": {"type": "array", "items": {"$ref": "#/components/schemas/Model"}},
            "version": {**TEXT, "description": "of driftd"},
            "mode": {**TEXT, "enum": ["observe", "recommend", "auto"]},
            "ready": FLAG,
            "lag": {**WHOLE, "description": "events that are not processed yet, of the whole fleet where there is one"},
            "fleet": _object(_FLEET, tuple(_FLEET)),
            "events": _COUNTED,
            "dead_letters": WHOLE,
            "time": {**NUMBER, "description": "the daemon's clock, epoch seconds"},
        },
        ("models", "version", "mode", "ready", "lag", "fleet", "events", "dead_letters", "time"),
    ),
    "Workers": _object(
        {
            **_FLEET,
            "lag": {**WHOLE, "description": "events that are not processed yet"},
            "time": {**NUMBER, "description": "the daemon's clock, epoch seconds"},
        },
        (*_FLEET, "lag", "time"),
    ),
    "Segments": _SEGMENTS,
    "LearnedReference": _object(
        {
            "model": TEXT,
            "signals": {
                "type": "array",
                "description": "empty while the reference is still to come",
                "items": _object(
                    {
                        "signal": TEXT,
                        "stream": {"type": "string", "enum": [str(one) for one in Stream]},
                        "rows": {**WHOLE, "description": "that it was learned from"},
                        "kind": {"type": "string", "enum": ["number", "category"]},
                        "bins": {"type": "array", "items": TEXT},
                        "counts": {"type": "array", "description": "rows in each bin", "items": WHOLE},
                        "correlation_rows": {
                            **NUMBER,
                            "description": "rows in a row that tell as much as one independent row would: evidence is "
                            "divided by it",
                        },
                    },
                    ("signal", "stream", "rows", "kind", "bins", "counts", "correlation_rows"),
                ),
            },
        },
        ("model", "signals"),
    ),
    "Signal": _row(tables.signals),
    "Signals": _list("Signal"),
    "Alarm": _row(tables.alarms),
    "Alarms": _list("Alarm"),
    "Decision": _row(tables.decisions),
    "Decisions": _list("Decision"),
    "Retrain": _row(tables.jobs),
    "Retrains": _list("Retrain"),
    "Version": _row(tables.versions),
    "Versions": _list("Version"),
    "DeadLetter": _row(tables.dead_letters, body_bytes={**WHOLE, "description": "length of what was sent"}),
    "DeadLetters": _list("DeadLetter"),
    "Asked": _object(_BY, additionalProperties=False),
    "Silence": _object(
        {
            **_BY,
            "hours": {**NUMBER, "exclusiveMinimum": 0, "description": "for how long; or until"},
            "until": {**NUMBER, "description": "epoch seconds; or hours"},
            "signal": {**_or_null(TEXT), "description": "one signal only, such as feature:age"},
        },
        additionalProperties=False,
    ),
    "Approval": _object({**_BY, "approved": {**FLAG, "default": True}}, additionalProperties=False),
    "Resend": _object(
        {**_BY, "ids": {"type": ["array", "null"], "items": WHOLE, "description": "all, where absent"}},
        additionalProperties=False,
    ),
    "Reference": _object(
        {
            "by": _BY["by"],
            "task": {**_or_null(TEXT), "enum": ["binary", "multiclass", "regression", None]},
            "streams": _object(
                {name: {"type": "object"} for name in ("features", "prediction", "outcome")},
                description="the law of each stream; `driftd reference MODEL FILE` makes it from a table",
                additionalProperties=False,
            ),
        },
        ("streams",),
        additionalProperties=False,
    ),
    "Done": {"type": "object", "description": "what has come of it"},
    "Alive": _object({"alive": FLAG}, ("alive",)),
    "Ready": _object({"ready": FLAG}, ("ready",)),
    "OpenAPI": {"type": "object"},
    "Problem": _object(
        {
            "type": {**TEXT, "enum": [f"urn:driftd:problem:{kind}" for kind in ProblemKind]},
            "title": TEXT,
            "status": WHOLE,
            "detail": {**TEXT, "description": "what is wrong"},
            "hint": {**TEXT, "description": "what to type"},
        },
        ("type", "title", "status", "detail"),
    ),
}
