"""Other notations of the same events: the neighbours' field names, CloudEvents, logged requests and responses."""

import json
import math
from datetime import UTC, datetime
from typing import Any, Final

from daemon.events.event_rules import DEEPEST, INT64, RejectReason, is_deep

MILLISECONDS_FROM: Final = 100_000_000_000.0  # as seconds this is the year 5138
INVALID_FEATURE: Final[list[Any]] = []
"""Stands for a feature's value that is neither a number nor a text, as an array does that was sent."""

ALIASES: Final = {
    # Evidently
    "target": "label",
    # NannyML
    "y_pred": "prediction",
    "y_pred_proba": "score",
    "y_true": "label",
    "timestamp": "ts",
    "identifier": "id",
    # Arize
    "prediction_id": "id",
    "prediction_label": "prediction",
    "prediction_score": "score",
    "actual_label": "label",
    "model_id": "model",
    "model_name": "model",
    "model_version": "version",
    "prediction_timestamp": "ts",
    "time": "ts",
    "tags": "segment",
}
FIELDS: Final = {"type", "id", "model", "version", "ts", "features", "prediction", "score", "label", "segment"}


class NotAnEvent(ValueError):
    """The document cannot be read as an event."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def normalise(document: bytes) -> list[dict[str, Any]]:
    """The event or events of a JSON document as plain objects with our own field names.

    Raises NotAnEvent where it is not JSON, no object, or holds a time that is none.
    """
    return [_event({**outer, **one}) for outer, found in [_unwrap(parse(document))] for one in found]


def parse(text: bytes) -> Any:
    """A JSON document, or what Python's own encoder writes in its place (NaN). Raises NotAnEvent."""
    try:
        document = json.loads(text.decode(), parse_int=_whole)
    except RecursionError:
        raise NotAnEvent(RejectReason.NOT_JSON, f"nested more than {DEEPEST} deep") from None
    except ValueError as error:  # UnicodeDecodeError is one
        raise NotAnEvent(RejectReason.NOT_JSON, f"not JSON: {error}") from error
    if is_deep(document):
        raise NotAnEvent(RejectReason.NOT_JSON, f"nested more than {DEEPEST} deep")
    return document


