"""Every route, on one page."""

from http import HTTPStatus
from typing import Final

from daemon.web import byhand, health, ingest, pages, reads
from daemon.web.assets import get_asset
from daemon.web.guard import Needs
from daemon.web.listings import ALARMS, DEAD_LETTERS, DECISIONS, RETRAINS, SIGNALS, VERSIONS
from daemon.web.paging import DEFAULT_LIMIT, MOST_ITEMS, Listing
from daemon.web.route import Query, Route, Tag

HTML: Final = "text/html"
BAD: Final = HTTPStatus.BAD_REQUEST
UNKNOWN: Final = HTTPStatus.NOT_FOUND
UNAVAILABLE: Final = HTTPStatus.SERVICE_UNAVAILABLE
TOKEN: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
BY_HAND: Final = (BAD, *TOKEN, UNKNOWN, HTTPStatus.CONFLICT, UNAVAILABLE)
BODY: Final = (
    BAD,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.TOO_MANY_REQUESTS,
    UNAVAILABLE,
)


def _query(listing: Listing) -> tuple[Query, ...]:
    return (
        *(Query(one.name, one.meaning, one.schema) for one in listing.filters),
        Query(
            "limit", "items a page", {"type": "integer", "minimum": 1, "maximum": MOST_ITEMS, "default": DEFAULT_LIMIT}
        ),
        Query("cursor", "`next` of the page before, unchanged", {"type": "string"}),
        Query(
            "order",
            "newest first (desc) or oldest first (asc)" if listing.newest_first else "by name, up or down",
            {"type": "string", "enum": ["asc", "desc"], "default": "desc" if listing.newest_first else "asc"},
        ),
    )


def _list(listing: Listing, schema: str, summary: str) -> Route:
    return Route(
        "GET",
        f"/v1/models/{{model}}/{listing.name}",
        reads.of_model(listing),
        f"list-{listing.name}",
        summary,
        Tag.MODELS,
        schema,
        query=_query(listing),
        problems=(BAD, UNKNOWN, UNAVAILABLE),
    )


def _by_hand(path: str, handler: byhand.Handler, name: str, summary: str, takes: str, status: HTTPStatus) -> Route:
    return Route(
        "POST",
        path,
        handler,
        name,
        summary,
        Tag.BY_HAND,
        "Done",
        status,
        takes,
        needs=Needs.API_TOKEN,
        problems=BY_HAND,
    )


OK, ACCEPTED, CREATED = HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.CREATED

