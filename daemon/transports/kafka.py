"""Events in the topics of a Kafka cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from aiokafka.errors import KafkaError

from daemon.transports.errors import BrokerUnreachable, LogClosed
from daemon.transports.folder_lock import FolderLock
from daemon.transports.kafka_options import Cluster
from daemon.transports.kafka_sender import KafkaSender
from daemon.transports.kafka_topics import ensure_topics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from daemon.transports.base import TopicPartition, TransportOptions
    from daemon.transports.kafka_records import Asked

LOCK_NAME = "events.lock"


class Reader(Protocol):
    """What the Faust side of this transport knows."""

    def ends(self) -> dict[TopicPartition, int]:
        """The ends of the assigned partitions, as of the last fetch."""
        ...

    def partitions(self, topics: Iterable[str]) -> set[TopicPartition]:
        """All partitions of the topics, as the cluster's metadata has them."""
        ...

    def asked(self) -> dict[TopicPartition, Asked]:
        """What brokers have said of the ends of the assigned partitions."""
        ...

    async def leave(self) -> None:
        """Let go of the cluster, if that has not been done."""
        ...


class KafkaTransport:
    """Keeps events in Kafka. The URL is `kafka://host:port,host:port`, or `kafka+ssl://...` by TLS.

    How long they are kept is the topic's own affair, and how many wait is that of its senders: we hold nobody back
    but those that send by way of us.
    """

    def __init__(self, url: str, options: TransportOptions) -> None:
        self.options = options
        self.cluster = Cluster.of(url, options.kafka)
        self.processed_offsets: dict[TopicPartition, int] = {}
        self.reader: Reader | None = None
        self._lock: FolderLock | None = None
        self._sender: KafkaSender | None = None

    async def open(self) -> None:
        """Take the data folder, look for the topics, and connect.

        Raises DataFolderInUse, BrokerUnreachable, or CannotOpen where a topic is missing or driftd is refused.
        """
        lock = FolderLock.acquire(self.options.data_folder, LOCK_NAME)
        try:
            await ensure_topics(self.cluster, self.options.topics)
            sender = KafkaSender(self.cluster, self.options.backlog.in_flight)
            await sender.start()
        except KafkaError as error:
            lock.release()
            raise BrokerUnreachable(f"the Kafka cluster {self.cluster.bootstrap} does not answer ({error})") from error
        except BaseException:
            lock.release()
            raise
        self._lock, self._sender = lock, sender

    async def close(self) -> None:
        """Send what is being appended and disconnect. A second call does nothing."""
        if self.reader is not None:
            await self.reader.leave()
        if self._sender is not None:
            await self._sender.stop()
        if self._lock is not None:
            self._lock.release()

    def app_settings(self) -> dict[str, Any]:
        """Return the broker URL by which Faust finds our driver, after making it known."""
        from daemon.transports.kafka_driver import SCHEME, register

        register()
        return {"broker": f"{SCHEME}://"}

    async def append(self, topic: str, value: bytes, events: int, *, timestamp: float, key: bytes | None = None) -> int:
        """Produce a value, and return its offset once all replicas in sync have it.

        Where no key is given, that of one event is its id. Many events become a record in each partition that their
        ids belong to; the offset is then the highest of them, and where not all are confirmed some may be stored.
        """
        if self._sender is None:
            raise LogClosed("the connection to Kafka is not open")
        return await self._sender.send(topic, value, events, timestamp, key)

    def end_offsets(self, topics: Iterable[str]) -> dict[TopicPartition, int]:
        """Return the end of each assigned partition of the topics: of what is committed, as of the last fetch."""
        wanted = set(topics)
        ends = {} if self.reader is None else self.reader.ends()
        return {target: end for target, end in ends.items() if target.topic in wanted}

    def partitions(self, topics: Iterable[str]) -> set[TopicPartition]:
        """Return all partitions of the topics, once the reader knows them."""
        return set() if self.reader is None else self.reader.partitions(topics)

    def caught_up(self, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, float]:
        """Of these positions, those at the end of their log, and since when nothing can be missing before them.

        That is the time at which the broker was asked whose answer gave the end: what is committed later may be beyond.
        """
        asked = {} if self.reader is None else self.reader.asked()
        return {
            target: asked[target].at
            for target, position in positions.items()
            if target in asked and position >= asked[target].end
        }

    async def continue_from(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Have these offsets committed soon. A log that was made anew is told by where it ends (see `kafka_driver`)."""
        self.processed_offsets = dict(offsets)

    async def processed(self, target: TopicPartition, next_offset: int) -> None:
        """Have this offset committed soon, for others to see how far driftd is."""
        self.processed_offsets[target] = next_offset

    async def trim(self, keep_from: Mapping[TopicPartition, int], *, now: float) -> int:  # noqa: ARG002 - the seam's
        """Remove nothing: a topic has its own retention."""
        return 0
