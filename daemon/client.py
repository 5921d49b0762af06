"""How the command line talks to a running daemon."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

TOKEN_FILE = "token"  # noqa: S105 (the name of a file)
TIMEOUT_SECONDS = 30.0


class NoAnswer(RuntimeError):
    """No daemon answers at this address."""


class Refused(RuntimeError):
    """The daemon answered with an error. ``status`` is the HTTP status, ``problem`` what it said."""

    def __init__(self, status: int, problem: dict[str, Any], retry_after: float | None = None) -> None:
        super().__init__(problem.get("detail") or problem.get("title") or f"HTTP {status}")
        self.status = status
        self.problem = problem
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Client:
    """A daemon at ``url``; ``token`` allows changes, ``ingest_token`` sending events."""

    url: str
    token: str | None = None
    ingest_token: str | None = None

    def get(self, *path: str, **query: object) -> Any:
        """GET a route, path parts quoted."""
        wanted = {name: value for name, value in query.items() if value is not None}
        return self._ask("GET", _path(path) + (f"?{urlencode(wanted)}" if wanted else ""))

    def post(self, *path: str, body: Any = None, method: str = "POST") -> Any:
        """POST JSON to a route that changes something."""
        data = json.dumps(body if body is not None else {}).encode()
        return self._ask(method, _path(path), data, "application/json", self.token)

    def send(self, events: bytes) -> Any:
        """Send NDJSON events; returns what was accepted."""
        return self._ask("POST", "/v1/events", events, "application/x-ndjson", self.ingest_token)

    def pages(self, *path: str, **query: object) -> Iterator[dict[str, Any]]:
        """Every item of a paged list."""
        cursor: str | None = None
        while True:
            page = self.get(*path, **query, cursor=cursor)
            yield from page["items"]
            cursor = page["next"]
            if cursor is None:
                return

    def _ask(
        self, method: str, path: str, data: bytes | None = None, content_type: str = "", token: str | None = None
    ) -> Any:
        headers = {"Accept": "application/json"}
        if data is not None:
            headers["Content-Type"] = content_type
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 (http from settings)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 (likewise)
                return json.load(answer)
        except urllib.error.HTTPError as error:
            try:
                problem = json.load(error)
            except ValueError:
                problem = {"title": error.reason}
            wait = error.headers.get("Retry-After")
            raise Refused(error.code, problem, float(wait) if wait else None) from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise NoAnswer(
                f"no daemon answers at {self.url} ({reason}): start one with `driftd run`, or say where it is with"
                " DRIFTD_HTTP_HOST and DRIFTD_HTTP_PORT"
            ) from None


def _path(parts: tuple[str, ...]) -> str:
    return "/" + "/".join(quote(part, safe="") for part in parts)


def local_token(data_dir: Path) -> str | None:
    """The token that a daemon on this machine left for its own user, where it can be read."""
    try:
        return (data_dir / TOKEN_FILE).read_text().strip() or None
    except OSError:
        return None


def leave_token(data_dir: Path, token: str) -> None:
    """Let whoever may read the data folder make changes from the command line, where the operator has set no token."""
    path = data_dir / TOKEN_FILE
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as file:
        file.write(token)
