"""What was measured of a model's signals, read for the page."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import RowMapping, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.checkpoint import SEGMENTS
from daemon.stores.tables import signals, states
from detectors.columns import Stream
from detectors.reference import Reference
from detectors.segments import LEAST_ROWS

NO_SEGMENTS: Final = {"least_rows": LEAST_ROWS, "learning": False, "fields": []}
RECENT_ROWS: Final = 2_000
RECENT_CHUNKS: Final = 8

_column = signals.c
_DRAWN: Final = tuple(column for column in signals.columns if column.name != "counts")


async def recent(connection: AsyncConnection, model: str, signal: str, chunks: int) -> Sequence[RowMapping]:
    """The last ``chunks`` measurements of one signal, oldest first, without their counts."""
    rows = (
        select(*_DRAWN)
        .where(_column.model == model, _column.signal == signal)
        .order_by(_column.row.desc(), _column.id.desc())
        .limit(chunks)
    )
    return (await connection.execute(rows)).mappings().all()[::-1]


async def recent_counts(connection: AsyncConnection, model: str, version: str | None, signal: str) -> list[int]:
    """How many of about the last ``RECENT_ROWS`` rows fell into each bin of a signal.

    Only what was measured while ``version`` was in service counts: the bins of another version's reference are others.
    """
    found = await connection.execute(
        select(_column.counts, _column.rows, _column.version)
        .where(_column.model == model, _column.signal == signal)
        .order_by(_column.row.desc(), _column.id.desc())
        .limit(RECENT_CHUNKS)
    )
    total: list[int] = []
    seen = 0
    for counts, size, measured_of in found:
        if measured_of != version or counts is None or seen >= RECENT_ROWS or (total and len(counts) != len(total)):
            break
        total = [before + more for before, more in zip(total or [0] * len(counts), counts, strict=True)]
        seen += size
    return total


async def latest(connection: AsyncConnection, model: str) -> list[dict[str, Any]]:
    """The last measurement of each signal, most moved first.

    The names are walked along the index, one step each: reading every row to find them would take longer each day.
    """
    names = select(func.min(_column.signal).label("signal")).where(_column.model == model).cte("names", recursive=True)
    following = (
        select(func.min(_column.signal))
        .where(_column.model == model, _column.signal > names.c.signal)
        .correlate(names)
        .scalar_subquery()
    )
    names = names.union_all(select(following).where(names.c.signal.is_not(None)))
    newest = (
        select(_column.id)
        .where(_column.model == model, _column.signal == names.c.signal)
        .order_by(_column.row.desc(), _column.id.desc())
        .limit(1)
        .correlate(names)
        .scalar_subquery()
    )
    rows = select(*_DRAWN).where(_column.id.in_(select(newest).where(names.c.signal.is_not(None))))
    found = [dict(row) for row in (await connection.execute(rows)).mappings()]
    return sorted(found, key=lambda row: (-(row["effect"] or 0.0), row["signal"]))


async def segments(connection: AsyncConnection, model: str) -> dict[str, Any] | None:
    """How the model does by segments of its traffic, as of the last checkpoint; None where it has none."""
    row = states.c
    data = await connection.scalar(select(row.data).where(row.model == model, row.part == SEGMENTS))
    found: dict[str, Any] | None = None if data is None else msgspec.msgpack.decode(data)
    return found


async def references(connection: AsyncConnection, model: str) -> dict[str, Reference]:
    """The reference that each signal of a model is held against."""
    parts = [f"reference:{stream}" for stream in Stream]
    rows = await connection.execute(select(states.c.data).where(states.c.model == model, states.c.part.in_(parts)))
    found: dict[str, Reference] = {}
    for (data,) in rows:
        try:
            kept = msgspec.msgpack.decode(data)
            if kept is None:
                continue  # still to be learned
            reference = Reference.from_dict(kept)
        except (ValueError, LookupError, msgspec.DecodeError):
            continue  # of another release: the pipeline learns it again
        found.update(dict.fromkeys(reference.signals, reference))
    return found


def correlation_rows(reference: Reference, s: int) -> float:
    """So many rows in a row tell as much of signal s as one independent row would: 1 where they do not resemble."""
    return 1 / float(reference.temper[s])
