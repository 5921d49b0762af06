"""Which partition an event belongs to: the one that Kafka's own partitioner gives its id."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from aiokafka.partitioner import murmur2

from daemon.events.keys import key_of, keyed_documents

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from daemon.transports.base import Record

logger = logging.getLogger(__name__)

LARGEST_VALUE = 1 << 19  # bytes of many events in one record: half of what brokers take where nobody has set it
LOOKED_AT = 1000  # events of each topic that are looked at first; then it is one of each batch


class Part(NamedTuple):
    """What becomes one record."""

    partition: int | None
    key: bytes | None
    value: bytes
    events: int


def partition_of(key: str, partitions: int) -> int:
    """The partition of an id, as the clients of Java, and ours, have it."""
    return int(murmur2(key.encode())) % (1 << 31) % partitions


def split(value: bytes, events: int, partitions: int) -> Iterator[Part]:
    """A value of one event or NDJSON of many as records: events of one id in one partition, in their order."""
    if events <= 1:
        key = key_of(value)
        yield Part(None, None if key is None else key.encode(), value, events)
        return
    if partitions == 1 and len(value) <= LARGEST_VALUE:
        yield Part(0, None, value, events)
        return
    gathered: dict[int, list[bytes]] = {}
    sizes: dict[int, int] = {}
    last = 0  # where events without an id go: with those before them
    for document, key in keyed_documents(value):
        last = last if key is None else partition_of(key, partitions)
        if sizes.get(last, 0) + len(document) > LARGEST_VALUE and last in gathered:
            yield _part(last, gathered.pop(last))
            sizes[last] = 0
        gathered.setdefault(last, []).append(document)
        sizes[last] = sizes.get(last, 0) + len(document) + 1
    for partition, documents in gathered.items():
        yield _part(partition, documents)


def _part(partition: int, documents: list[bytes]) -> Part:
    return Part(partition, None, b"\n".join(documents), len(documents))


class KeyWatch:
    """Notices that the events of a topic are not keyed by their ids, and says so once for each topic.

    One worker that reads all partitions joins labels to predictions all the same; several do not.
    """

    def __init__(self) -> None:
        self._looked_at: dict[str, int] = {}
        self._told: set[str] = set()

    def look(self, topic: str, partition: int, partitions: int, records: Iterable[Record]) -> None:
        """Look at the records of a batch, of a topic of so many partitions."""
        if partitions < 2 or topic in self._told:  # noqa: PLR2004 - with one there is nothing to be wrong
            return
        rest = max(1, LOOKED_AT - self._looked_at.get(topic, 0))
        for record in records:
            for _, key in keyed_documents(record.value):
                self._looked_at[topic] = self._looked_at.get(topic, 0) + 1
                if key is not None and partition_of(key, partitions) != partition:
                    self._tell(topic, partition, partitions, key)
                    return
                rest -= 1
                if not rest:
                    return

    def _tell(self, topic: str, partition: int, partitions: int, key: str) -> None:
        self._told.add(topic)
        logger.error(
            "the events of %s are not keyed by their ids: that of id %r is in partition %d and belongs in %d. Several "
            "workers could not bring labels and predictions together. Have every producer set the key of a record to "
            "the id of its event and use the partitioner of Kafka's Java client (librdkafka: "
            "partitioner=murmur2_random); NDJSON of many events goes by POST /v1/events, which splits it",
            topic,
            key,
            partition,
            partition_of(key, partitions),
        )
