"""How a Kafka cluster is reached, and who reads there."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from daemon.transports.errors import CannotOpen

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_PORT = 9092
REQUEST_SECONDS = 15.0  # above REBALANCE_SECONDS, which a request to join may take


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """What has to be known of a cluster beside its URL; see the settings of the same names."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    mechanism: str = "SCRAM-SHA-512"
    ca: Path | None = None
    group: str = "driftd"
    create_topics: bool = True
    partitions: int = 1
    replication: int | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster of a URL, as clients want it."""

    servers: tuple[str, ...]
    encrypted: bool
    options: KafkaOptions

    @classmethod
    def of(cls, url: str, options: KafkaOptions) -> Cluster:
        """Read `kafka://host:port,host:port` or `kafka+ssl://...`. Raises CannotOpen."""
        parts = urlsplit(url)
        servers = tuple(_server(one.strip(), url) for one in parts.netloc.split(",") if one.strip())
        if not servers or parts.path.strip("/"):
            raise CannotOpen(f"{url} names no cluster; DRIFTD_BROKER takes kafka://HOST:PORT,HOST:PORT")
        return cls(servers, parts.scheme == "kafka+ssl", options)

    @property
    def bootstrap(self) -> str:
        """The servers as command lines take them."""
        return ",".join(self.servers)

    def client_settings(self) -> dict[str, Any]:
        """The arguments that every client of aiokafka takes. Raises CannotOpen where the certificates are no good."""
        options = self.options
        protocol = "SSL" if self.encrypted else "PLAINTEXT"
        settings: dict[str, Any] = {
            "ssl_context": self._ssl_context(),
            "security_protocol": protocol if options.username is None else f"SASL_{protocol}",
            "client_id": "driftd",
            "request_timeout_ms": round(REQUEST_SECONDS * 1000),
        }
        if options.username is not None:
            settings |= {
                "sasl_mechanism": options.mechanism,
                "sasl_plain_username": options.username,
                "sasl_plain_password": options.password or "",
            }
        return settings

    def _ssl_context(self) -> ssl.SSLContext | None:
        if not self.encrypted:
            return None
        try:
            return ssl.create_default_context(cafile=self.options.ca)
        except (OSError, ssl.SSLError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise CannotOpen(
                f"the certificates in {self.options.ca} cannot be read ({reason}); "
                "DRIFTD_KAFKA__CA takes a file of certificates in PEM"
            ) from error


def _server(text: str, url: str) -> str:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host:
        raise CannotOpen(f"{text!r} in {url} is no address; DRIFTD_BROKER takes kafka://HOST:PORT,HOST:PORT")
    return f"[{host}]:{port or DEFAULT_PORT}" if ":" in host else f"{host}:{port or DEFAULT_PORT}"
