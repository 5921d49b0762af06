"""What the tests of alerting share: a store, a clock that moves only when told, and the way from an alarm to Slack."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from slack_server import Carried, SlackServer
from sqlalchemy import insert, select, update

from daemon.alerts import incidents
from daemon.alerts.dispatch import Dispatcher
from daemon.alerts.notes import NoteKind
from daemon.alerts.sending import Claim
from daemon.metrics import Metrics
from daemon.notifiers.base import Delivery, Notifier, Outcome
from daemon.notifiers.log import LogNotifier
from daemon.notifiers.slack_bot import SlackBot
from daemon.notifiers.slack_webhook import SlackWebhook
from daemon.stores import tables
from daemon.stores.engine import Store, open_store, sqlite_url

START = 1_795_442_520.0
"""2026-11-23 14:02 UTC."""
SLACK = ("slack_bot", "slack_webhook")


@dataclass
class FakeClock:
    """A clock that a test moves. Waiting moves it, so that ``run`` passes hours in no time."""

    seconds: float = START
    elapsed: float = 0.0
    """What no step of the clock changes."""

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.elapsed

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        self.elapsed += seconds

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        await asyncio.sleep(0)
        if not event.is_set():
            self.advance(seconds)


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Watched:
    """A notifier that notes what it was given and what came of it, and can die at the two worst moments."""

    inner: Notifier
    tries: list[tuple[Delivery, Outcome | None]] = field(default_factory=list)
    die_before: bool = False
    die_after: bool = False
    meanwhile: Callable[[], Awaitable[None]] | None = None
    """What happens while the next message is on its way."""

    def __post_init__(self) -> None:
        self.name, self.threads, self.pause = self.inner.name, self.inner.threads, self.inner.pause

    async def send(self, delivery: Delivery) -> Outcome:
        self.tries.append((delivery, None))
        if self.die_before:
            raise Killed
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        outcome = await self.inner.send(delivery)
        self.tries[-1] = (delivery, outcome)
        if self.die_after:
            raise Killed
        return outcome

    async def close(self) -> None:
        await self.inner.close()


def make_notifier(name: str, server: SlackServer) -> Notifier:
    """One of the registry's, set up for the local server."""
    if name == "slack_bot":
        return SlackBot(server.token, "#alerts", base_url=server.api_url, timeout=5)
    return SlackWebhook(server.webhook_url, timeout=5) if name == "slack_webhook" else LogNotifier()


class Traced(Dispatcher):
    """Notes for which row of the outbox each request was made."""

    world: "World"

    async def _send(self, claimed: Claim) -> Outcome:
        before = len(self.world.server.requests)
        try:
            return await super()._send(claimed)
        finally:
            self.world.trail += [(claimed.row, carried) for carried in self.world.server.requests[before:]]


