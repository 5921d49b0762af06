"""What the HTTP interface is given: the parts behind it, and its limits."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from aiohttp import web

from daemon.metrics import Metrics
from daemon.stores.engine import Store
from detectors.columns import Stream
from detectors.reference import Reference

DEFAULT_TOPIC: Final = "driftd.events"


class Checked(Protocol):
    """What a look at a body found: how many events would be taken, how many not, and why not."""

    @property
    def accepted(self) -> int: ...  # noqa: D102 (the class says it)
    @property
    def rejected(self) -> int: ...  # noqa: D102 (likewise)
    @property
    def errors(self) -> Sequence[Mapping[str, object]]: ...  # noqa: D102 (likewise)


Check = Callable[[bytes], Checked]
"""Looks at the events of a body of NDJSON lines without storing anything."""

Append = Callable[[str, bytes, int], Awaitable[object]]
"""Stores a value of so many events in a topic, durably when it returns.

Raises ``Backlog``, ``AppendFailed`` or ``LogClosed`` of ``daemon.transports.errors``; nothing is stored then.
"""


class Refused(Exception):
    """It was understood and is not done: the state of things does not allow it.

    ``reason`` is a stored reason, ``hint`` what to type instead.
    """

    def __init__(self, reason: str, detail: str, hint: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.hint = hint


class NoSuch(LookupError):
    """There is no such version, alarm, approval or dead letter."""


class Actions(Protocol):
    """What a person can do by hand. ``by`` is who asks; the model is known to exist.

    Each answers with what has come of it, as JSON values; raises Refused where the state of things does not allow it
    and NoSuch where there is no such version, alarm, approval or dead letter.
    """

    async def retrain(self, model: str, *, by: str, reason: str) -> Mapping[str, Any]:
        """Ask for a retrain."""
        ...

    async def rollback(self, model: str, *, by: str, reason: str) -> Mapping[str, Any]:
        """Put the version before this one back into service."""
        ...

    async def promote(self, model: str, version: str, *, by: str, reason: str) -> Mapping[str, Any]:
        """Put a version into service."""
        ...

    async def acknowledge(self, model: str, alarm: int, *, by: str) -> Mapping[str, Any]:
        """Say that somebody has seen an alarm."""
        ...

    async def silence(self, model: str, *, signal: str | None, until: float, by: str, reason: str) -> Mapping[str, Any]:
        """Keep a model, or one of its signals, from alerting until a time (epoch seconds)."""
        ...

    async def approve(self, model: str, approval: str, *, approved: bool, by: str, reason: str) -> Mapping[str, Any]:
        """Let a version that waits for a person go into service, or not. ``approval`` is that version."""
        ...

    async def set_reference(
        self, model: str, task: str | None, references: Mapping[Stream, Reference], *, by: str
    ) -> Mapping[str, Any]:
        """Take this for what the model's data looked like when all was well. The model may be a new one."""
        ...

    async def resend(self, letters: Sequence[int] | None, *, by: str) -> Mapping[str, Any]:
        """Send dead letters through again; all that have not been, where ``letters`` is None."""
        ...


@dataclass(frozen=True, slots=True)
class Access:
    """Who may do what, and from where. An empty token is none."""

    host: str = "127.0.0.1"
    """The address that the daemon is bound to."""
    public_url: str | None = None
    """The address that people use, where it is another."""
    api_token: str | None = field(default=None, repr=False)
    ingest_token: str | None = field(default=None, repr=False)
    local_token: str | None = field(default=None, repr=False)
    """As good as the API token: the one that the daemon left in its data folder for its own user's command line."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a sender is taken at once."""

    body_bytes: int = 8 << 20
    """Of one body, as it was sent."""
    decompressed_bytes: int = 32 << 20
    """Of one body, once it is decompressed."""
    held_bytes: int = 128 << 20
    """Of all bodies that are being received at one time."""
    body_seconds: float = 30.0
    """To send a body in."""
    errors: int = 20
    """Errors that an answer names."""


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that the routes use.

    ``min_effect`` and ``reference_rows`` are those settings of a model.
    ``topics`` are those that are read; without any, all that the store knows count. ``lag`` is the number of events in
    the log that a daemon alone has not processed yet: a fleet's is in the store. ``not_ready`` and ``not_alive`` say
    what is wrong, or None; ``stopping`` whether the daemon takes no more events. None of them blocks.
    """

    store: Store
    append: Append
    check: Check
    actions: Actions
    metrics: Metrics
    access: Access = Access()
    limits: Limits = Limits()
    topic: str = DEFAULT_TOPIC
    topics: Sequence[str] = ()
    mode: str = "auto"
    min_effect: Callable[[str], float] = lambda _model: 0.1
    reference_rows: Callable[[str], int] = lambda _model: 2_000
    lag: Callable[[], int] = lambda: 0
    not_ready: Callable[[], str | None] = lambda: None
    not_alive: Callable[[], str | None] = lambda: None
    stopping: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.time


CONTEXT: Final = web.AppKey("context", Context)
