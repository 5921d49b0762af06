"""What a route is: one line of the table that both serves and describes the interface."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from aiohttp import web

from daemon.web.guard import Needs, authorize

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Tag(StrEnum):
    """What a route is about."""

    EVENTS = "Events"
    MODELS = "Models"
    BY_HAND = "By hand"
    FLEET = "Fleet"
    HEALTH = "Health"
    PAGE = "Status page"


@dataclass(frozen=True, slots=True)
class Query:
    """One query parameter."""

    name: str
    meaning: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Route:
    """One route.

    ``answers`` and ``takes`` name schemas (see ``schemas.py``) or, with a slash in them, content types; ``status`` is
    that of success, ``media`` the type of what it takes, ``problems`` the other statuses that it may answer.
    """

    method: str
    path: str
    handler: Handler
    name: str
    summary: str
    tag: Tag
    answers: str
    status: HTTPStatus = HTTPStatus.OK
    takes: str | None = None
    media: str = "application/json"
    query: tuple[Query, ...] = ()
    needs: Needs = Needs.NOTHING
    problems: tuple[HTTPStatus, ...] = field(default=())

    def register(self, app: web.Application) -> None:
        """Serve it. A GET answers HEAD too."""
        handler = self._guarded()
        if self.method == "GET":
            app.router.add_get(self.path, handler)
        else:
            app.router.add_route(self.method, self.path, handler)

    def _guarded(self) -> Handler:
        if self.needs is Needs.NOTHING:
            return self.handler

        async def guarded(request: web.Request) -> web.StreamResponse:
            authorize(request, self.needs)
            return await self.handler(request)

        return guarded
