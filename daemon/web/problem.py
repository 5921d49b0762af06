"""Errors as ``application/problem+json`` (RFC 9457), each with what to type next."""

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp import web

CONTENT_TYPE: Final = "application/problem+json"


class ProblemKind(StrEnum):
    """What went wrong, by name; the ``type`` of the answer is ``urn:driftd:problem:NAME``."""

    BAD_REQUEST = "bad-request"
    BAD_CURSOR = "bad-cursor"
    BAD_ENCODING = "bad-encoding"
    BODY_TIMEOUT = "body-timeout"
    CROSS_SITE = "cross-site"
    EMPTY_BODY = "empty-body"
    INTERNAL = "internal"
    LOG_FULL = "log-full"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    NO_TOKEN_CONFIGURED = "no-token-configured"  # noqa: S105 (a name, not a secret)
    NOT_ACKNOWLEDGED = "not-acknowledged"
    NOT_FOUND = "not-found"
    NOT_READY = "not-ready"
    REFUSED = "refused"
    SLOW_DOWN = "slow-down"
    STOPPING = "stopping"
    STORE_UNAVAILABLE = "store-unavailable"
    TOO_LARGE = "too-large"
    UNAUTHORIZED = "unauthorized"
    UNSUPPORTED_ENCODING = "unsupported-encoding"
    UNSUPPORTED_TYPE = "unsupported-type"
    WRONG_HOST = "wrong-host"


def phrase(status: HTTPStatus) -> str:
    """What a status is called (RFC 9110), the same on every Python: 3.13 has renamed one."""
    return "Content Too Large" if status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE else status.phrase


class Problem(Exception):
    """An error for the person or program at the other end: ``detail`` says what is wrong, ``hint`` what to type."""

    def __init__(
        self,
        status: HTTPStatus,
        kind: ProblemKind,
        detail: str,
        *,
        hint: str = "",
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.hint = hint
        self.headers = dict(headers or {})
        self.members = members

    def response(self) -> web.Response:
        """The answer."""
        body = {
            "type": f"urn:driftd:problem:{self.kind}",
            "title": phrase(self.status),
            "status": int(self.status),
            "detail": self.detail,
        }
        if self.hint:
            body["hint"] = self.hint
        return web.Response(
            status=self.status,
            body=msgspec.json.encode({**body, **self.members}),
            headers=self.headers,
            content_type=CONTENT_TYPE,
        )


def not_found(what: str, hint: str = "") -> Problem:
    """There is no such thing."""
    return Problem(HTTPStatus.NOT_FOUND, ProblemKind.NOT_FOUND, what, hint=hint)


def bad_request(detail: str, hint: str = "") -> Problem:
    """The request cannot be understood."""
    return Problem(HTTPStatus.BAD_REQUEST, ProblemKind.BAD_REQUEST, detail, hint=hint)


def answer(value: object, status: int = 200) -> web.Response:
    """``value`` as JSON. Numbers that JSON has not (NaN, infinity) are null."""
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")
