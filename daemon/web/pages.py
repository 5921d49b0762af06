"""The pages that people look at, and the parts of them that are renewed."""

from functools import cache
from typing import Any, Final

import msgspec
from aiohttp import web

from daemon.web.context import CONTEXT
from daemon.web.detail import detail
from daemon.web.fleet import lag
from daemon.web.openapi import document
from daemon.web.overview import FEW_MODELS, overview
from daemon.web.reads import installed_version, unknown_model
from daemon.web.rendering import render
from daemon.web.route import Query
from daemon.web.status import model_status
from daemon.web.words import STATES

TEXT: Final = {"type": "string"}
FIND: Final = (
    Query("q", "models whose name holds this", TEXT),
    Query("state", "models in this state", {"type": "string", "enum": ["", *STATES]}),
    Query("show", "all: every model that was found", TEXT),
)
CHOSEN: Final = (Query("signal", "the signal whose course is drawn", TEXT),)


async def get_overview(request: web.Request) -> web.Response:
    """Every model at a glance."""
    return render("overview.html", await _overview(request))


async def get_overview_fragment(request: web.Request) -> web.Response:
    """What changes on it."""
    return render("fragments/overview.html", await _overview(request))


async def get_model_page(request: web.Request) -> web.Response:
    """One model."""
    return render("model.html", await _model(request))


async def get_model_fragment(request: web.Request) -> web.Response:
    """What changes on it."""
    return render("fragments/model.html", await _model(request))


async def get_openapi(request: web.Request) -> web.Response:
    """The description of every route."""
    del request
    return web.Response(body=_document(), content_type="application/json")


@cache
def _document() -> bytes:
    from daemon.web.routes import ROUTES  # the table has this very route in it

    return msgspec.json.encode(document(ROUTES, installed_version()))


async def _overview(request: web.Request) -> dict[str, Any]:
    context = request.app[CONTEXT]
    search, state = request.query.get("q", "")[:200], request.query.get("state", "")
    everything = request.query.get("show") == "all"
    async with context.store.read() as connection:
        page = await overview(connection, context, search=search, state=state, everything=everything)
    return {
        "page": page,
        "now": context.clock(),
        "search": search,
        "state": state,
        "show": "all" if everything else "",
        "find": page.models > FEW_MODELS,
        "address": (context.access.public_url or f"{request.scheme}://{request.host}").rstrip("/"),
        "token": bool(context.access.ingest_token),
        "mode": context.mode,
        "version": installed_version(),
    }


async def _model(request: web.Request) -> dict[str, Any]:
    context = request.app[CONTEXT]
    name = request.match_info["model"]
    async with context.store.read() as connection:
        status = await model_status(connection, name, lag=await lag(connection, context))
        if status is None:
            raise await unknown_model(connection, name)
        page = await detail(connection, context, status, request.query.get("signal", ""))
    return {
        "page": page,
        "status": status,
        "now": context.clock(),
        "mode": context.mode,
        "version": installed_version(),
    }
