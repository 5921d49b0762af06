"""Transports by the scheme of their URL."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from daemon.transports.embedded import EmbeddedTransport
from daemon.transports.errors import CannotOpen

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.transports.base import Transport, TransportOptions


def _kafka(url: str, options: TransportOptions) -> Transport:
    from daemon.transports.kafka import KafkaTransport  # its clients take memory, and time to import

    return KafkaTransport(url, options)


TRANSPORTS: dict[str, Callable[[str, TransportOptions], Transport]] = {
    "embedded": EmbeddedTransport,
    "kafka": _kafka,
    "kafka+ssl": _kafka,
}


def make_transport(url: str, options: TransportOptions) -> Transport:
    """Make the transport of this URL; it still has to be opened. Raises CannotOpen for an unknown scheme."""
    scheme = urlsplit(url).scheme
    try:
        make = TRANSPORTS[scheme]
    except KeyError:
        known = ", ".join(f"{name}://" for name in TRANSPORTS)
        raise CannotOpen(f"no transport is named {scheme!r}; DRIFTD_BROKER takes {known}") from None
    return make(url, options)
