"""A store as a fleet leaves it: workers that are there and one that is gone, what each has, and what nobody has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from seeded_store import NOW
from sqlalchemy import insert

from daemon.fleet import workers
from daemon.fleet.leases import MODEL
from daemon.fleet.workers import ALL_ROLES, Role, Worker
from daemon.stores import tables

if TYPE_CHECKING:
    from daemon.stores.engine import Store

READER = Worker(
    worker="node-1-5f0c93aa",
    host="node-1",
    roles=frozenset({Role.INGEST, Role.DETECT}),
    release="0.1.0",
    url=None,
    started=NOW - 90_000,
    seen=NOW - 1,
)
ALL_ROUND = Worker(
    worker="node-2-90be1c07",
    host="node-2",
    roles=ALL_ROLES,
    release="0.1.0",
    url="http://node-2.example:6066",
    started=NOW - 80_000,
    seen=NOW,
)
GONE = Worker(
    worker="node-3-c4d2aa10",
    host="node-3",
    roles=frozenset({Role.TRAIN}),
    release="0.0.9",
    url=None,
    started=NOW - 70_000,
    seen=NOW - 420,
)


async def seed_fleet(store: Store, *those: Worker, now: float = NOW) -> None:
    """Workers (these, or all three) and what they have at ``now`` of the models of ``seeded_store``.

    Nobody reads driftd.events 4, whose worker has gone, and nobody watches ``newcomer``, of which there is a parcel.
    """
    async with store.begin() as connection:
        for worker in those or (READER, ALL_ROUND, GONE):
            times = {"started": worker.started + now - NOW, "seen": worker.seen + now - NOW}
            await workers.beat(connection, replace(worker, **times))
        await connection.execute(
            insert(tables.partitions),
            [
                *(_partition(number, READER.worker, now - 2, behind) for number, behind in enumerate((40, 0, 1_200))),
                _partition(3, ALL_ROUND.worker, now, 5),
                _partition(4, GONE.worker, now - 420, 77),
            ],
        )
        owned = {"loans": READER, "churn": READER, "fraud": ALL_ROUND, "prices": ALL_ROUND}
        await connection.execute(
            insert(tables.leases),
            [
                *({"name": MODEL + name, "worker": one.worker, "until": now + 13} for name, one in owned.items()),
                {"name": f"{MODEL}uplift <b>test</b>", "worker": ALL_ROUND.worker, "until": now + 13},
                {"name": f"{MODEL}newcomer", "worker": GONE.worker, "until": now - 400},
                {"name": "housekeeping", "worker": ALL_ROUND.worker, "until": now + 13},
            ],
        )
        await connection.execute(
            insert(tables.parcels),
            [
                _parcel("loans", 500, taken=200),
                _parcel("loans", 500, taken=500),
                _parcel("newcomer", 10, taken=0),
            ],
        )


def _partition(number: int, worker: str, seen: float, behind: int) -> dict[str, Any]:
    return {
        "topic": "driftd.events",
        "partition": number,
        "next_offset": 1_000,
        "mark": "",
        "worker": worker,
        "seen": seen,
        "watermark": seen,
        "behind": behind,
    }


def _parcel(model: str, events: int, *, taken: int) -> dict[str, Any]:
    return {
        "model": model,
        "topic": "driftd.events",
        "partition": 0,
        "first": NOW - 5,
        "last": NOW - 4,
        "events": events,
        "taken": taken,
        "data": b"",
    }
