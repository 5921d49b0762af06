"""Bounds how many batches are read ahead of the pipeline."""

from __future__ import annotations

import asyncio


class InFlight:
    """Counts the batches that were fetched and not yet processed, and holds fetching up at the limit.

    Faust bounds its buffers by a number of messages, and where they are full it sleeps for a second. A message of
    ours is megabytes, so the bound has to be small, and waiting for it must end at once.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._batches: dict[int, object] = {}  # by id; the batch is kept with it, so that no other can get that id
        self._room = asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        return len(self._batches)

    async def room(self) -> None:
        """Wait until another batch may be fetched."""
        await self._room.wait()

    def add(self, batch: object) -> None:
        """Count a batch that was fetched. It stays counted until `done`, or until `forget` drops them all."""
        self._batches[id(batch)] = batch
        self._update()

    def holds(self, batch: object) -> bool:
        """Whether this batch is still counted: it was neither done nor forgotten."""
        return id(batch) in self._batches

    def done(self, batch: object) -> None:
        """Count a batch no more: it was processed, or put away unprocessed."""
        self._batches.pop(id(batch), None)
        self._update()

    def forget(self) -> None:
        """Count none of the batches so far: they will be fetched again."""
        self._batches.clear()
        self._update()

    def _update(self) -> None:
        if len(self._batches) < self.limit:
            self._room.set()
        else:
            self._room.clear()
