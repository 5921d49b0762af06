"""Which partition an event belongs to: the one that Kafka's own partitioner gives its id."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from aiokafka.partitioner import murmur2

from daemon.events.keys import key_of, keyed_documents

if TYPE_CHECKING:
    from collections.abc import Iterator


logger = logging.getLogger(__name__)

LARGEST_VALUE = 1 << 19  # bytes of many events in one record: half of what brokers take where nobody has set it


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
