"""Other notations of the same events: the neighbours' field names, CloudEvents, logged requests and responses."""

import json
import math
from datetime import UTC, datetime
from typing import Any

MILLISECONDS_FROM = 100_000_000_000.0  # as seconds this is the year 5138
MAX_FEATURES = 5_000

ALIASES = {
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
FIELDS = {"type", "id", "model", "version", "ts", "features", "prediction", "score", "label", "segment"}


class NotAnEvent(ValueError):
    """The line cannot be read as an event; ``reason`` is the name of a RejectReason."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def normalise(line: bytes) -> list[dict[str, Any]]:
    """The event or events of a line as plain objects with our own field names.

    Raises NotAnEvent where the line is not JSON, no object, or holds a time that is none.
    """
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise NotAnEvent("not_json", f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise NotAnEvent("not_an_object", f"expected an object, got {_kind(document)}")
    outer: dict[str, Any] = {}
    if "specversion" in document:
        outer, document = _cloud_event(document)
    if "inputs" in document or "instances" in document:
        found = _requests(document)
    elif "outputs" in document or "predictions" in document:
        found = _responses(document)
    else:
        found = [document]
    return [_event({**outer, **one}) for one in found]


def _cloud_event(document: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """CloudEvents 1.0: the attributes that mean something here, and the data."""
    data = document.get("data")
    if not isinstance(data, dict):
        raise NotAnEvent("wrong_type", f"CloudEvents `data` must be an object, got {_kind(data)}")
    outer = {}
    # KServe's logger: https://kserve.github.io names the service in these attributes
    for attribute, field in (("id", "id"), ("time", "ts"), ("inferenceservicename", "model"), ("modelid", "model")):
        if attribute in document:
            outer[field] = document[attribute]
    return outer, data


def _requests(document: dict[str, Any]) -> list[dict[str, Any]]:
    """A request body of the Open Inference Protocol (`inputs`) or of the TensorFlow one (`instances`)."""
    rest = {name: document[name] for name in ("id", "model_name", "model_version") if name in document}
    if "instances" in document:
        rows = [
            instance if isinstance(instance, dict) else dict(zip(map(str, range(_length(instance))), instance, strict=True))
            for instance in _rows(document["instances"])
        ]
    else:
        rows = _tensor_rows(document["inputs"])
    return [{**rest, **_numbered(rest, number, len(rows)), "type": "features", "features": row} for number, row in enumerate(rows)]


def _responses(document: dict[str, Any]) -> list[dict[str, Any]]:
    """A response body of the Open Inference Protocol (`outputs`) or of the TensorFlow one (`predictions`)."""
    rest = {name: document[name] for name in ("id", "model_name", "model_version") if name in document}
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
        raise NotAnEvent("wrong_type", f"expected an array of rows, got {_kind(value)}")
    return value


def _length(value: object) -> int:
    if not isinstance(value, list):
        raise NotAnEvent("wrong_type", f"expected a row of features, got {_kind(value)}")
    return len(value)


def _tensor_rows(tensors: object) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for tensor in _rows(tensors):
        if not isinstance(tensor, dict) or not isinstance(tensor.get("data"), list):
            raise NotAnEvent("wrong_type", "each tensor needs a `name`, a `shape` and `data`")
        name, data = str(tensor.get("name", "input")), tensor["data"]
        shape = tensor.get("shape")
        count = shape[0] if isinstance(shape, list) and shape and isinstance(shape[0], int) and shape[0] > 0 else len(data)
        flat = [item for one in data for item in one] if data and isinstance(data[0], list) else data
        if count == 0 or len(flat) % count:
            raise NotAnEvent("wrong_type", f"tensor `{name}` holds {len(flat)} values, its shape says {count} rows")
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
    for field in ("prediction", "label", "score", "version"):
        if isinstance(event.get(field), float) and not math.isfinite(event[field]):
            if field in ("prediction", "label"):
                raise NotAnEvent("wrong_type", f"`{field}` is {event[field]}: a finite number is expected")
            event[field] = None
    if isinstance(event.get("id"), bool):
        event["id"] = "true" if event["id"] else "false"
    if isinstance(event.get("ts"), str | int | float):
        event["ts"] = _time(event["ts"])
    features = event.get("features")
    if isinstance(features, dict):
        if len(features) > MAX_FEATURES:
            raise NotAnEvent("too_many_features", f"{len(features)} features, at most {MAX_FEATURES} are taken")
        event["features"] = {name: _feature(value) for name, value in features.items()}
    if "type" not in event:
        if "label" in event and "prediction" not in event and "score" not in event:
            event["type"] = "label"
    return event


def _feature(value: object) -> object:
    # JSON has no NaN and no infinities; Python's own encoder writes them all the same
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity"
    return value


def _time(ts: str | float) -> float:
    if isinstance(ts, str):
        try:
            parsed = datetime.fromisoformat(ts)
        except ValueError:
            raise NotAnEvent("bad_time", f"`ts` is {ts[:60]!r}: ISO 8601 or epoch seconds are expected") from None
        return (parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(ts):
        raise NotAnEvent("bad_time", f"`ts` is {ts}: ISO 8601 or epoch seconds are expected")
    return ts / 1000 if ts >= MILLISECONDS_FROM else float(ts)


def _kind(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