def _whole(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:  # Python converts no more than some thousand digits
        return -math.inf if digits.startswith("-") else math.inf


def _unwrap(document: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if not isinstance(document, dict):
        raise NotAnEvent(RejectReason.NOT_AN_OBJECT, f"expected an object, got {_kind(document)}")
    outer: dict[str, Any] = {}
    if "specversion" in document:
        outer, document = _cloud_event(document)
    if "inputs" in document or "instances" in document:
        found = _requests(document)
    elif "outputs" in document or "predictions" in document:
        found = _responses(document)
    else:
        found = [document]
        if _is_labelled_prediction({**outer, **document}):
            found = [{**document, "type": "prediction"}, {**document, "type": "label"}]
    return outer, found


def _is_labelled_prediction(document: dict[str, Any]) -> bool:
    """Whether a prediction brings its label along, as rows of an evaluation do: it is taken as two events."""
    if document.get("type", "prediction") != "prediction":
        return False
    given = {ALIASES.get(name, name) for name, value in document.items() if value is not None}
    return "label" in given and not given.isdisjoint({"prediction", "score"})


def _cloud_event(document: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """CloudEvents 1.0: the attributes that mean something here, and the data."""
    data = document.get("data")
    if not isinstance(data, dict):
        raise NotAnEvent(RejectReason.WRONG_TYPE, f"CloudEvents `data` must be an object, got {_kind(data)}")
    outer = {}
    # KServe's logger names the service in the last two
    for attribute, field in (("id", "id"), ("time", "ts"), ("inferenceservicename", "model"), ("modelid", "model")):
        if attribute in document:
            outer[field] = document[attribute]
    return outer, data


def _requests(document: dict[str, Any]) -> list[dict[str, Any]]:
    """A request body of the Open Inference Protocol (`inputs`) or of the TensorFlow one (`instances`)."""
    rest: dict[str, Any] = {name: document[name] for name in ("id", "model_name", "model_version") if name in document}
    if "instances" in document:
        rows = [
            instance
            if isinstance(instance, dict)
            else dict(zip(map(str, range(_length(instance))), instance, strict=True))
            for instance in _rows(document["instances"])
        ]
    else:
        rows = _tensor_rows(document["inputs"])
    return [
        {**rest, **_numbered(rest, number, len(rows)), "type": "features", "features": row}
        for number, row in enumerate(rows)
    ]


def _responses(document: dict[str, Any]) -> list[dict[str, Any]]:
    """A response body of the Open Inference Protocol (`outputs`) or of the TensorFlow one (`predictions`)."""
    rest: dict[str, Any] = {name: document[name] for name in ("id", "model_name", "model_version") if name in document}
    if "predictions" in document:
        predictions = _rows(document["predictions"])
    else:
        predictions = [next(iter(row.values()), None) for row in _tensor_rows(document["outputs"])]
    return [
        {**rest, **_numbered(rest, number, len(predictions)), "type": "prediction", "prediction": prediction}
        for number, prediction in enumerate(predictions)
    ]


def _numbered(rest: dict[str, Any], number: int, rows: int) -> dict[str, Any]:
    # the rows of one request share its id: the row's number tells them apart on both sides
    return {"id": f"{rest['id']}/{number}"} if "id" in rest and rows > 1 else {}


def _rows(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise NotAnEvent(RejectReason.WRONG_TYPE, f"expected an array of rows, got {_kind(value)}")
    return value


def _length(value: object) -> int:
    if not isinstance(value, list):
        raise NotAnEvent(RejectReason.WRONG_TYPE, f"expected a row of features, got {_kind(value)}")
    return len(value)


def _tensor_rows(tensors: object) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for tensor in _rows(tensors):
        if not isinstance(tensor, dict) or not isinstance(tensor.get("data"), list):
            raise NotAnEvent(RejectReason.WRONG_TYPE, "each tensor needs a `name`, a `shape` and `data`")
        name, data = str(tensor.get("name", "input")), tensor["data"]
        shape = tensor.get("shape")
        count = (
            shape[0] if isinstance(shape, list) and shape and isinstance(shape[0], int) and shape[0] > 0 else len(data)
        )
        flat = [item for one in data for item in one] if data and isinstance(data[0], list) else data
        if count == 0 or len(flat) % count:
            raise NotAnEvent(
                RejectReason.WRONG_TYPE, f"tensor `{name}` holds {len(flat)} values, its shape says {count} rows"
            )
        width = len(flat) // count
        rows.extend({} for _ in range(count - len(rows)))
        for number in range(count):
            values = flat[number * width : (number + 1) * width]
            if width == 1:
                rows[number][name] = values[0]
            else:
                rows[number].update({f"{name}_{position}": value for position, value in enumerate(values)})
    return rows


def _event(document: dict[str, Any]) -> dict[str, Any]:
    event: dict[str, Any] = {}
    for name, value in document.items():
        field = name if name in FIELDS else ALIASES.get(name)
        if field is not None and (name == field or field not in document):
            event[field] = value
    for field in ("prediction", "label"):
        event[field] = _scalar(field, event.get(field))
    for field in ("id", "version"):
        event[field] = _identity(field, event.get(field))
    score = event.get("score")
    if isinstance(score, dict):
        event["score"] = {name: _probability(value) for name, value in score.items()}
    else:
        event["score"] = _probability(score)
    if event.get("ts") is not None:
        event["ts"] = _time(event["ts"])
    features = event.get("features")
    if isinstance(features, dict):
        event["features"] = {name: feature_value(value) for name, value in features.items()}
    if "type" not in event and event["label"] is not None and event["prediction"] is None and event["score"] is None:
        event["type"] = "label"
    return {name: value for name, value in event.items() if value is not None}


def _scalar(field: str, value: Any) -> Any:
    if isinstance(value, int) and value not in INT64:
        value = _as_float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise NotAnEvent(RejectReason.WRONG_TYPE, f"`{field}` is {value}: a finite number is expected")
    return value


def _identity(field: str, value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        raise NotAnEvent(RejectReason.WRONG_TYPE, f"`{field}` is {value}: a text or a finite number is expected")
    # JSON writers that stop at 64 bits are no reason to lose digits of an id
    return str(value) if isinstance(value, int) and value not in INT64 else value


def _probability(value: Any) -> Any:
    number = _as_float(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return None if isinstance(number, float) and not math.isfinite(number) else number


def feature_value(value: object) -> object:
    """A feature's value as JSON can hold it; what is no value at all becomes ``INVALID_FEATURE``."""
    # JSON has no NaN and no infinities; Python's own encoder writes them all the same
    if isinstance(value, int) and value not in INT64:
        value = _as_float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else INVALID_FEATURE
    return INVALID_FEATURE if isinstance(value, list | dict) else value


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _time(ts: Any) -> float:
    expected = "ISO 8601 or epoch seconds are expected"
    if isinstance(ts, str):
        try:
            parsed = datetime.fromisoformat(ts)
        except ValueError:
            raise NotAnEvent(RejectReason.BAD_TIME, f"`ts` is {ts[:60]!r}: {expected}") from None
        return (parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)).timestamp()
    if isinstance(ts, bool) or not isinstance(ts, int | float):
        raise NotAnEvent(RejectReason.BAD_TIME, f"`ts` is {_kind(ts)}: {expected}")
    seconds = _as_float(ts) if isinstance(ts, int) else ts
    if not math.isfinite(seconds):
        raise NotAnEvent(RejectReason.BAD_TIME, f"`ts` is {seconds}: {expected}")
    return seconds / 1000 if seconds >= MILLISECONDS_FROM else seconds


def _kind(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
