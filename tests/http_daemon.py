"""The HTTP interface over a socket, in front of a real store and a real log of events."""

# ruff: noqa: ARG002 (the recorder takes what the interface gives)

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import aiohttp
from seeded_store import NOW, make_store

from daemon.events import event
from daemon.metrics import Metrics
from daemon.stores.engine import open_store
from daemon.transports.event_log import EventLog
from daemon.web import Access, Context, NoSuch, Refused, build, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from daemon.stores.engine import Store
    from daemon.transports.base import BacklogLimits
    from daemon.web.server import Server

EVENT = {"model": "loans", "id": "8c1f", "features": {"age": 41}, "prediction": 1}
TOKEN = {"Authorization": "Bearer right"}
OPEN = Access(api_token="right")


@dataclass
class Recorder:
    """Does nothing, and remembers what was asked of it."""

    asked: list[tuple[Any, ...]] = field(default_factory=list)

    async def retrain(self, model: str, *, by: str, reason: str) -> Mapping[str, Any]:
        self.asked.append(("retrain", model, by, reason))
        return {"job": 7}

    async def rollback(self, model: str, *, by: str, reason: str) -> Mapping[str, Any]:
        raise Refused("already_running", "a retrain of this model is under way", "wait until it has ended")

    async def promote(self, model: str, version: str, *, by: str, reason: str) -> Mapping[str, Any]:
        if version != "3":
            raise NoSuch
        self.asked.append(("promote", model, version, by))
        return {"version": version}

    async def acknowledge(self, model: str, alarm: int, *, by: str) -> Mapping[str, Any]:
        self.asked.append(("acknowledge", model, alarm, by))
        return {"alarm": alarm}

    async def silence(self, model: str, *, signal: str | None, until: float, by: str, reason: str) -> Mapping[str, Any]:
        self.asked.append(("silence", model, signal, until))
        return {"silence": 1}

    async def approve(self, model: str, approval: str, *, approved: bool, by: str, reason: str) -> Mapping[str, Any]:
        self.asked.append(("approve", model, approval, approved))
        return {"version": approval}

    async def set_reference(self, model: str, task: str | None, references: Any, *, by: str) -> Mapping[str, Any]:
        self.asked.append(("reference", model, task, sorted(references)))
        return {"model": model}

    async def resend(self, letters: Any, *, by: str) -> Mapping[str, Any]:
        self.asked.append(("resend", letters))
        return {"resent": 1}


@dataclass
class Daemon:
    """A server with what is behind it."""

    client: aiohttp.ClientSession
    server: Server
    store: Store
    log: EventLog
    actions: Recorder
    metrics: Metrics

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        async with self.client.get(path, **options) as answer:
            return answer.status, await answer.json(content_type=None)

    async def post(self, path: str, body: Any = b"", **options: Any) -> tuple[int, Any]:
        data = body if isinstance(body, bytes | str) else json.dumps(body)
        async with self.client.post(path, data=data, **options) as answer:
            return answer.status, await answer.json(content_type=None)

    async def stored(self) -> list[tuple[bytes, int]]:
        return [(one.value, one.events) for one in await self.log.read("driftd.events", 0, 0, 100, 1 << 30)]


@asynccontextmanager
async def running(
    folder: Path,
    *,
    seeded: bool = False,
    backlog: BacklogLimits | None = None,
    url: str = "",
    health_only: bool = False,
    **settings: Any,
) -> AsyncIterator[Daemon]:
    store = open_store(url) if url else await make_store(folder, seeded=seeded)
    log = await EventLog.open(folder, backlog)
    actions, metrics = Recorder(), Metrics()

    async def append(topic: str, value: bytes, events: int) -> object:
        return await log.append(topic, value, events, timestamp=NOW)

    context = Context(store, append, event.check, actions, metrics, clock=lambda: NOW)
    server = await serve(build(replace(context, **settings), health_only=health_only), "127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(server.url) as client:
            yield Daemon(client, server, store, log, actions, metrics)
    finally:
        await server.stop()
        await log.close()
        await store.close()
