"""The fleet in what is answered: who is there, what each worker has, and what nobody has."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.fleet import view
from daemon.fleet.view import Fleet, Member, Partition
from daemon.web.context import Context


async def fleet(connection: AsyncConnection, context: Context) -> Fleet:
    """The fleet as it is now; nobody, where the daemon is alone."""
    return await view.view(connection, context.clock(), context.topics)


async def lag(connection: AsyncConnection, context: Context) -> int:
    """What was sent and is not judged yet: by the fleet, and where there is none by this daemon."""
    found = await view.lag(connection, context.clock(), context.topics)
    return context.lag() if found is None else found


def lag_of(found: Fleet, context: Context) -> int:
    """The same, where the fleet is known."""
    return found.lag if found.members else context.lag()


def described(found: Fleet) -> dict[str, Any]:
    """The fleet as JSON values."""
    return {
        "workers": [_member(one) for one in found.members],
        "unread": _partitions(found.unread),
        "unowned": list(found.unowned),
        "parcels": {"count": found.parcels, "events": found.waiting},
        "troubles": [{"text": one.text, "hint": one.hint} for one in found.troubles()],
    }


def _member(one: Member) -> dict[str, Any]:
    worker = one.worker
    return {
        "worker": worker.worker,
        "host": worker.host,
        "roles": list(one.roles),
        "release": worker.release,
        "url": worker.url,
        "started": worker.started,
        "seen": worker.seen,
        "alive": one.alive,
        "partitions": _partitions(one.partitions),
        "models": list(one.models),
    }


def _partitions(those: Iterable[Partition]) -> list[dict[str, Any]]:
    return [{"topic": one.topic, "partition": one.partition, "behind": one.behind} for one in those]
