"""One of several workers that read a topic together, as a process of its own, with a store that all of them share.

The store refuses whoever has been overtaken, as the daemon's does, and would refuse a record twice in any case.
"""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.stream import build
from daemon.transports import kafka_driver, kafka_thread
from daemon.transports.base import FetchLimits, TopicPartition, TransportOptions
from daemon.transports.kafka import KafkaTransport
from daemon.transports.kafka_options import KafkaOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from daemon.transports.base import Batch

# sooner than in earnest, so that a test need not wait for long
kafka_thread.SESSION_SECONDS, kafka_thread.HEARTBEAT_SECONDS, kafka_thread.METADATA_SECONDS = 3.0, 0.5, 2.0
kafka_driver.HAND_OVER_SECONDS = 1.5

TABLES = """
CREATE TABLE IF NOT EXISTS records (
    partition INT, offset INT, value BLOB, worker TEXT, PRIMARY KEY (partition, offset)
);
CREATE TABLE IF NOT EXISTS offsets (partition INT PRIMARY KEY, next INT);
CREATE TABLE IF NOT EXISTS readers (worker TEXT, partition INT, PRIMARY KEY (worker, partition));
"""


def connect(store: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(store, timeout=30.0, isolation_level=None)
    connection.executescript(f"PRAGMA journal_mode=WAL; {TABLES}")
    return connection


class SharedStore:
    def __init__(self, path: Path, topic: str, worker: str) -> None:
        self._connection = connect(path)
        self._topic = topic
        self._worker = worker
        self._known: dict[TopicPartition, int] = {}
        self.begin_again: Callable[[], None]

    async def offsets(self) -> dict[TopicPartition, int]:
        rows = self._connection.execute("SELECT partition, next FROM offsets").fetchall()
        self._known = {TopicPartition(self._topic, partition): after for partition, after in rows}
        return dict(self._known)

    def begin(self, positions: Mapping[TopicPartition, int]) -> None:
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute("DELETE FROM readers WHERE worker = ?", (self._worker,))
            self._connection.executemany(
                "INSERT INTO readers VALUES (?, ?)", [(self._worker, target.partition) for target in positions]
            )

    async def process(self, batch: Batch) -> None:
        await asyncio.sleep(0.01)  # as long as a store takes: others come in between
        rows = [(batch.partition, one.offset, one.value, self._worker) for one in batch.records]
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            found = dict(self._connection.execute("SELECT partition, next FROM offsets"))
            if found.get(batch.partition, 0) != self._known.get(batch.target, 0):
                self.begin_again()
                return
            self._connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", rows)
            self._connection.execute("REPLACE INTO offsets VALUES (?, ?)", (batch.partition, batch.next_offset))
        self._known[batch.target] = batch.next_offset


async def work(broker: str, topic: str, folder: Path, store: Path, worker: str) -> None:
    """Read until SIGTERM comes."""
    shared = SharedStore(store, topic, worker)
    options = TransportOptions(folder / worker, topics=(topic,), kafka=KafkaOptions(group=topic))
    transport = KafkaTransport(f"kafka://{broker}", options)
    await transport.open()
    limits = FetchLimits(records=20)
    service = build(transport, [topic], shared.offsets, shared.process, begin=shared.begin, limits=limits)
    shared.begin_again = service.begin_again
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await service.start()
    ended = asyncio.ensure_future(service.join())
    asked = asyncio.ensure_future(stop.wait())
    await asyncio.wait([ended, asked], return_when=asyncio.FIRST_COMPLETED)
    await service.stop()
    shared.begin({})
    await transport.close()
    asked.cancel()
    await ended


if __name__ == "__main__":
    _broker, _topic, _folder, _store, _worker = sys.argv[1:]
    asyncio.run(work(_broker, _topic, Path(_folder), Path(_store), _worker))
