"""Who may ask for what: tokens, the Host header, other sites' scripts, and what a browser is told not to do."""

import hmac
from enum import StrEnum
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from daemon.web.context import CONTEXT, Access
from daemon.web.faults import Handler
from daemon.web.problem import Problem, ProblemKind

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

HEADERS: Final = {
    # nothing inline, nothing from elsewhere: a model named <script> is only a name
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Needs(StrEnum):
    """Which token a route asks for."""

    NOTHING = "nothing"
    API_TOKEN = "api token"  # noqa: S105 (a name, not a secret)
    INGEST_TOKEN = "ingest token, where one is set"  # noqa: S105 (likewise)


@web.middleware
async def harden(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Put the security headers on every answer, errors included."""
    response = await handler(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    return response


@web.middleware
async def same_site(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn away what a page of another site makes a browser send.

    A site can point its own name at 127.0.0.1 and then read everything here (DNS rebinding): its name is in the Host
    header. And any site can make a browser post to 127.0.0.1: its address is in the Origin header.
    """
    access = request.app[CONTEXT].access
    if is_loopback(access.host) and _name(request.host) not in _own_names(access):
        raise Problem(
            HTTPStatus.MISDIRECTED_REQUEST,
            ProblemKind.WRONG_HOST,
            f"this daemon is not {request.host[:200]!r}: it listens on loopback only, under its own names",
            hint="use http://127.0.0.1 and its port, or set DRIFTD_PUBLIC_URL to the address people use",
        )
    if request.method not in SAFE_METHODS and _from_elsewhere(request, access):
        raise Problem(
            HTTPStatus.FORBIDDEN,
            ProblemKind.CROSS_SITE,
            "this request comes from a page of another site",
            hint="send it from a program, without an Origin header",
        )
    return await handler(request)


def authorize(request: web.Request, needs: Needs) -> None:
    """Raise a Problem unless the request carries the token that the route needs."""
    access = request.app[CONTEXT].access
    if needs is Needs.API_TOKEN:
        if _carries(request, access.api_token) or _carries(request, access.local_token):
            return
        if not access.api_token:
            raise Problem(
                HTTPStatus.FORBIDDEN,
                ProblemKind.NO_TOKEN_CONFIGURED,
                "changes by HTTP are off, because no token is configured",
                hint="set DRIFTD_API_TOKEN, restart, and send `Authorization: Bearer TOKEN`",
            )
        raise _unauthorized(request, "DRIFTD_API_TOKEN")
    if needs is Needs.INGEST_TOKEN and access.ingest_token and not _carries(request, access.ingest_token):
        raise _unauthorized(request, "DRIFTD_INGEST_TOKEN")


def _carries(request: web.Request, expected: str | None) -> bool:
    if not expected:
        return False
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    # compared as bytes in constant time: text that is not ASCII would raise, an early exit would tell how much fits
    same = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), expected.encode())
    return same and scheme.lower() == "bearer"


def _unauthorized(request: web.Request, setting: str) -> Problem:
    return Problem(
        HTTPStatus.UNAUTHORIZED,
        ProblemKind.UNAUTHORIZED,
        "the token is wrong" if "Authorization" in request.headers else "a token is needed",
        hint=f"send `Authorization: Bearer TOKEN` with the value of {setting}",
        headers={"WWW-Authenticate": 'Bearer realm="driftd"'},
    )


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _own_names(access: Access) -> set[str]:
    names = {*LOOPBACK_NAMES, access.host.lower()}
    if access.public_url:
        names.add((urlsplit(access.public_url).hostname or "").lower())
    return names


def _name(host: str) -> str:
    """The name in a Host header, without port and brackets; empty where it makes no sense."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _from_elsewhere(request: web.Request, access: Access) -> bool:
    if request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
        return True
    origin = request.headers.get("Origin")
    if origin is None:
        return False
    public = urlsplit(access.public_url).netloc if access.public_url else request.host
    return origin == "null" or urlsplit(origin).netloc not in {request.host, public}
