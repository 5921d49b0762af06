"""Has the owner of a model make a change, whichever worker that is."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from sqlalchemy import insert, select

from daemon.monitoring.changes import Change
from daemon.stores.engine import Store
from daemon.stores.tables import changes

POLL_SECONDS: Final = 0.2
PATIENCE_SECONDS: Final = 60.0
"""Long enough for another worker to take over a model whose owner has died."""


class NotMade(TimeoutError):
    """No worker has made a change in time; it is still asked for, and will be made."""


class AskOwner:
    """See ``daemon.monitoring.changes.Changes``. ``wake`` has an owner that is in this process look at once."""

    def __init__(
        self,
        store: Store,
        wake: Callable[[], None],
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._wake = wake
        self._clock = clock
        self._sleep = sleep

    async def change(self, model: str, change: Change) -> None:
        """Ask, and return when it is made and stored. Raises NotMade. What waits to be made is not asked for twice."""
        began = self._clock()
        row = {"model": model, "data": change.to_bytes(), "created": began}
        waiting = select(changes.c.id).where(changes.c.model == model, changes.c.data == row["data"])
        async with self._store.begin([model]) as connection:
            asked = await connection.scalar(waiting)
            if asked is None:
                asked = await connection.scalar(insert(changes).values(row).returning(changes.c.id))
        self._wake()
        waits = select(changes.c.id).where(changes.c.id == asked)
        while self._clock() - began < PATIENCE_SECONDS:
            async with self._store.read() as connection:
                if await connection.scalar(waits) is None:
                    return
            await self._sleep(POLL_SECONDS)
        raise NotMade(f"no worker has made the change of {model} within {PATIENCE_SECONDS:.0f} s: does one detect?")
