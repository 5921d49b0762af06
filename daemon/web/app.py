"""Puts the HTTP interface together."""

from aiohttp import web

from daemon.web.body import ROOM, Room
from daemon.web.context import CONTEXT, Context
from daemon.web.faults import count, report
from daemon.web.guard import harden, same_site
from daemon.web.route import Tag
from daemon.web.routes import ROUTES


def build(context: Context, *, health_only: bool = False) -> web.Application:
    """The application that serves ``context``. It starts nothing and opens nothing.

    ``health_only``: nothing but what probes and Prometheus ask for, of a worker that has other things to do.
    """
    app = web.Application(
        client_max_size=context.limits.body_bytes,
        middlewares=[
            count,  # sees the status that was sent, whatever happened inside
            harden,  # its headers belong on errors too
            report,  # everything inside may raise
            same_site,
        ],
    )
    app[CONTEXT] = context
    app[ROOM] = Room(context.limits.held_bytes)
    for route in ROUTES:
        if not health_only or route.tag is Tag.HEALTH:
            route.register(app)
    return app
