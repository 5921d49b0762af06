"""Templates, and what is the same on every page."""

import shlex
from collections.abc import Mapping
from functools import cache, partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from daemon.alerts import figures
from daemon.alerts.alarm import spoken
from daemon.fleet.view import few
from daemon.web import drawing, words
from daemon.web.assets import asset_url

FOLDER: Final = Path(__file__).parent / "templates"


@cache
def environment() -> Environment:
    """The templates. Everything put into them is escaped: names and values are a stranger's."""
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals.update(asset=asset_url, arcs=drawing.ARCS, stations=words.LOOP, version_words=words.VERSIONS)
    made.filters.update(
        ago=words.ago,
        count=figures.count,
        few=few,
        figure=figures.figure,
        lasted=words.lasted,
        moment=words.moment,
        part=partial(quote, safe=""),
        plain=words.plain,
        sentence=words.sentence,
        shell=shlex.quote,
        spoken=spoken,
        tidy=words.tidy,
    )
    return made


def render(name: str, values: Mapping[str, Any], status: int = HTTPStatus.OK) -> web.Response:
    """The page or fragment that a template makes of ``values``."""
    text = environment().get_template(name).render(values)
    return web.Response(status=status, text=text, content_type="text/html")
