"""The routes that only read."""

from collections.abc import Awaitable, Callable
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.stores.tables import models
from daemon.web.context import CONTEXT
from daemon.web.fleet import described, fleet, lag, lag_of
from daemon.web.listings import DEAD_LETTERS
from daemon.web.measured import NO_SEGMENTS, correlation_rows, references, segments
from daemon.web.paging import PAGING, Filter, Listing, page, parameters
from daemon.web.problem import Problem, answer, not_found
from daemon.web.status import model_status, statuses, totals

MODELS: Final = Listing(
    "models",
    models,
    (models.c.model,),
    (Filter("state", "such as steady or alarm", lambda value: models.c.state == value, {"type": "string"}),),
    dict,
    newest_first=False,
)


async def get_status(request: web.Request) -> web.Response:
    """Every model, and the daemon as a whole."""
    parameters(request, ())
    context = request.app[CONTEXT]
    async with context.store.read() as connection:
        workers = await fleet(connection, context)
        found = await statuses(connection, lag=lag_of(workers, context))
        sums = await totals(connection)
    return answer(
        {
            "models": found,
            "version": installed_version(),
            "mode": context.mode,
            "ready": context.not_ready() is None,
            "lag": lag_of(workers, context),
            "fleet": described(workers),
            "events": {name: sums.get(name, 0) for name in ("prediction", "features", "label")},
            "dead_letters": sums.get("dead_letters", 0),
            "time": context.clock(),
        }
    )


async def get_workers(request: web.Request) -> web.Response:
    """Who is there, what each reads and owns, and what nobody does. Of a daemon alone: nobody."""
    parameters(request, ())
    context = request.app[CONTEXT]
    async with context.store.read() as connection:
        workers = await fleet(connection, context)
    return answer({**described(workers), "lag": lag_of(workers, context), "time": context.clock()})


async def get_models(request: web.Request) -> web.Response:
    """Models in pages, in the order of their names."""
    context = request.app[CONTEXT]
    query = parameters(request, names(MODELS))
    async with context.store.read() as connection:
        found = await page(connection, MODELS, (), query)
        known = [item["model"] for item in found["items"]]
        listed = await statuses(connection, known, lag=await lag(connection, context))
    return answer({**found, "items": listed if query.get("order") != "desc" else listed[::-1]})


async def get_model(request: web.Request) -> web.Response:
    """One model."""
    parameters(request, ())
    context = request.app[CONTEXT]
    name = request.match_info["model"]
    async with context.store.read() as connection:
        found = await model_status(connection, name, lag=await lag(connection, context))
        if found is None:
            raise await unknown_model(connection, name)
    return answer(found)


async def get_segments(request: web.Request) -> web.Response:
    """How many rows each segment has, what moved in it, how often the model says yes and errs there, and the gaps.

    Intervals are of 95 %. A figure is null where a segment has fewer than `least_rows` rows.
    """
    parameters(request, ())
    name = request.match_info["model"]
    async with request.app[CONTEXT].store.read() as connection:
        if not await is_known(connection, name):
            raise await unknown_model(connection, name)
        found = await segments(connection, name)
    return answer({"model": name, **(NO_SEGMENTS if found is None else found)})


async def get_reference(request: web.Request) -> web.Response:
    """What each signal is held against: how many rows it was learned from, and how much they resemble each other.

    Rows that resemble their neighbours tell less than independent ones would: evidence is divided by
    `correlation_rows`, so that the budget of false alarms holds.
    """
    parameters(request, ())
    name = request.match_info["model"]
    async with request.app[CONTEXT].store.read() as connection:
        if not await is_known(connection, name):
            raise await unknown_model(connection, name)
        found = await references(connection, name)
    signals = [
        {
            "signal": signal,
            "stream": str(reference.stream),
            "rows": reference.rows,
            "kind": reference.kinds[s],
            "bins": reference.bins[s].labels(),
            "counts": reference.counts[s, : reference.bins[s].width].tolist(),
            "correlation_rows": round(correlation_rows(reference, s), 2),
        }
        for reference in {one.stream: one for one in found.values()}.values()
        for s, signal in enumerate(reference.signals)
    ]
    return answer({"model": name, "signals": signals})


def of_model(listing: Listing) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The route of one of a model's lists."""

    async def get_list(request: web.Request) -> web.Response:
        query = parameters(request, names(listing))
        name = request.match_info["model"]
        async with request.app[CONTEXT].store.read() as connection:
            if not await is_known(connection, name):
                raise await unknown_model(connection, name)
            return answer(await page(connection, listing, (listing.table.c.model == name,), query))

    return get_list


async def get_dead_letters(request: web.Request) -> web.Response:
    """What was put aside, and why."""
    query = parameters(request, names(DEAD_LETTERS))
    async with request.app[CONTEXT].store.read() as connection:
        return answer(await page(connection, DEAD_LETTERS, (), query))


def names(listing: Listing) -> tuple[str, ...]:
    """The query parameters of a list."""
    return (*(one.name for one in listing.filters), *PAGING)


async def is_known(connection: AsyncConnection, model: str) -> bool:
    """Whether an event of this model was ever taken."""
    return await connection.scalar(select(models.c.model).where(models.c.model == model)) is not None


async def unknown_model(connection: AsyncConnection, model: str) -> Problem:
    """A 404 that names the nearest model there is."""
    known = list(await connection.scalars(select(models.c.model).order_by(models.c.model).limit(1_000)))
    near = get_close_matches(model, known, n=1, cutoff=0.5)
    if near:
        hint = f"did you mean {near[0]}?"
    elif known:
        hint = f"known are {', '.join(known[:10])}{' and others' if len(known) > 10 else ''}"  # noqa: PLR2004
    else:
        hint = "no event has come yet: a model appears with its first one"
    return not_found(f"no model is called {model[:80]!r}", hint)


def installed_version() -> str:
    """The version of this installation."""
    try:
        return version("driftd")
    except PackageNotFoundError:
        return "unknown"
