"""The event log against a list, whatever is done to it and in whatever order."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from daemon.transports.base import Record, TopicPartition
from daemon.transports.event_log import EventLog

if TYPE_CHECKING:
    from collections.abc import Coroutine

TARGET = TopicPartition("t", 0)


class LogMachine(RuleBasedStateMachine):
    """The log against a list: any order of appending, reading, trimming, processing and opening again."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.log: EventLog = self.run(EventLog.open(Path(self.folder.name)))
        self.model: list[Record] = []
        self.start = 0
        self.processed = 0

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.run(self.log.close())
        self.loop.close()
        self.folder.cleanup()

    @rule(
        group=st.lists(
            st.tuples(st.binary(max_size=40), st.integers(1, 9), st.one_of(st.none(), st.binary(max_size=5))),
            min_size=1,
            max_size=5,
        ),
        timestamp=st.integers(0, 100),
    )
    def append(self, group: list[tuple[bytes, int, bytes | None]], timestamp: int) -> None:
        async def together() -> list[int]:
            return await asyncio.gather(
                *(
                    self.log.append("t", value, events, timestamp=float(timestamp), key=key)
                    for value, events, key in group
                )
            )

        first = len(self.model)
        assert self.run(together()) == list(range(first, first + len(group)))
        for offset, (value, events, key) in enumerate(group, first):
            self.model.append(Record(offset, float(timestamp), key, value, events))

    @rule(offset=st.integers(0, 60), records=st.integers(1, 8), size=st.integers(1, 120))
    def read(self, offset: int, records: int, size: int) -> None:
        expected: list[Record] = []
        taken = 0
        for record in self.model[max(offset, self.start) :][:records]:
            taken += len(record.value) + len(record.key or b"")
            if expected and taken > size:
                break
            expected.append(record)
        assert self.run(self.log.read("t", 0, offset, records, size)) == expected

    @precondition(lambda self: self.model)
    @rule(offset=st.integers(0, 60))
    def process(self, offset: int) -> None:
        self.run(self.log.processed("t", 0, offset))
        self.processed = min(max(offset, self.start), len(self.model))

    @rule(
        keep_from=st.integers(0, 60),
        before=st.one_of(st.none(), st.integers(0, 101)),
        size=st.one_of(st.none(), st.integers(0, 300)),
    )
    def trim(self, keep_from: int, before: int | None, size: int | None) -> None:
        start = self.start
        while start < min(keep_from, len(self.model)):
            old = before is not None and self.model[start].timestamp < before
            large = size is not None and _size(self.model[start:]) > size
            if not (old or large):
                break
            start += 1
        removed = self.run(
            self.log.trim({TARGET: keep_from}, before=None if before is None else float(before), max_bytes=size)
        )
        assert removed == start - self.start
        self.start, self.processed = start, max(start, self.processed)

    @rule()
    def open_again(self) -> None:
        self.run(self.log.close())
        self.log = self.run(EventLog.open(Path(self.folder.name)))
        self.processed = self.start

    @invariant()
    def figures_agree(self) -> None:
        if not self.model:
            return
        assert (self.log.start_offset("t"), self.log.end_offset("t")) == (self.start, len(self.model))
        assert self.log.size_bytes() == _size(self.model[self.start :])
        unread = self.model[self.processed :]
        assert self.log.backlog() == (sum(record.events for record in unread), _size(unread))


def _size(records: list[Record]) -> int:
    return sum(len(record.value) + len(record.key or b"") for record in records)


LogMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None, derandomize=True)
TestLogAgainstAList = LogMachine.TestCase
