"""Reads what aiokafka has fetched many records at a time: its own way makes two objects of each, one after the other.

What is compressed, aborted, or a mark of a transaction is aiokafka's to tell, as before.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from itertools import dropwhile, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.consumer.fetcher import FetchResult

from daemon.transports.base import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiokafka import AIOKafkaConsumer

_new_tuple = tuple.__new__


class Piece(NamedTuple):
    """Records that follow each other, and the offset of the last one.

    A value may be None, and each record is said to hold one event.
    """

    offset: int
    records: list[Record]


class Asked(NamedTuple):
    """The end of what is committed in a partition, as a broker told it who was asked at this time (epoch seconds).

    What had been committed before that time is before the end. It is in whole milliseconds, cut off, as brokers write
    the time of a record: one that was committed later does not bear an earlier time.
    """

    at: float
    end: int


class Pieces:
    """Has `getmany` of a started consumer give pieces in place of records, and notes when partitions were asked for.

    `most` is how many records the next piece holds at most.
    """

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self.most = 1
        self.asked: dict[KafkaPartition, Asked] = {}
        fetcher: Any = consumer._fetcher  # noqa: SLF001 - there is no other way in
        fetcher._records = _Answers(self)  # noqa: SLF001
        self._ask = fetcher._proc_fetch_request  # noqa: SLF001
        fetcher._proc_fetch_request = self._note  # noqa: SLF001

    async def _note(self, assignment: Any, node: int, request: Any) -> bool:
        """Send a request, and note what it says of ends with the time before it was sent, not that of the answer.

        An answer may lie in a socket for long, where this process is stopped for a while.
        """
        began = int(time.time() * 1000)
        answered = bool(await self._ask(assignment, node, request))
        for topic, partitions in request.topics if assignment.active else ():
            for partition, *_ in partitions:
                target = KafkaPartition(topic, partition)
                state = assignment.state_value(target)
                if state.lso is not None and state.timestamp is not None and state.timestamp > began:
                    self.asked[target] = Asked(began / 1000, state.lso)
        return answered


class _Answers(OrderedDict[Any, Any]):
    """Stands where aiokafka puts what came of each partition."""

    def __init__(self, pieces: Pieces) -> None:
        super().__init__()
        self._pieces = pieces

    def __setitem__(self, target: Any, answer: Any) -> None:
        if isinstance(answer, FetchResult):  # else an error
            found: Any = answer._partition_records  # noqa: SLF001
            found._records = _Batches(found._records, found.next_fetch_offset, self._pieces)  # noqa: SLF001
            found._consumer_record = _as_it_is  # noqa: SLF001
        super().__setitem__(target, answer)


def _as_it_is(target: object, piece: Piece) -> Piece:  # noqa: ARG001 - aiokafka's signature
    return piece


class _Batches:
    """Stands where aiokafka has the record batches of an answer."""

    def __init__(self, batches: Any, first: int, pieces: Pieces) -> None:
        self._batches = batches
        self._first = first
        self._pieces = pieces

    def has_next(self) -> bool:
        return bool(self._batches.has_next())

    def next_batch(self) -> _Batch:
        return _Batch(self._batches.next_batch(), self._first, self._pieces)


class _Batch:
    """A record batch whose records come in pieces; anything else of it is the batch's own."""

    def __init__(self, batch: Any, first: int, pieces: Pieces) -> None:
        self._batch = batch
        self._first = first
        self._pieces = pieces

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)  # the mark of a transaction

    def __iter__(self) -> Iterator[Piece]:
        # a broker sends whole batches, beginning with the one that holds the offset that was asked for
        wanted = dropwhile(lambda one: one.offset < self._first, self._batch)
        while True:
            most = self._pieces.most
            records = [
                _new_tuple(Record, (one.offset, one.timestamp / 1000.0, one.key, one.value, 1))
                for one in islice(wanted, most)
            ]
            if records:
                yield Piece(records[-1].offset, records)
            if len(records) < most:
                return  # a batch that has ended may not be asked again
