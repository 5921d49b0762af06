"""Turns every way in which a request can fail into a Problem, and counts requests."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from difflib import get_close_matches
from http import HTTPStatus
from typing import Final

from aiohttp import web
from sqlalchemy.exc import DBAPIError

from daemon import metrics
from daemon.stores.errors import StoreAway
from daemon.transports.errors import AppendFailed, Backlog, LogClosed, LogFull, NotAcknowledged, RecordTooLarge
from daemon.web.context import CONTEXT, Refused
from daemon.web.page_errors import error_page, wants_page
from daemon.web.problem import Problem, ProblemKind, not_found, phrase

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

STORE_RETRY_SECONDS: Final = 5
UNMATCHED: Final = "unmatched"

log = logging.getLogger(__name__)


@web.middleware
async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count what was answered, by the route's template: a path of a stranger's choice must not make a series."""
    numbers = request.app[CONTEXT].metrics
    started = time.perf_counter()
    response = await handler(request)
    route = _template(request)
    numbers.add(metrics.HTTP_REQUESTS, 1, _method(request), route, str(response.status))
    numbers.observe(metrics.HTTP_SECONDS, time.perf_counter() - started, route)
    return response


@web.middleware
async def report(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer with a Problem, or with a page that says the same where a browser shows one, instead of failing."""
    try:
        return await handler(request)
    except asyncio.CancelledError:
        raise
    except Exception as error:  # noqa: BLE001 (the last resort: the next request must be served)
        problem = problem_of(request, error)
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("%s %s: %s", request.method, request.path, problem.detail)
    if wants_page(request):
        return error_page(problem)
    return problem.response()


def problem_of(request: web.Request, error: Exception) -> Problem:  # noqa: PLR0911 (a table, one line for each)
    """What ``error`` means to whoever sent the request."""
    match error:
        case Problem():
            return error
        case Refused():
            return Problem(
                HTTPStatus.CONFLICT, ProblemKind.REFUSED, error.detail, hint=error.hint, reason=str(error.reason)
            )
        case Backlog():
            return Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                ProblemKind.SLOW_DOWN,
                str(error),
                hint="send the same events again after Retry-After seconds",
                headers={"Retry-After": str(max(1, round(error.retry_after)))},
            )
        case NotAcknowledged():
            return _unavailable(ProblemKind.NOT_ACKNOWLEDGED, str(error), "send the same events again in a few seconds")
        case RecordTooLarge():
            hint = "send smaller events, or have the topic take larger ones"
            return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, ProblemKind.TOO_LARGE, str(error), hint=hint)
        case LogFull() | AppendFailed():
            return _unavailable(
                ProblemKind.LOG_FULL, str(error), "free some disk space, then send the same events again"
            )
        case LogClosed():
            return _unavailable(ProblemKind.STOPPING, str(error), "send the same events again in a few seconds")
        case web.HTTPException():
            return _of_http(request, error)
        case DBAPIError() | StoreAway() | TimeoutError():
            return _unavailable(
                ProblemKind.STORE_UNAVAILABLE,
                "the store does not answer: events are still taken, and worked on once it is back",
                "`driftd doctor` says what is wrong with it",
            )
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        ProblemKind.INTERNAL,
        "something went wrong that should not have; the log says what",
        hint="`driftd doctor` looks for the usual causes",
    )


def _unavailable(kind: ProblemKind, detail: str, hint: str) -> Problem:
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE, kind, detail, hint=hint, headers={"Retry-After": str(STORE_RETRY_SECONDS)}
    )


def _of_http(request: web.Request, error: web.HTTPException) -> Problem:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return Problem(
            HTTPStatus.METHOD_NOT_ALLOWED,
            ProblemKind.METHOD_NOT_ALLOWED,
            f"{request.path} does not take {request.method}",
            hint=f"use {allowed}",
            headers={"Allow": allowed},
        )
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return too_large(request.app[CONTEXT].limits.body_bytes)
    if isinstance(error, web.HTTPNotFound):
        return not_found(f"there is nothing at {request.path}", _nearest(request))
    status = HTTPStatus(error.status)
    return Problem(status, ProblemKind.BAD_REQUEST, error.text or phrase(status))


def too_large(limit: int, *, decompressed: bool = False) -> Problem:
    """A body of more than ``limit`` bytes."""
    setting = "DRIFTD_LIMITS__DECOMPRESSED_MB" if decompressed else "DRIFTD_LIMITS__BODY_MB"
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        ProblemKind.TOO_LARGE,
        f"the body is larger than {limit:,} bytes{' once decompressed' if decompressed else ''}",
        hint=f"send the events in several requests, or raise {setting}",
        limit=limit,
    )


def _nearest(request: web.Request) -> str:
    known = sorted({resource.canonical for resource in request.app.router.resources()})
    near = get_close_matches(request.path, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}? /openapi.json lists every route" if near else "/openapi.json lists every route"


def _template(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else UNMATCHED


def _method(request: web.Request) -> str:
    return request.method if request.method in {"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"} else "OTHER"
