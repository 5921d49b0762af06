"""The one Faust app and its one agent: batches in order, from where the store says, to the pipeline.

Faust runs inside the daemon's own event loop: it prints nothing, takes no signals, serves no pages and writes no
files. An error that escapes `process` stops the service with the error on record, and the batch is delivered again
after a restart, because the position that counts is the store's and did not move.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import faust
from faust.tables.manager import TableManager
from mode.supervisors import CrashingSupervisor

from daemon.transports.base import Batch, Feed, FetchLimits, TopicPartition
from daemon.transports.in_flight import InFlight

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from faust.types import StreamT

    from daemon.transports.base import Transport

logger = logging.getLogger(__name__)
faust_logger = logging.getLogger("faust.driftd")  # what Faust reports through classes of ours

STOP_SECONDS = 10.0
BUFFERED_MESSAGES = 64  # far above what InFlight lets through, so that Faust never meets its own limit


class _NoTables(TableManager):
    """Starts at once: Faust's own waits a second for tables that others may still declare, and there are none."""

    logger = faust_logger

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class _App(faust.App):
    """A Faust app that keeps no files, and carries what our side of the transport needs."""

    logger = faust_logger
    feed: Feed

    def _create_directories(self) -> None:
        """Make none: there are no tables to keep."""


def build(
    transport: Transport,
    topics: Sequence[str],
    offsets: Callable[[], Awaitable[Mapping[TopicPartition, int]]],
    process: Callable[[Batch], Awaitable[None]],
    *,
    foresee: Callable[[Batch], None] = lambda _: None,
    begin: Callable[[Mapping[TopicPartition, int]], None] = lambda _: None,
    hand_over: Callable[[], Awaitable[None]] | None = None,
    limits: FetchLimits | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> StreamService:
    """Return the service that reads these topics of an open transport.

    `offsets` answers the store's next offset of each partition, at every assignment; a partition that it leaves out
    is read from its start. `process` is given one batch at a time, never an empty one, and must have stored the
    outcome and the batch's `next_offset` when it returns, unless it has called `begin_again`. It has to deal with bad
    events by itself: what it raises stops the service. `foresee` is told of each batch as it is fetched, while others
    may be before it; the batch may yet come in part, or not at all. `begin` is told at every assignment where each
    partition is read on: an offset before the store's means that the log was made anew. `hand_over` is called as
    partitions are taken away, to store what there is in hand of them before others read on: that is waited for, for
    some seconds.
    """
    limits = limits or FetchLimits()
    return StreamService(
        transport,
        topics,
        offsets,
        process,
        foresee=foresee,
        begin=begin,
        hand_over=hand_over,
        limits=limits,
        clock=clock,
    )


class StreamService:
    """Runs the Faust app, and knows how far it is."""

    def __init__(
        self,
        transport: Transport,
        topics: Sequence[str],
        offsets: Callable[[], Awaitable[Mapping[TopicPartition, int]]],
        process: Callable[[Batch], Awaitable[None]],
        *,
        foresee: Callable[[Batch], None],
        begin: Callable[[Mapping[TopicPartition, int]], None],
        hand_over: Callable[[], Awaitable[None]] | None,
        limits: FetchLimits,
        clock: Callable[[], float],
    ) -> None:
        """Use `build`."""
        self._transport = transport
        self._topics = list(topics)
        self._process = process
        self._begin = begin
        self._hand_over = hand_over
        self._clock = clock
        self._positions: dict[TopicPartition, int] = {}
        self._progress_at = clock()
        self._failure: BaseException | None = None
        self._stopping = False
        self._beginning_again = False  # and whatever comes before that is not to be processed
        self._ready = asyncio.Event()
        self._ended = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._feed = Feed(
            transport,
            limits,
            InFlight(limits.ahead),
            offsets,
            asyncio.Lock(),
            sought=self._sought,
            revoked=self._revoked,
            fetched=foresee,
            idle=self._idle,
        )
        self._app = self._make_app()

    def _make_app(self) -> _App:
        for name in ("faust", "mode"):
            # their routine reports are no news to anybody who runs a daemon
            if logging.getLogger(name).level == logging.NOTSET:
                logging.getLogger(name).setLevel(logging.WARNING)
        settings: dict[str, Any] = {
            "env": {},  # else BROKER_URL, WEB_PORT and sixty more in the environment would override what stands here
            "autodiscover": False,
            "store": "memory://",
            "web_enabled": False,
            "topic_allow_declare": False,
            "topic_disable_leader": True,
            "key_serializer": "raw",
            "value_serializer": "raw",
            "stream_wait_empty": False,  # else a stop waits for ever after an agent's error
            "stream_recovery_delay": 0.0,
            "stream_buffer_maxsize": BUFFERED_MESSAGES,
            "agent_supervisor": CrashingSupervisor,
            "TableManager": _NoTables,
        }
        app = _App("driftd", **(settings | self._transport.app_settings()))
        app.feed = self._feed
        topic = app.topic(*self._topics, key_serializer="raw", value_serializer="raw", acks=False)
        app.agent(topic, name="pipeline", concurrency=1)(self._consume)
        return app

    async def start(self) -> None:
        """Start, and return when batches are delivered. Raises what made that impossible, stopped again."""
        self._watcher = asyncio.create_task(self._watch(), name="stream-watcher")
        try:
            await self._app.start()
        except Exception as error:  # noqa: BLE001 - raised below, after the rest was stopped
            self._fail(error)
        await self.wait_until_ready()

    async def wait_until_ready(self) -> None:
        """Wait until batches are delivered. Raises the failure if there was one, stopped again."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._ready, self._ended)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self._failure is not None:
            await self.stop()
            raise self._failure

    async def join(self) -> None:
        """Wait until the service has ended. Raises the failure if that is why."""
        await self._ended.wait()
        if self._failure is not None:
            raise self._failure

    async def stop(self, timeout: float = STOP_SECONDS) -> None:  # noqa: ASYNC109 - a limit on the caller's behalf
        """Stop fetching, let the batch in work finish, and return within so many seconds whatever happens.

        Three quarters of the time are for the batch in work; then it is cancelled, and delivered again next time.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        self._stopping = True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._feed.turn.acquire(), timeout * 0.75)
            self._feed.turn.release()
        stopping = asyncio.ensure_future(self._app.stop())
        done, _ = await asyncio.wait([stopping], timeout=max(0.1, deadline - asyncio.get_running_loop().time()))
        if not done:
            logger.error("the stream did not stop within %.0f s and is left behind", timeout)
            stopping.cancel()
        elif stopping.exception() is not None:
            logger.error("the stream stopped with an error", exc_info=stopping.exception())
        if self._watcher is not None:
            self._watcher.cancel()
        self._ended.set()

    def begin_again(self) -> None:
        """Process nothing of what is on its way here, ask for the store's offsets, and read on from there.

        Called, by `process` or others, where somebody else has moved the store on. Returns at once; `begin` is told.
        """
        if not self._beginning_again and not self._stopping:
            self._beginning_again = True
            consumer = self._app.consumer
            consumer.add_future(consumer.perform_seek())  # type: ignore[attr-defined]  # its protocol leaves it out

    @property
    def failure(self) -> BaseException | None:
        """What stopped the service, if anything did but `stop`."""
        return self._failure

    def positions(self) -> dict[TopicPartition, int]:
        """Return the next offset to be processed of each assigned partition."""
        return dict(self._positions)

    def end_offsets(self) -> dict[TopicPartition, int]:
        """Return the next offset to be given out in each partition of the topics."""
        return self._transport.end_offsets(self._topics)

    def partitions(self) -> set[TopicPartition]:
        """Return all partitions of the topics, whoever reads them."""
        return self._transport.partitions(self._topics)

    def behind(self) -> dict[TopicPartition, int]:
        """Return how many records of each assigned partition are not yet processed."""
        ends = self.end_offsets()
        return {target: max(0, ends.get(target, 0) - position) for target, position in self._positions.items()}

    def caught_up(self) -> dict[TopicPartition, float]:
        """Return, for each assigned partition of which all is processed, a time (epoch seconds) as of which it is.

        Every record that was there at that time is processed; while a partition is silent, the time moves on.
        """
        return dict(self._transport.caught_up(self._positions))

    def lag(self) -> int:
        """Return how many records of the assigned partitions are not yet processed."""
        return sum(self.behind().values())

    def seconds_since_progress(self, now: float) -> float:
        """Return for how long nothing was processed though something waits; 0.0 when nothing waits.

        `now` is of the clock that the service was built with. A stream that stands still is one that a watchdog
        should end: its process has nothing to lose.
        """
        return max(0.0, now - self._progress_at) if self.lag() else 0.0

    async def _consume(self, stream: StreamT[Any]) -> None:
        """Take batches one by one: the agent."""
        async for event in stream.events():
            if not self._stopping:
                await self._handle(event.message.value)

    async def _handle(self, fetched: Batch) -> None:
        try:
            async with self._feed.turn:
                # what was fetched before the offsets were sought will be fetched again
                if self._feed.in_flight.holds(fetched) and not self._beginning_again:
                    await self._take(fetched)
        except Exception as error:
            self._fail(error)
            raise
        finally:
            self._feed.in_flight.done(fetched)

    async def _take(self, fetched: Batch) -> None:
        batch = fetched.since(self._positions.get(fetched.target, 0))
        if batch.records:
            await self._process(batch)
            if self._beginning_again:
                return
            await self._transport.processed(batch.target, batch.next_offset)
        if self._feed.in_flight.holds(fetched):  # else the partition was taken away meanwhile
            self._positions[batch.target] = batch.next_offset
        self._progress_at = self._clock()

    def _sought(self, positions: Mapping[TopicPartition, int]) -> None:
        self._begin(positions)
        self._positions = dict(positions)
        if not self._beginning_again:  # which is no progress: it may do so for ever
            self._progress_at = self._clock()
        self._beginning_again = False
        self._ready.set()

    async def _revoked(self) -> None:
        try:
            if self._hand_over is not None:
                await self._hand_over()
        except Exception as error:  # noqa: BLE001 - as where a batch is processed
            self._fail(error)
        self._positions = {}

    def _idle(self) -> None:
        # what comes after this moment cannot have waited since before it
        if not self.lag():
            self._progress_at = self._clock()

    async def _watch(self) -> None:
        await self._app.wait_until_stopped()
        if not self._stopping:
            self._fail(self._app.crash_reason or RuntimeError("Faust ended by itself"))

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            logger.critical("the stream has stopped: %r", error)  # Faust logs the traceback
            self._failure = error
            self._stopping = True  # nothing else is processed after a batch that was not
            self._ended.set()
