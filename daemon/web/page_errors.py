"""The page that says what a Problem says, to a person with a browser."""

from typing import Final

from aiohttp import web

from daemon.web.problem import Problem, phrase
from daemon.web.rendering import render

FOR_PROGRAMS: Final = ("/v1/", "/fragments/", "/static/", "/livez", "/readyz", "/metrics", "/openapi.json")


def wants_page(request: web.Request) -> bool:
    """Whether a browser asks for a page, rather than a program for data."""
    return "text/html" in request.headers.get("Accept", "") and not request.path.startswith(FOR_PROGRAMS)


def error_page(problem: Problem) -> web.Response:
    """The page of ``problem``, with its status and headers."""
    response = render("problem.html", {"problem": problem, "title": phrase(problem.status)}, problem.status)
    response.headers.update(problem.headers)
    return response
