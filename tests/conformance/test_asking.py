"""What the owner of a model is asked to go by is asked of it once, however long it takes, on every kind of database."""

from pathlib import Path

import pytest
from databases import Database
from sqlalchemy import select

from daemon.fleet.asking import AskOwner, NotMade
from daemon.monitoring.changes import Change
from daemon.stores.engine import open_store
from daemon.stores.tables import changes
from detectors.columns import Stream


async def test_who_asks_again_in_vain_has_asked_once(database: Database, tmp_path: Path) -> None:
    store = open_store(database.store(tmp_path))
    now = 1_000.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    asks = AskOwner(store, lambda: None, clock=lambda: now, sleep=sleep)
    for version in ("2", "2", "3"):
        with pytest.raises(NotMade, match="does one detect"):
            await asks.change("loans", Change({Stream.OUTCOME: None}, version=version, takes_over=True))
    async with store.read() as connection:
        rows = (await connection.execute(select(changes.c.data).order_by(changes.c.id))).scalars().all()
    await store.close()
    assert [Change.from_bytes(one).version for one in rows] == ["2", "3"]
