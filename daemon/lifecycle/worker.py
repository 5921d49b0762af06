"""A loop that works when there is work: woken at once, and looking by itself now and then."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from sqlalchemy.exc import DBAPIError

from daemon.logs import get_logger

POLL_SECONDS: Final = 1.0
"""How long work may lie unseen whose ``wake`` came before it was committed."""
AWAY_SECONDS: Final = 5.0

log = get_logger("daemon.lifecycle.worker")


class Worker:
    """Calls ``step`` again and again while it answers True, and waits to be woken where it does not."""

    def __init__(self, name: str, step: Callable[[], Awaitable[bool]], *, poll_seconds: float = POLL_SECONDS) -> None:
        self._name = name
        self._step = step
        self._poll_seconds = poll_seconds
        self._wanted = asyncio.Event()
        self.stopping = asyncio.Event()

    def wake(self) -> None:
        """There may be work."""
        self._wanted.set()

    def stop(self) -> None:
        """End after the step under way, which may look at ``stopping`` to end sooner."""
        self.stopping.set()
        self._wanted.set()

    async def run(self) -> None:
        """Work until stopped. A database that is away, or a full disk, is waited out."""
        while not self.stopping.is_set():
            self._wanted.clear()
            wait = self._poll_seconds
            try:
                if await self._step():
                    continue
            except (DBAPIError, OSError) as error:
                log.warning("cannot work now, trying again", part=self._name, error=str(error))
                wait = AWAY_SECONDS
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), wait)
