"""Health, metrics and the description of the interface."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from daemon import metrics
from daemon.fleet.view import Fleet
from daemon.metrics import Metrics
from daemon.web.context import CONTEXT, Context
from daemon.web.fleet import fleet, lag_of
from daemon.web.problem import Problem, ProblemKind, answer
from daemon.web.status import statuses


async def get_livez(request: web.Request) -> web.Response:
    """200 while the daemon gets on with its work; anything else means: restart it."""
    _unless(request.app[CONTEXT].not_alive())
    return answer({"alive": True})


async def get_readyz(request: web.Request) -> web.Response:
    """200 once events are taken and processed, and the store answers; 503 says what it waits for."""
    context = request.app[CONTEXT]
    _unless("the daemon is stopping" if context.stopping() else context.not_ready())
    async with context.store.read() as connection:
        await connection.execute(select(1))
    return answer({"ready": True})


async def get_metrics(request: web.Request) -> web.Response:
    """Every metric, in the format that Accept asks for."""
    context = request.app[CONTEXT]
    try:
        async with context.store.read() as connection:
            found, workers = await statuses(connection), await fleet(connection, context)
    except (DBAPIError, OSError):
        found, workers = [], Fleet()  # what the daemon itself counts is wanted most while the store is away
    context.metrics.set(metrics.LAG, lag_of(workers, context))
    context.metrics.set(metrics.WORKERS_ALIVE, len(workers.alive))
    context.metrics.set(metrics.PARTITIONS_UNREAD, len(workers.unread))
    context.metrics.set(metrics.MODELS_UNOWNED, len(workers.unowned))
    context.metrics.set(metrics.PARCELS_WAITING, workers.parcels)
    context.metrics.set(metrics.PARCEL_EVENTS_WAITING, workers.waiting)
    for gauge in (metrics.PERFORMANCE, metrics.PERFORMANCE_BOUND):
        context.metrics.forget(gauge)  # of a version that took over nothing is known yet
    for one in found:  # as the store has it: whichever worker a model is with, all say the same
        context.metrics.set(metrics.OPEN_ALARMS, one["alarms"]["open"], one["model"])
        context.metrics.set(metrics.WAITING, one["waiting"], one["model"])
        _tell_performance(context, one)
        _tell_estimate(context.metrics, one)
    context.metrics.set(metrics.RETRAINS_RUNNING, sum(one["retrains"]["running"] for one in found))
    body, content_type = context.metrics.exposition(request.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type})


def _tell_performance(context: Context, status: Mapping[str, Any]) -> None:
    performance = status["performance"]
    if performance is None:
        return
    for one in performance.get("metrics") or [performance]:  # what an older release stored is the one alone
        if one["value"] is not None:
            name = status["model"], one["metric"]
            context.metrics.set(metrics.PERFORMANCE, one["value"], *name)
            for bound in ("low", "high"):
                context.metrics.set(metrics.PERFORMANCE_BOUND, one[bound], *name, bound)


def _tell_estimate(told: Metrics, status: Mapping[str, Any]) -> None:
    estimate, model = status["estimate"], status["model"]
    if estimate is None:
        return
    told.set(metrics.ESTIMATE_TRUSTED, estimate["trusted"], model)
    if estimate["value"] is not None:
        told.set(metrics.ESTIMATED, estimate["value"], model, estimate["metric"])
        for bound in ("low", "high"):
            told.set(metrics.ESTIMATED_BOUND, estimate[bound], model, estimate["metric"], bound)


def _unless(trouble: str | None) -> None:
    if trouble is not None:
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE, ProblemKind.NOT_READY, trouble, hint="`driftd doctor` says what is wrong"
        )
