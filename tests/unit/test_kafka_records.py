"""Reading what aiokafka has fetched in pieces: the same records as its own way, at the same positions."""

from __future__ import annotations

import asyncio
import inspect
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, Fetcher, FetchError, FetchResult, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from daemon.transports.base import Record
from daemon.transports.kafka_records import Pieces

if TYPE_CHECKING:
    from collections.abc import Sequence

TARGET = TopicPartition("events", 0)


def batch(first: int, values: Sequence[bytes | None], *, compression: int = 0, producer: int = -1) -> bytes:
    builder = DefaultRecordBatchBuilder(2, compression, int(producer >= 0), producer, 0, 0, 1 << 20)
    for place, value in enumerate(values):
        builder.append(place, 1500 + place, b"key", value, [("trace", b"x")])
    built = bytes(builder.build())
    return first.to_bytes(8, "big") + built[8:]  # the offset is not in the checksum


def fetched(answer: bytes, *, offset: int = 0, aborted: Sequence[tuple[int, int]] = ()) -> FetchResult:
    records = PartitionRecords(
        TARGET,
        MemoryRecords(answer),
        list(aborted),
        offset,
        None,
        None,
        check_crcs=True,
        isolation_level=READ_COMMITTED,
    )
    state = SimpleNamespace(paused=False, position=offset)
    state.consumed_to = lambda position: setattr(state, "position", position)
    assignment = SimpleNamespace(active=True, state_value=lambda _: state)
    return FetchResult(TARGET, assignment=assignment, partition_records=records, backoff=0.0)


def a_consumer(ask: Any = None) -> AIOKafkaConsumer:
    """As far as pieces look into it."""
    return cast("AIOKafkaConsumer", SimpleNamespace(_fetcher=SimpleNamespace(_records={}, _proc_fetch_request=ask)))


def in_pieces(result: FetchResult, most: int) -> tuple[list[list[Record]], list[int]]:
    """The pieces of an answer, and the position after each."""
    consumer: Any = a_consumer()
    pieces = Pieces(consumer)
    pieces.most = most
    consumer._fetcher._records[TARGET] = result
    found, positions = [], []
    while result.has_more():
        found += [piece.records for piece in result.getall(1)]
        positions.append(result._assignment.state_value(TARGET).position)
    return found, positions


def one_by_one(result: FetchResult) -> list[Record]:
    return [Record(one.offset, one.timestamp / 1000, one.key, one.value, 1) for one in result.getall()]


@pytest.mark.parametrize("compression", [0, 1, 3])
@pytest.mark.parametrize("most", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("offset", [0, 2, 3, 7])
def test_pieces_hold_what_aiokafka_reads_one_by_one(compression: int, most: int, offset: int) -> None:
    answer = batch(3, [None, b"d", b"e", b"f", b"g", b"h"], compression=compression)
    if offset < 3:  # a broker begins with the batch that holds the offset
        answer = batch(0, [b"a", b"b", b"c"]) + answer
    pieces, positions = in_pieces(fetched(answer, offset=offset), most)
    assert [record for piece in pieces for record in piece] == one_by_one(fetched(answer, offset=offset))
    assert all(type(record) is Record for piece in pieces for record in piece)
    assert max(map(len, pieces)) <= most
    assert positions[: len(pieces)] == [piece[-1].offset + 1 for piece in pieces]
    assert positions[-1] == 9


def test_a_piece_is_as_large_as_is_asked_for_when_it_is_read() -> None:
    consumer: Any = a_consumer()
    pieces = Pieces(consumer)
    result = consumer._fetcher._records[TARGET] = fetched(batch(0, [b"x"] * 10))
    sizes = []
    for pieces.most in (4, 2, 9):
        [piece] = result.getall(1)
        sizes.append(len(piece.records))
    assert sizes == [4, 2, 4]


def test_what_was_aborted_and_marks_are_left_out_and_gone_past() -> None:
    answer = batch(0, [b"a"]) + batch(1, [b"never", b"never"], producer=7) + batch(3, [b"b", b"c"], producer=8)
    pieces, positions = in_pieces(fetched(answer, aborted=[(7, 1)]), 100)
    assert [[record.value for record in piece] for piece in pieces] == [[b"a"], [b"b", b"c"]]
    assert positions[-1] == 5


def test_an_error_in_place_of_an_answer_stays_one() -> None:
    consumer: Any = a_consumer()
    Pieces(consumer)
    error = FetchError(error=KeyError("x"), backoff=0.0)
    consumer._fetcher._records[TARGET] = error
    assert consumer._fetcher._records[TARGET] is error


def test_an_end_is_known_as_of_when_it_was_asked_for_however_late_the_answer_is_read() -> None:
    state = SimpleNamespace(lso=None, timestamp=None)
    assignment = SimpleNamespace(active=True, state_value=lambda _: state)
    request = SimpleNamespace(topics=[("events", [(0, 5, 1 << 20)])])

    async def answered_late(*_: Any) -> bool:
        asked.append(time.time())
        await asyncio.sleep(0.01)
        state.lso, state.timestamp = 7, int(1000 * time.time())
        return False

    asked: list[float] = []
    consumer: Any = a_consumer(answered_late)
    pieces = Pieces(consumer)
    asyncio.run(consumer._fetcher._proc_fetch_request(assignment, 1, request))
    assert pieces.asked[TARGET].end == 7
    assert pieces.asked[TARGET].at <= asked[0]


def test_where_nothing_was_answered_nothing_is_known() -> None:
    state = SimpleNamespace(lso=7, timestamp=int(1000 * time.time()))
    request = SimpleNamespace(topics=[("events", [(0, 5, 1 << 20)])])

    async def failed(*_: Any) -> bool:
        return False

    consumer: Any = a_consumer(failed)
    pieces = Pieces(consumer)
    for active in (True, False):
        assignment = SimpleNamespace(active=active, state_value=lambda _: state)
        asyncio.run(consumer._fetcher._proc_fetch_request(assignment, 1, request))
    assert pieces.asked == {}


def test_contract_aiokafka_has_what_is_looked_into() -> None:
    source = inspect.getsource(Fetcher)
    assert "self._records[tp] = FetchResult(" in source
    assert "self._proc_fetch_request(assignment, node_id, request)" in source
    assert "tp_state.timestamp = now_ms" in source
    assert "self._partition_records" in inspect.getsource(FetchResult)
    assert {"_records", "_consumer_record"} <= set(PartitionRecords.__init__.__code__.co_names) | set(
        vars(PartitionRecords)
    )