ROUTES: Final = (
    Route(
        "POST",
        "/v1/events",
        ingest.post_events,
        "send-events",
        "Send events; answers once they are durable",
        Tag.EVENTS,
        "Taken",
        ACCEPTED,
        "Event",
        needs=Needs.INGEST_TOKEN,
        problems=BODY,
    ),
    Route(
        "GET",
        "/v1/dead-letters",
        reads.get_dead_letters,
        "list-dead-letters",
        "What was put aside, and why",
        Tag.EVENTS,
        "DeadLetters",
        query=_query(DEAD_LETTERS),
        problems=(BAD, UNAVAILABLE),
    ),
    _by_hand("/v1/dead-letters/resend", byhand.resend, "resend-all", "Send dead letters again", "Resend", ACCEPTED),
    _by_hand(
        "/v1/dead-letters/{id}/resend", byhand.resend_one, "resend", "Send one dead letter again", "Asked", ACCEPTED
    ),
    Route(
        "GET",
        "/v1/status",
        reads.get_status,
        "status",
        "Every model, and the daemon",
        Tag.MODELS,
        "Status",
        problems=(BAD, UNAVAILABLE),
    ),
    Route(
        "GET",
        "/v1/workers",
        reads.get_workers,
        "workers",
        "Who does what, where several daemons share the work",
        Tag.FLEET,
        "Workers",
        problems=(BAD, UNAVAILABLE),
    ),
    Route(
        "GET",
        "/v1/models",
        reads.get_models,
        "list-models",
        "Models in pages",
        Tag.MODELS,
        "Models",
        query=_query(reads.MODELS),
        problems=(BAD, UNAVAILABLE),
    ),
    Route(
        "GET",
        "/v1/models/{model}",
        reads.get_model,
        "model",
        "One model",
        Tag.MODELS,
        "Model",
        problems=(BAD, UNKNOWN, UNAVAILABLE),
    ),
    Route(
        "GET",
        "/v1/models/{model}/segments",
        reads.get_segments,
        "segments",
        "How the model does by segments of its traffic",
        Tag.MODELS,
        "Segments",
        problems=(BAD, UNKNOWN, UNAVAILABLE),
    ),
    Route(
        "GET",
        "/v1/models/{model}/reference",
        reads.get_reference,
        "reference",
        "What the model is held against",
        Tag.MODELS,
        "LearnedReference",
        problems=(BAD, UNKNOWN, UNAVAILABLE),
    ),
    _list(SIGNALS, "Signals", "What was measured, a chunk of rows at a time"),
    _list(ALARMS, "Alarms", "What was raised"),
    _list(DECISIONS, "Decisions", "What was decided, and why"),
    _list(RETRAINS, "Retrains", "What was trained, and what the gate said"),
    _list(VERSIONS, "Versions", "What is in service, and what was before"),
    _by_hand("/v1/models/{model}/retrain", byhand.retrain, "retrain", "Ask for a retrain", "Asked", ACCEPTED),
    _by_hand("/v1/models/{model}/rollback", byhand.rollback, "rollback", "Go back to the version before", "Asked", OK),
    _by_hand(
        "/v1/models/{model}/versions/{version}/promote",
        byhand.promote,
        "promote",
        "Put a version into service",
        "Asked",
        OK,
    ),
    _by_hand(
        "/v1/models/{model}/alarms/{id}/ack",
        byhand.acknowledge,
        "acknowledge",
        "Say that you saw an alarm",
        "Asked",
        OK,
    ),
    _by_hand("/v1/models/{model}/silences", byhand.silence, "silence", "Be quiet for a time", "Silence", CREATED),
    _by_hand(
        "/v1/models/{model}/approvals/{id}",
        byhand.approve,
        "approve",
        "Say yes or no to a version that waits for it",
        "Approval",
        OK,
    ),
    Route(
        "PUT",
        "/v1/models/{model}/reference",
        byhand.set_reference,
        "set-reference",
        "Set the reference of a model",
        Tag.BY_HAND,
        "Done",
        OK,
        "Reference",
        byhand.MSGPACK,
        needs=Needs.API_TOKEN,
        problems=(BAD, *TOKEN, HTTPStatus.CONFLICT, UNAVAILABLE),
    ),
    Route(
        "GET", "/livez", health.get_livez, "livez", "Is it getting on?", Tag.HEALTH, "Alive", problems=(UNAVAILABLE,)
    ),
    Route("GET", "/readyz", health.get_readyz, "readyz", "Is it ready?", Tag.HEALTH, "Ready", problems=(UNAVAILABLE,)),
    Route("GET", "/metrics", health.get_metrics, "metrics", "Prometheus metrics", Tag.HEALTH, "text/plain"),
    Route("GET", "/openapi.json", pages.get_openapi, "openapi", "This document", Tag.HEALTH, "OpenAPI"),
    Route("GET", "/", pages.get_overview, "overview", "Every model at a glance", Tag.PAGE, HTML, query=pages.FIND),
    Route(
        "GET",
        "/models/{model}",
        pages.get_model_page,
        "model-page",
        "One model",
        Tag.PAGE,
        HTML,
        query=pages.CHOSEN,
        problems=(UNKNOWN,),
    ),
    Route(
        "GET",
        "/fragments/overview",
        pages.get_overview_fragment,
        "overview-fragment",
        "What changes on the first page",
        Tag.PAGE,
        HTML,
        query=pages.FIND,
    ),
    Route(
        "GET",
        "/fragments/models/{model}",
        pages.get_model_fragment,
        "model-fragment",
        "What changes on a model's page",
        Tag.PAGE,
        HTML,
        query=pages.CHOSEN,
        problems=(UNKNOWN,),
    ),
    Route("GET", "/static/{name:.+}", get_asset, "asset", "A file of the page", Tag.PAGE, "*/*", problems=(UNKNOWN,)),
)
