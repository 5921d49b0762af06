"""The default transport: a durable log in the data folder, read by the same process that takes the events in."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from daemon.transports.base import TopicPartition
from daemon.transports.errors import LogClosed
from daemon.transports.event_log import EventLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from daemon.transports.base import TransportOptions

logger = logging.getLogger(__name__)


class EmbeddedTransport:
    """Keeps events in an EventLog. The URL is `embedded://`, or `embedded:///folder` for another than the data folder.

    A topic has one partition: within one process more would buy nothing, and one keeps all events in order.
    """

    def __init__(self, url: str, options: TransportOptions) -> None:
        self.options = options
        self.folder = Path(urlsplit(url).path or options.data_folder)
        self._log: EventLog | None = None

    @property
    def log(self) -> EventLog:
        """The log, while it is open. Raises LogClosed otherwise."""
        if self._log is None:
            raise LogClosed("the event log is not open")
        return self._log

    async def open(self) -> None:
        """Open the log. Raises CannotOpen, and DataFolderInUse if another daemon has it."""
        self._log = await EventLog.open(self.folder, self.options.backlog)

    async def close(self) -> None:
        """Commit what is being appended and let go of the folder. A second call does nothing."""
        if self._log is not None:
            await self._log.close()

    def app_settings(self) -> dict[str, Any]:
        """Return the broker URL by which Faust finds our driver, after making it known."""
        from daemon.transports.embedded_driver import SCHEME, register

        register()
        return {"broker": f"{SCHEME}://"}

    async def append(self, topic: str, value: bytes, events: int, *, timestamp: float, key: bytes | None = None) -> int:
        """Append a record, and return its offset once its commit is on the disk (see EventLog.append)."""
        return await self.log.append(topic, value, events, timestamp=timestamp, key=key)

    def end_offsets(self, topics: Iterable[str]) -> dict[TopicPartition, int]:
        """Return the next offset to be given out in each topic."""
        return {TopicPartition(topic, 0): self.log.end_offset(topic) for topic in topics}

    def partitions(self, topics: Iterable[str]) -> set[TopicPartition]:
        """Return the one partition of each topic."""
        return {TopicPartition(topic, 0) for topic in topics}

    def caught_up(self, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, float]:
        """Of these positions, those at the end of their log: as of now, for nobody else appends."""
        now = time.time()
        return {target: now for target, position in positions.items() if position >= self.log.end_offset(*target)}

    async def continue_from(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Count what is before the store's offsets as processed; a log that ends before them goes on from there."""
        for target, offset in offsets.items():
            end = self.log.end_offset(*target)
            if offset > end:
                logger.warning(
                    "the log of %s ends at %d, but the store has seen it up to %d: new events go on from there",
                    target.topic,
                    end,
                    offset,
                )
                await self.log.advance(*target, offset)
            await self.log.processed(*target, offset)

    async def processed(self, target: TopicPartition, next_offset: int) -> None:
        """Count what is before this offset as backlog no more."""
        await self.log.processed(*target, next_offset)

    async def trim(self, keep_from: Mapping[TopicPartition, int], *, now: float) -> int:
        """Remove processed records beyond the retention, and return how many (see EventLog.trim)."""
        retention = self.options.retention
        before = None if retention.seconds is None else now - retention.seconds
        return await self.log.trim(keep_from, before=before, max_bytes=retention.size)
