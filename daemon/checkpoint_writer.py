"""Writes one checkpoint after the other, each beside the batches that are taken in meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError

from daemon import checkpoint
from daemon.archive import UNNAMED_SECONDS, Archive, Block
from daemon.checkpoint import Respond, Snapshot
from daemon.stores.engine import Store, first_line, is_full
from daemon.stores.errors import StoreAway
from retrain.storage.base import StorageError

log = structlog.get_logger(__name__)

MOST_HELD: Final = 100_000
"""Events that may be in memory only, while the store is slow to take the ones before them."""
RETRY_SECONDS: Final = 1.0
MOST_RETRY_SECONDS: Final = 30.0

NO_WAITING_MENDS: Final = (IntegrityError, DataError, ProgrammingError, NotSupportedError)
"""What of the store's errors is a mistake: the process has to end, and begin again from what is stored."""


class CheckpointWriter:
    """Has at most one snapshot on its way into the store.

    A full disk, a database or an archive that is away is waited for, without end: the snapshot stays what it is, and
    nothing of it is lost.
    """

    def __init__(
        self,
        store: Store,
        archive: Archive | None,
        respond: Respond | None,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[Any]],
        seconds: float,
    ) -> None:
        self._store = store
        self._archive = archive
        self._respond = respond
        self._clock = clock
        self._sleep = sleep
        self._seconds = seconds
        self._counted_from = 0.0
        self.held = 0
        """Events that are in memory only, and in no snapshot."""
        self._task: asyncio.Task[None] | None = None
        self.waits_for: str | None = None
        """What keeps the snapshot on its way out of the store, if anything does."""

    @property
    def idle(self) -> bool:
        """Whether nothing is being written."""
        return self._task is None or self._task.done()

    @property
    def due(self) -> bool:
        """Whether a checkpoint is to begin: it is time, and the last one has had the time that it takes.

        While memory allows it, that is.
        """
        is_time = self._clock() - self._counted_from >= self._seconds
        return is_time and (self.idle or self.held >= MOST_HELD)

    def count_again(self) -> float:
        """The next checkpoint is due so many seconds from now, whether there is anything to write now or not."""
        self._counted_from = self._clock()
        return self._counted_from

    def begin(self, snapshot: Snapshot, stored: Callable[[Snapshot], Awaitable[None]]) -> None:
        """Start to write a snapshot; ``stored`` is called once it is. ``end`` must have been awaited before."""
        self.held = 0
        self._task = asyncio.create_task(self._write(snapshot, stored), name="checkpoint")

    async def end(self) -> None:
        """Wait until nothing is being written. Raises what kept a snapshot from being stored, Fenced among it."""
        if self._task is not None:
            await asyncio.wait({self._task})
            task, self._task = self._task, None
            task.result()

    async def _write(self, snapshot: Snapshot, stored: Callable[[Snapshot], Awaitable[None]]) -> None:
        wait = RETRY_SECONDS
        blocks: list[Block] | None = None
        received = prepared = self._clock()
        while True:
            try:
                if blocks is None or self._clock() - prepared > UNNAMED_SECONDS:
                    # before the transaction, so that nobody waits for the store meanwhile; and anew after long, since
                    # files that nothing names are swept
                    prepared = self._clock()
                    blocks = [] if self._archive is None else await self._archive.prepare(snapshot.monitors, received)
                await self._commit(snapshot, blocks, again=self.waits_for is not None)
                break
            except NO_WAITING_MENDS:
                raise
            except (DBAPIError, OSError) as error:
                self.waits_for = what_is_wrong(error)
                log.warning("a checkpoint waits", reason=self.waits_for, error=first_line(error), seconds=wait)
                await self._sleep(wait)
                wait = min(2 * wait, MOST_RETRY_SECONDS)
        self.waits_for = None
        await stored(snapshot)

    async def _commit(self, snapshot: Snapshot, blocks: list[Block], *, again: bool) -> None:
        now = self._clock()
        async with self._store.begin(snapshot.models) as connection:
            if again and await checkpoint.is_written(connection, snapshot):
                return  # the last try was committed, and only its answer was lost
            await checkpoint.write(connection, snapshot)
            if self._archive is not None:
                await self._archive.write(connection, blocks)
            if self._respond is not None:
                for one in snapshot.monitors:
                    await self._respond(connection, one, now)


def what_is_wrong(error: Exception) -> str:
    """For everybody who may see the status page: where the store is, and as whom it is used, is for the log only."""
    if isinstance(error, StorageError):
        return "the archive cannot be written"
    if is_full(error):
        return "the disk is full"
    return "the store does not answer" if isinstance(error, StoreAway) else "the store cannot be written"
