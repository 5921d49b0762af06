"""Deletes what is not kept any longer, a little at a time."""

from typing import Final

from sqlalchemy import ColumnElement, Table, delete, select

from daemon.stores.engine import Store

AT_ONCE: Final = 5_000
"""Rows that are deleted in one transaction: checkpoints go between."""


async def delete_in_parts(store: Store, table: Table, which: ColumnElement[bool]) -> int:
    """Delete the rows of a numbered table for which ``which`` holds. Returns how many that were.

    What is cut short by a crash is done the next time.
    """
    gone = 0
    while True:
        some = select(table.c.id).where(which).limit(AT_ONCE)
        async with store.begin() as connection:
            part = (await connection.execute(delete(table).where(table.c.id.in_(some)))).rowcount
        gone += part
        if part < AT_ONCE:
            return gone