@dataclass
class World:
    """A daemon's alerting over a store in a file, and the Slack that it talks to."""

    url: str
    server: SlackServer
    clock: FakeClock
    name: str
    store: Store
    metrics: Metrics = field(default_factory=Metrics)
    alarms: int = 0
    trail: list[tuple[int, Carried]] = field(default_factory=list)
    """What Slack carried out, and for which row of the outbox."""

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A fresh dispatcher, as after a start."""
        self.notifier = Watched(make_notifier(self.name, self.server))
        self.dispatcher = Traced(
            self.store,
            self.notifier,
            metrics=self.metrics,
            clock=self.clock,
            random=Random(1),
            page_url="http://127.0.0.1:6066",
        )
        self.dispatcher.world = self

    async def restart(self) -> None:
        """The process is gone with all that it had in memory, and another one starts."""
        await self.store.close()
        self.store = open_store(self.url)
        self.start()

    async def alarm(self, signal: str = "error", kind: str = "concept", model: str = "loans", **values: Any) -> int:
        """Store an alarm and raise it, in one transaction; return its number."""
        (number,) = await self.raise_all([signal], kind, model, **values)
        return number

    async def raise_all(self, signals: list[str], kind: str, model: str = "loans", **values: Any) -> list[int]:
        """Store an alarm on each signal and raise them all in one transaction."""
        now = self.clock.now()
        numbers = []
        async with self.store.begin() as connection:
            for signal in signals:
                self.alarms += 1
                row = {
                    "model": model,
                    "kind": kind,
                    "signal": signal,
                    "detector": "e_detector",
                    "severity": "warning",
                    "row": 1000 + self.alarms,
                    "ts": now,
                    "change_row": 900 + self.alarms,
                    "change_ts": now,
                    "evidence": {},
                    "ranking": [],
                    "state": "open",
                    "raised": now,
                } | values
                result = await connection.execute(insert(tables.alarms).values(row))
                numbers.append(result.inserted_primary_key[0])
            await incidents.raise_alarms(connection, model, numbers, now)
        self.dispatcher.wake()
        return numbers

    async def note(self, kind: NoteKind, model: str = "loans", **fields: Any) -> None:
        """Note what is being done."""
        async with self.store.begin() as connection:
            await incidents.note(connection, model, kind, fields, self.clock.now())
        self.dispatcher.wake()

    async def close_alarms(self, *numbers: int, model: str = "loans") -> bool:
        """Close these alarms (all of the model where none is named), and the incident if it is over."""
        which = tables.alarms.c.model == model
        if numbers:
            which &= tables.alarms.c.id.in_(numbers)
        async with self.store.begin() as connection:
            await connection.execute(update(tables.alarms).where(which).values(state="closed"))
            over = await incidents.close_if_over(connection, model, self.clock.now())
        self.dispatcher.wake()
        return over

    async def pass_time(self, seconds: float) -> None:
        """Let the dispatcher work for so long."""
        end = self.clock.elapsed + seconds
        while True:
            pause = await self.dispatcher.step()
            if self.clock.elapsed + pause > end:
                self.clock.advance(end - self.clock.elapsed)
                return
            self.clock.advance(pause)

    async def skip(self, seconds: float) -> None:
        """Let time pass in which the dispatcher gets to work only at the end."""
        self.clock.advance(seconds - 40)
        await self.pass_time(40)

    async def outbox(self) -> list[dict[str, Any]]:
        """Its rows, oldest first."""
        async with self.store.read() as connection:
            rows = await connection.execute(select(tables.outbox).order_by(tables.outbox.c.id))
            return [dict(row) for row in rows.mappings()]

    async def incident(self, model: str = "loans") -> dict[str, Any]:
        """The model's last incident."""
        query = select(tables.incidents).where(tables.incidents.c.model == model).order_by(tables.incidents.c.id.desc())
        async with self.store.read() as connection:
            return dict((await connection.execute(query)).mappings().all()[0])

    def said(self) -> list[str]:
        """What each message that Slack carried out said first, in order."""
        return [carried.text for carried in self.server.requests]


_made: list[bytes] = []


async def _empty_store(path: Path) -> bytes:
    """A store with its tables and nothing in it, made once."""
    if not _made:
        store = open_store(sqlite_url(path))
        async with store.begin() as connection:
            await connection.run_sync(tables.metadata.create_all)
        await store.close()
        _made.append(path.read_bytes())  # noqa: ASYNC240 (nothing else runs in this loop)
    return _made[0]


@asynccontextmanager
async def world(folder: Path, name: str, url: str | None = None) -> AsyncIterator[World]:
    """A world whose tables are made and whose Slack answers; ``url`` is a store without anything in it."""
    clock = FakeClock()
    if url is None:
        path = folder / "store.db"
        path.write_bytes(await _empty_store(folder / "empty.db"))
        url = sqlite_url(path)
    with pytest.MonkeyPatch.context() as patch:
        for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            patch.delenv(proxy, raising=False)
        async with SlackServer(now=clock.monotonic) as server:
            one = World(url, server, clock, name, open_store(url))
            try:
                yield one
            finally:
                await one.store.close()
