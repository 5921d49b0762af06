"""``POST /v1/events``: answers after the events are durable."""

from http import HTTPStatus

from aiohttp import web

from daemon import metrics
from daemon.web.body import ROOM, expected_bytes, read_body
from daemon.web.context import CONTEXT
from daemon.web.lines import lines
from daemon.web.problem import Problem, ProblemKind, answer, bad_request


async def post_events(request: web.Request) -> web.Response:
    """Take a body of events: 202 once they are on the disk, with the errors of those that are none.

    All lines become one record of the log, the bad ones too: the pipeline puts those aside in the transaction in which
    it takes the others, and so they can be looked at and sent again.
    """
    context = request.app[CONTEXT]
    if context.stopping():
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            ProblemKind.STOPPING,
            "the daemon is stopping",
            hint="send the same events again in a few seconds",
            headers={"Retry-After": "5"},
        )
    async with request.app[ROOM].hold(expected_bytes(request, context.limits)):
        body = lines(await read_body(request), request.content_type, request.headers)
        checked = context.check(body)
        events = checked.accepted + checked.rejected
        if not events:
            raise bad_request("the body holds no event")
        await context.append(context.topic, body, events)
    context.metrics.add(metrics.INGESTED, checked.accepted, "accepted")
    context.metrics.add(metrics.INGESTED, checked.rejected, "rejected")
    return answer(
        {
            "accepted": checked.accepted,
            "rejected": checked.rejected,
            "errors": list(checked.errors[: context.limits.errors]),
        },
        HTTPStatus.ACCEPTED,
    )
