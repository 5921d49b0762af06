"""Who works on this store."""

import secrets
import socket
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.stores.tables import workers
from daemon.stores.upsert import upsert

BEAT_SECONDS: Final = 2.0
"""Between two signs of life."""
GONE_SECONDS: Final = 7.0
"""Without a sign of life a worker counts as gone, and others take over what it had."""
FORGOTTEN_SECONDS: Final = 3_600.0
"""After which nothing is shown of it any more."""


class Role(StrEnum):
    """What a worker may do."""

    INGEST = "ingest"
    """Reads events, decodes them and has them ready for whoever owns their model."""
    DETECT = "detect"
    """Owns models: joins labels, counts, runs the detectors, raises alarms and decides."""
    WEB = "web"
    """Takes events by HTTP, answers questions and serves the page."""
    TRAIN = "train"
    """Retrains and deploys."""


ALL_ROLES: Final = frozenset(Role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One process. Times are epoch seconds."""

    worker: str
    host: str
    roles: frozenset[Role]
    release: str
    url: str | None
    started: float
    seen: float

    def is_alive(self, now: float) -> bool:
        """Whether it gave a sign of life of late."""
        return self.seen >= now - GONE_SECONDS


def new_name() -> str:
    """A name that no other process has, now or later: the host's, and a few letters."""
    return f"{socket.gethostname()}-{secrets.token_hex(4)}"


async def beat(connection: AsyncConnection, worker: Worker) -> None:
    """Give a sign of life."""
    row = {
        "worker": worker.worker,
        "host": worker.host,
        "roles": sorted(worker.roles),
        "release": worker.release,
        "url": worker.url,
        "started": worker.started,
        "seen": worker.seen,
    }
    await upsert(connection, workers, [row])


async def leave(connection: AsyncConnection, worker: str) -> None:
    """Be gone at once."""
    await connection.execute(delete(workers).where(workers.c.worker == worker))


async def forget(connection: AsyncConnection, now: float) -> None:
    """Show nothing more of workers that have been gone for long."""
    await connection.execute(delete(workers).where(workers.c.seen < now - FORGOTTEN_SECONDS))


async def all_workers(connection: AsyncConnection) -> list[Worker]:
    """Everyone who is there, or was until a short while ago, in the order of their start."""
    rows = (await connection.execute(select(workers).order_by(workers.c.started, workers.c.worker))).mappings()
    return [Worker(**{**row, "roles": frozenset(Role(one) for one in row["roles"])}) for row in rows]


def share(things: int, workers: int) -> int:
    """How many of ``things`` one of ``workers`` is to have: where each has no more, all have about the same number."""
    return -(-things // max(workers, 1))
