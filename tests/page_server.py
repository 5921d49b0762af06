"""The status page over a seeded store, served as the daemon serves it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from seeded_store import NOW, make_store, seed_many

from daemon.events import event
from daemon.metrics import Metrics
from daemon.web import Context, build, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from daemon.stores.engine import Store
    from daemon.web.server import Server


ODD_PATH = "/models/uplift%20%3Cb%3Etest%3C%2Fb%3E"


@asynccontextmanager
async def serving(folder: Path, *, seeded: bool = True, many: int = 0) -> AsyncIterator[tuple[Server, Store]]:
    store = await make_store(folder, seeded=seeded)
    if many:
        await seed_many(store, many)

    async def refuse(topic: str, value: bytes, events: int) -> object:
        raise AssertionError("the page sends no events")

    context = Context(store, refuse, event.check, None, Metrics(), clock=lambda: NOW)  # type: ignore[arg-type]
    server = await serve(build(context), "127.0.0.1", 0)
    try:
        yield server, store
    finally:
        await server.stop()
        await store.close()
