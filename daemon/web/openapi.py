"""The OpenAPI 3.1 document, made from the table of routes."""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

import msgspec

from daemon.web.examples import EXAMPLES, LABEL, PREDICTION
from daemon.web.guard import Needs
from daemon.web.problem import CONTENT_TYPE, phrase
from daemon.web.route import Route, Tag
from daemon.web.schemas import SCHEMAS

PATTERN: Final = re.compile(r"\{(\w+)(:[^}]*)?\}")
PARAMETERS: Final = {
    "model": "a model's name",
    "version": "a version's name",
    "id": "number of an alarm or a dead letter, or the version that waits for an approval",
    "name": "path of the file",
}
DESCRIPTION: Final = (
    "Watches machine-learning models in production: takes their events, says what moved, and shows what was done.\n\n"
    "Times are epoch seconds unless said otherwise. Errors are `application/problem+json` with a `hint` that says what "
    "to do. Lists answer `{items, total, next}`; pass `next` on as `cursor`."
)
SCHEMES: Final = {
    Needs.API_TOKEN: ("apiToken", "the value of DRIFTD_API_TOKEN"),
    Needs.INGEST_TOKEN: ("ingestToken", "the value of DRIFTD_INGEST_TOKEN, where it is set"),
}


def document(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """The description of ``routes``; ``version`` is that of driftd."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(PATTERN.sub(r"{\1}", route.path), {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "driftd",
            "version": version,
            "description": DESCRIPTION,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": str(tag)} for tag in Tag],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                name: {"type": "http", "scheme": "bearer", "description": meaning} for name, meaning in SCHEMES.values()
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [str(route.tag)],
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": {
            str(int(route.status)): {"description": phrase(route.status), "content": _content(route.answers)},
            **{str(int(status)): _problem(status) for status in route.problems},
        },
        "security": _security(route.needs),
    }
    if route.handler.__doc__:
        operation["description"] = " ".join(route.handler.__doc__.split())
    if route.takes is not None:
        operation["requestBody"] = _events() if route.takes == "Event" else _body(route)
    return operation


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "description": PARAMETERS[name]}
        for name, _ in PATTERN.findall(route.path)
    ]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": one.name, "in": "query", "schema": dict(one.schema), "description": one.meaning} for one in route.query
    ]


def _content(answers: str) -> dict[str, Any]:
    if "/" in answers:
        return {answers: {"schema": {"type": "string"}}}
    media: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{answers}"}}
    if answers in EXAMPLES:
        media["example"] = EXAMPLES[answers]
    return {"application/json": media}


def _problem(status: HTTPStatus) -> dict[str, Any]:
    media = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {"description": phrase(status), "content": {CONTENT_TYPE: media}}


def _security(needs: Needs) -> list[dict[str, list[str]]]:
    if needs is Needs.NOTHING:
        return []
    asked: list[dict[str, list[str]]] = [{SCHEMES[needs][0]: []}]
    return [*asked, {}] if needs is Needs.INGEST_TOKEN else asked


def _body(route: Route) -> dict[str, Any]:
    [content] = _content(route.takes or "").values()
    return {"required": route.takes == "Reference", "content": {route.media: content}}


def _events() -> dict[str, Any]:
    event = {"$ref": "#/components/schemas/Event"}
    lines = "\n".join(msgspec.json.encode(one).decode() for one in (PREDICTION, LABEL))
    envelope = {"specversion": "1.0", "id": "8c1f", "source": "/loans", "type": "prediction", "data": PREDICTION}
    several = {"type": "array", "items": event}
    return {
        "required": True,
        "description": "One event, an array, or NDJSON; Content-Encoding gzip and deflate are understood.",
        "content": {
            "application/json": {
                "schema": {"oneOf": [event, several]},
                "examples": {
                    "one event": {"value": PREDICTION},
                    "several": {"value": [PREDICTION, LABEL]},
                },
            },
            "application/x-ndjson": {"schema": {"type": "string"}, "example": lines},
            "application/cloudevents+json": {"schema": {"type": "object"}, "example": envelope},
            "application/cloudevents-batch+json": {"schema": {"type": "array"}, "example": [envelope]},
        },
    }
