"""What the tests of Kafka share."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest
from databases import Postgresql
from postgresql_server import NoServer, server

from daemon.transports.base import BacklogLimits, TransportOptions
from daemon.transports.kafka import KafkaTransport
from daemon.transports.kafka_options import KafkaOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kafka_broker import Broker


@pytest.fixture(scope="module")
def own() -> Iterator[Postgresql]:
    """Stores on a server that a test may stop."""
    try:
        with server() as running:
            yield Postgresql(running)
    except NoServer as absent:
        pytest.skip(str(absent))


@pytest.fixture
def topic() -> str:
    return f"events.{secrets.token_hex(4)}"


@pytest.fixture
def make(kafka: Broker, tmp_path: Path, topic: str) -> Callable[..., KafkaTransport]:
    """Makes transports that share a data folder, with one topic."""

    def transport(
        url: str = f"kafka://{kafka.address()}", backlog: BacklogLimits | None = None, **options: Any
    ) -> KafkaTransport:
        settings = KafkaOptions(**{"group": topic, **options})
        return KafkaTransport(
            url, TransportOptions(tmp_path / "data", backlog or BacklogLimits(), topics=(topic,), kafka=settings)
        )

    return transport
