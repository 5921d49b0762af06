"""What the tests of transports share: a store of a few lines, and ways to run the stream and to feed it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from daemon import stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from daemon.stream import StreamService
    from daemon.transports.base import Batch, FetchLimits, Record, TopicPartition, Transport

PATIENCE = 20.0  # seconds after which a test that waits has failed


class Store:
    """Stands where the pipeline and its store stand: takes batches, and keeps the next offsets with them."""

    def __init__(self, offsets: dict[TopicPartition, int] | None = None) -> None:
        self.offsets = offsets or {}
        self.batches: list[Batch] = []
        self._changed = asyncio.Condition()

    async def load(self) -> dict[TopicPartition, int]:
        return dict(self.offsets)

    async def process(self, batch: Batch) -> None:
        async with self._changed:
            self.batches.append(batch)
            self.offsets[batch.target] = batch.next_offset
            self._changed.notify_all()

    async def until(self, records: int) -> list[Record]:
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: len(self.records) >= records)
        return self.records

    @property
    def records(self) -> list[Record]:
        return [record for batch in self.batches for record in batch.records]


@asynccontextmanager
async def opened(transport: Transport) -> AsyncIterator[Transport]:
    await transport.open()
    try:
        yield transport
    finally:
        await transport.close()


@asynccontextmanager
async def streaming(
    transport: Transport, store: Store, *, limits: FetchLimits | None = None
) -> AsyncIterator[StreamService]:
    service = stream.build(transport, transport.options.topics, store.load, store.process, limits=limits)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


async def send(transport: Transport, values: Iterable[bytes], *, topic: str | None = None) -> None:
    for value in values:
        await transport.append(topic or transport.options.topics[0], value, 1, timestamp=1.0)


def numbered(first: int, stop: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, stop)]


def values(records: Iterable[Record]) -> list[bytes]:
    return [record.value for record in records]
