"""The HTTP interface and the status page."""

from daemon.web.app import build
from daemon.web.context import Access, Actions, Checked, Context, Limits, NoSuch, Refused
from daemon.web.server import CannotListen, Server, serve

__all__ = [
    "Access",
    "Actions",
    "CannotListen",
    "Checked",
    "Context",
    "Limits",
    "NoSuch",
    "Refused",
    "Server",
    "build",
    "serve",
]
