"""What the event log promises to those who append, to those who read, and to an operator."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from daemon.transports.base import BacklogLimits, Record, TopicPartition
from daemon.transports.errors import (
    AppendFailed,
    Backlog,
    DataFolderInUse,
    DataFolderNotWritable,
    LogClosed,
    LogDamaged,
    LogFull,
    LogTooNew,
)
from daemon.transports.event_log import EventLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TARGET = TopicPartition("t", 0)


@asynccontextmanager
async def opened(folder: Path, limits: BacklogLimits | None = None) -> AsyncIterator[EventLog]:
    log = await EventLog.open(folder, limits)
    try:
        yield log
    finally:
        await log.close()


async def fill(log: EventLog, values: list[bytes], *, timestamp: float = 0.0) -> None:
    for value in values:
        await log.append("t", value, 1, timestamp=timestamp)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def everything(log: EventLog, offset: int = 0) -> list[Record]:
    return await log.read("t", 0, offset, 10_000, 1 << 30)


async def test_what_is_appended_is_read_as_it_was(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        first = await log.append("t", b'{"a": 1}', 1, timestamp=1000.5, key=b"8c1f")
        second = await log.append("t", b"{}\n{}\n{}", 3, timestamp=1001.5)
        assert (first, second) == (0, 1)
        assert await everything(log) == [
            Record(0, 1000.5, b"8c1f", b'{"a": 1}', 1),
            Record(1, 1001.5, None, b"{}\n{}\n{}", 3),
        ]
        assert await everything(log, offset=1) == [Record(1, 1001.5, None, b"{}\n{}\n{}", 3)]
        assert await everything(log, offset=2) == []
        assert (log.start_offset("t"), log.end_offset("t"), log.size_bytes()) == (0, 2, 8 + 4 + 8)


async def test_topics_and_partitions_are_logs_of_their_own(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        offsets = [
            await log.append(topic, value, 1, timestamp=0.0, partition=partition)
            for topic, partition, value in [("t", 0, b"a"), ("t", 1, b"b"), ("u", 0, b"c"), ("t", 1, b"d")]
        ]
        assert offsets == [0, 0, 0, 1]
        assert [record.value for record in await log.read("t", 1, 0, 10, 100)] == [b"b", b"d"]
        assert log.partitions() == [("t", 0), ("t", 1), ("u", 0)]
        assert await log.read("never", 0, 0, 10, 100) == []


async def test_those_who_append_at_once_share_commits_and_keep_their_order(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        values = [str(number).encode() for number in range(1000)]
        offsets = await asyncio.gather(*(log.append("t", value, 1, timestamp=0.0) for value in values))
        assert offsets == list(range(1000))
        assert [record.value for record in await everything(log)] == values
        assert log.commits < 20


async def test_a_read_keeps_to_its_limits_but_always_brings_one_record(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        await fill(log, [b"x" * 100] * 5)
        assert len(await log.read("t", 0, 0, 2, 1 << 20)) == 2
        assert len(await log.read("t", 0, 0, 10, 350)) == 3
        assert len(await log.read("t", 0, 0, 10, 1)) == 1


async def test_a_waiting_reader_is_woken_by_an_append(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        await fill(log, [b"old"])
        waiting = asyncio.create_task(log.wait_beyond({TARGET: 1, TopicPartition("u", 0): 0}))
        await log.append("other", b"not for it", 1, timestamp=0.0)
        assert not waiting.done()
        await log.append("u", b"new", 1, timestamp=0.0)
        await asyncio.wait_for(waiting, 5)
        await log.wait_beyond({TARGET: 0})  # what is there already needs no waiting


async def test_a_waiting_reader_hears_that_the_log_closes(tmp_path: Path) -> None:
    log = await EventLog.open(tmp_path)
    waiting = asyncio.create_task(log.wait_beyond({TARGET: 0}))
    await asyncio.sleep(0)
    await log.close()
    with pytest.raises(LogClosed):
        await waiting
    with pytest.raises(LogClosed):
        await log.append("t", b"late", 1, timestamp=0.0)


async def test_closing_commits_what_is_on_its_way(tmp_path: Path) -> None:
    log = await EventLog.open(tmp_path)
    appends = [asyncio.create_task(log.append("t", b"x", 1, timestamp=0.0)) for _ in range(50)]
    await asyncio.sleep(0)
    await log.close()
    assert [append.result() for append in appends] == list(range(50))
    assert files(tmp_path) == ["events.db", "events.lock"]
    async with opened(tmp_path) as again:
        assert len(await everything(again)) == 50


async def test_a_cancelled_sender_disturbs_nobody_else(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        appends = [asyncio.create_task(log.append("t", b"x", 1, timestamp=0.0)) for _ in range(3)]
        await asyncio.sleep(0)
        appends[1].cancel()
        results = await asyncio.gather(*appends, return_exceptions=True)
        assert results[0] == 0
        assert isinstance(results[1], asyncio.CancelledError)
        assert results[2] == 2


async def test_too_large_a_backlog_refuses_until_it_was_processed(tmp_path: Path) -> None:
    async with opened(tmp_path, BacklogLimits(events=10)) as log:
        await log.append("t", b"x" * 10, 10, timestamp=0.0)
        with pytest.raises(Backlog) as refused:
            await log.append("t", b"y", 1, timestamp=0.0)
        assert 1.0 <= refused.value.retry_after <= 60.0
        assert log.end_offset("t") == 1
        await log.processed("t", 0, 1)
        assert log.backlog() == (0, 0)
        assert await log.append("t", b"y", 1, timestamp=0.0) == 1


async def test_a_backlog_counts_bytes_too_and_those_still_being_committed(tmp_path: Path) -> None:
    async with opened(tmp_path, BacklogLimits(size=100)) as log:
        first = asyncio.create_task(log.append("t", b"x" * 100, 1, timestamp=0.0))
        await asyncio.sleep(0)
        with pytest.raises(Backlog):
            await log.append("t", b"y", 1, timestamp=0.0)
        assert await first == 0


async def test_what_was_processed_is_told_exactly_after_opening_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        await fill(log, [b"1", b"22", b"333", b"4444"])
    async with opened(tmp_path) as log:
        assert log.backlog() == (4, 10)
        await log.processed("t", 0, 2)
        assert log.backlog() == (2, 7)
        await log.processed("t", 0, 4)
        assert log.backlog() == (0, 0)


async def test_trimming_by_size_takes_the_oldest_and_never_the_unprocessed(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        await fill(log, [b"x" * 100] * 10)
        assert await log.trim({TARGET: 4}, max_bytes=300) == 4
        assert (log.start_offset("t"), log.size_bytes()) == (4, 600)
        assert await log.trim({TARGET: 10}, max_bytes=300) == 3
        assert [record.offset for record in await everything(log)] == [7, 8, 9]
        assert await log.trim({}, max_bytes=0) == 0
        assert await log.trim({TARGET: 10}, max_bytes=0) == 3
        assert (log.start_offset("t"), log.end_offset("t"), log.size_bytes()) == (10, 10, 0)
    async with opened(tmp_path) as log:
        assert (log.start_offset("t"), log.end_offset("t")) == (10, 10)
        assert await log.append("t", b"goes on", 1, timestamp=0.0) == 10


async def test_trimming_by_age_stops_at_the_first_that_is_young_enough(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        for timestamp in (10.0, 20.0, 30.0, 15.0):
            await fill(log, [b"x"], timestamp=timestamp)
        assert await log.trim({TARGET: 4}, before=25.0) == 2
        assert [record.timestamp for record in await everything(log)] == [30.0, 15.0]


async def test_trimming_takes_from_the_partition_with_the_oldest_record(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        await log.append("t", b"xx", 1, timestamp=2.0)
        await log.append("u", b"xx", 1, timestamp=1.0)
        await log.trim({TARGET: 1, TopicPartition("u", 0): 1}, max_bytes=2)
        assert (log.start_offset("t"), log.start_offset("u")) == (0, 1)


async def test_trimming_gives_the_disk_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        body = b"x" * (4 << 20)
        for _ in range(25):
            await log.append("t", body, 1, timestamp=0.0)
        await log.trim({TARGET: 25}, max_bytes=0)
    assert (tmp_path / "events.db").stat().st_size < 70 << 20


async def test_a_log_that_begins_anew_goes_on_where_the_store_is(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        await log.advance("t", 0, 1000)
        assert (log.start_offset("t"), log.end_offset("t"), log.backlog()) == (1000, 1000, (0, 0))
        assert await log.append("t", b"x", 1, timestamp=0.0) == 1000
        await log.advance("t", 0, 5)
        assert await log.append("t", b"y", 1, timestamp=0.0) == 1001
    async with opened(tmp_path) as log:
        assert [record.offset for record in await everything(log)] == [1000, 1001]


async def test_a_full_disk_refuses_loses_nothing_and_heals(tmp_path: Path) -> None:
    def pages(limit: int) -> Any:
        # SQLite answers its own page limit as it answers a full disk: SQLITE_FULL, everything rolled back
        return lambda connection: connection.execute(f"PRAGMA max_page_count = {limit}").fetchall()

    async with opened(tmp_path) as log:
        await fill(log, [b"before"])
        await log._write(pages(20))
        with pytest.raises(LogFull, match="disk"):
            await log.append("t", b"x" * 1_000_000, 1, timestamp=0.0)
        assert await log.append("t", b"small ones still fit", 1, timestamp=0.0) == 1
        await log._write(pages(1_000_000))
        assert await log.append("t", b"x" * 1_000_000, 1, timestamp=0.0) == 2
        assert [len(record.value) for record in await everything(log)] == [6, 20, 1_000_000]
        assert log.backlog().events == 3


async def test_a_group_is_stored_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        no_time: Any = object()
        group = [log.append("t", b"good", 1, timestamp=1.0), log.append("t", b"bad", 1, timestamp=no_time)]
        results = await asyncio.gather(*group, return_exceptions=True)
        assert [type(result) for result in results] == [AppendFailed, AppendFailed]
        assert log.end_offset("t") == 0
        assert await log.append("t", b"next", 1, timestamp=1.0) == 0
        assert [record.value for record in await everything(log)] == [b"next"]


async def test_a_second_daemon_on_the_folder_is_told_which_process_has_it(tmp_path: Path) -> None:
    async with opened(tmp_path):
        with pytest.raises(DataFolderInUse, match=rf"process {os.getpid()}\b.*DRIFTD_DATA_DIR"):
            await EventLog.open(tmp_path)
    async with opened(tmp_path):
        pass


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataFolderNotWritable, match=r"file/data.*DRIFTD_DATA_DIR"):
        await EventLog.open(tmp_path / "file" / "data")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataFolderNotWritable):
        asyncio.run(EventLog.open(tmp_path))
    tmp_path.chmod(0o700)


async def test_a_log_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        await fill(log, [b"x"])
    with sqlite3.connect(tmp_path / "events.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LogTooNew, match="99"):
        await EventLog.open(tmp_path)
    with pytest.raises(LogTooNew):  # and the folder is free for the right version
        await EventLog.open(tmp_path)


async def test_a_file_that_is_no_event_log_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "events.db").write_bytes(b"these are not the pages of a database" * 1000)
    with pytest.raises(LogDamaged, match=r"events\.db"):
        await EventLog.open(tmp_path)
    (tmp_path / "events.db").unlink()
    with sqlite3.connect(tmp_path / "events.db") as connection:
        connection.execute("CREATE TABLE somebody (elses INTEGER)")
    connection.close()
    with pytest.raises(LogDamaged):
        await EventLog.open(tmp_path)


APPENDING = """
import asyncio, os, sys
from pathlib import Path
from daemon.transports.event_log import EventLog

async def main():
    log = await EventLog.open(Path(sys.argv[1]))
    async def sender(name):
        number = 0
        while True:
            value = f"{name}-{number}".encode()
            offset = await log.append("t", value, 1, timestamp=0.0)
            os.write(1, b"%d %s\\n" % (offset, value))
            number += 1
    await asyncio.gather(*(sender(name) for name in range(20)))

asyncio.run(main())
"""


async def opened_and_read(folder: Path) -> tuple[int, dict[int, bytes]]:
    async with opened(folder) as log:
        return log.end_offset("t"), {record.offset: record.value for record in await everything(log)}


def test_a_killed_process_leaves_everything_it_acknowledged(tmp_path: Path) -> None:
    for kills in range(3):
        child = subprocess.Popen([sys.executable, "-c", APPENDING, str(tmp_path)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(200 * (kills + 1))]
        child.send_signal(signal.SIGKILL)
        lines += [line for line in child.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
        child.stdout.close()
        child.wait()
        acknowledged = {int(offset): value for offset, value in (line.split() for line in lines)}
        assert len(acknowledged) == len(lines)
        end, kept = asyncio.run(opened_and_read(tmp_path))
        assert sorted(kept) == list(range(end))
        assert acknowledged.items() <= kept.items()
