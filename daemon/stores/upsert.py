"""Insert or change, on either database."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection


async def upsert(
    connection: AsyncConnection, table: Table, rows: Sequence[dict[str, Any]], *, keep: Collection[str] = ()
) -> None:
    """Insert ``rows``; where the key is taken, set the other columns that are given, but for those to ``keep``.

    All rows have the same columns.
    """
    if rows:
        statement = _insert(connection, table)
        keys = [column.name for column in table.primary_key]
        changed = {name: statement.excluded[name] for name in rows[0] if name not in (*keys, *keep)}
        await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), list(rows))


async def add_up(connection: AsyncConnection, table: Table, column: str, rows: Sequence[dict[str, Any]]) -> None:
    """Insert ``rows``; where the key is taken, add to ``column``."""
    if rows:
        statement = _insert(connection, table)
        keys = [one.name for one in table.primary_key]
        total = table.c[column] + statement.excluded[column]
        await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_={column: total}), list(rows))


async def insert_new(connection: AsyncConnection, table: Table, rows: Sequence[dict[str, Any]]) -> bool:
    """Insert ``rows``; leave alone what is there already. Of a single row: returns whether it was new."""
    if not rows:
        return False
    statement = _insert(connection, table).on_conflict_do_nothing()
    inserted = await connection.execute(statement, rows[0] if len(rows) == 1 else list(rows))
    return bool(inserted.rowcount)


def _insert(connection: AsyncConnection, table: Table) -> "sqlite.Insert | postgresql.Insert":
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)
