"""The status object: what the daemon knows of each model, read from the store."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.checkpoint import ESTIMATE
from daemon.stores.tables import alarms, counters, jobs, models, states

ACTIVE: Final = frozenset({"queued", "running"})


async def model_status(connection: AsyncConnection, model: str, *, lag: int = 0) -> dict[str, Any] | None:
    """The status of ``model``, or None where it is not known. ``lag`` is in events."""
    found = await statuses(connection, [model], lag=lag)
    return found[0] if found else None


async def statuses(
    connection: AsyncConnection, only: Sequence[str] | None = None, *, lag: int = 0
) -> list[dict[str, Any]]:
    """The status of the models in ``only``, or of all, in the order of their names."""
    rows = select(models).order_by(models.c.model)
    if only is not None:
        rows = rows.where(models.c.model.in_(only))
    counts = await _counters(connection, only)
    raised = await _by_state(connection, alarms, only)
    trained = await _by_state(connection, jobs, only)
    estimates = await _estimates(connection, only)
    return [
        _status(dict(row), counts[row["model"]], raised[row["model"]], trained[row["model"]], lag)
        | {"estimate": estimates.get(row["model"])}
        for row in (await connection.execute(rows)).mappings()
    ]


async def totals(connection: AsyncConnection) -> dict[str, int]:
    """The counters of all models together, those that belong to no known model included."""
    rows = select(counters.c.name, func.sum(counters.c.value)).group_by(counters.c.name)
    return {name: int(value) for name, value in await connection.execute(rows)}


def _status(
    row: Mapping[str, Any], counts: Mapping[str, int], raised: Mapping[str, int], trained: Mapping[str, int], lag: int
) -> dict[str, Any]:
    return {
        "model": row["model"],
        "task": row["task"],
        "state": row["state"],
        "held": row["held"],
        "version": row["version"],
        "events": {name: counts.get(name, 0) for name in ("prediction", "features", "label")},
        "joined": counts.get("joined", 0),
        "waiting": counts.get("waiting", 0),
        "duplicates": counts.get("duplicates", 0),
        "revised": counts.get("revised", 0),
        "expired": counts.get("expired", 0),
        "dead_letters": counts.get("dead_letters", 0),
        "lag": lag,
        "alarms": {"open": raised.get("open", 0), "total": sum(raised.values())},
        "retrains": {
            "running": sum(count for state, count in trained.items() if state in ACTIVE),
            "total": sum(trained.values()),
        },
        "promotions": counts.get("promotions", 0),
        "rollbacks": counts.get("rollbacks", 0),
        "performance": row["performance"],
        "rows": row["rows"],
        "first_ts": row["first_ts"],
        "last_ts": row["last_ts"],
        "last_label_ts": row["last_label_ts"],
        "last_arrival": row["last_arrival"],
    }


async def _counters(connection: AsyncConnection, only: Sequence[str] | None) -> defaultdict[str, dict[str, int]]:
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    rows = select(counters.c.model, counters.c.name, counters.c.value).where(*_of(counters.c.model, only))
    for model, name, value in await connection.execute(rows):
        found[model][name] = value
    return found


async def _estimates(connection: AsyncConnection, only: Sequence[str] | None) -> dict[str, Any]:
    rows = select(states.c.model, states.c.data).where(states.c.part == ESTIMATE, *_of(states.c.model, only))
    return {model: msgspec.msgpack.decode(data) for model, data in await connection.execute(rows)}


async def _by_state(
    connection: AsyncConnection, table: Table, only: Sequence[str] | None
) -> defaultdict[str, dict[str, int]]:
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    key = table.c.model, table.c.state
    rows = select(*key, func.count()).where(*_of(table.c.model, only)).group_by(*key)
    for model, state, count in await connection.execute(rows):
        found[model][state] = count
    return found


def _of(column: ColumnElement[str], only: Sequence[str] | None) -> list[ColumnElement[bool]]:
    return [] if only is None else [column.in_(only)]
