"""A worker: busy while there is work, woken at once, and patient with a database that is away."""

import asyncio

import pytest
from sqlalchemy.exc import OperationalError

from daemon.lifecycle import worker
from daemon.lifecycle.worker import Worker

LONG = 1e6


async def test_it_works_until_there_is_nothing_left_and_is_woken_at_once() -> None:
    left = 3
    idle = asyncio.Event()

    async def step() -> bool:
        nonlocal left
        if left:
            left -= 1
            return True
        idle.set()
        return False

    working = Worker("test", step, poll_seconds=LONG)
    running = asyncio.create_task(working.run())
    async with asyncio.timeout(10):
        for more in (3, 2):
            await idle.wait()
            assert left == 0
            idle.clear()
            left = more
            working.wake()
        await idle.wait()
        working.stop()
        await running


@pytest.mark.parametrize("failure", [OperationalError("select", {}, OSError("gone")), ConnectionRefusedError()])
async def test_it_waits_out_a_database_that_is_away(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "AWAY_SECONDS", 0.0)
    failures = [failure, failure]

    async def step() -> bool:
        if failures:
            raise failures.pop()
        working.stop()
        return False

    working = Worker("test", step, poll_seconds=LONG)
    async with asyncio.timeout(10):
        await working.run()


async def test_what_no_waiting_can_mend_is_not_hidden() -> None:
    async def step() -> bool:
        raise KeyError("a mistake")

    with pytest.raises(KeyError, match="a mistake"):
        await Worker("test", step).run()
