"""Builds and starts every part, in order, and stops them in the reverse one."""

import asyncio
import os
import secrets
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon import parts
from daemon.actions import HandActions
from daemon.alerts import incidents
from daemon.alerts.dispatch import Dispatcher
from daemon.alerts.notes import NoteKind
from daemon.archive import Archive
from daemon.checkpoint import Snapshot
from daemon.checkpoint_writer import NO_WAITING_MENDS
from daemon.client import leave_token
from daemon.events import event
from daemon.fleet.member import FleetMember, Limits
from daemon.fleet.workers import Role
from daemon.lifecycle.adoption import Adoption
from daemon.lifecycle.retrains import Retrains
from daemon.lifecycle.schedule import Schedule
from daemon.lifecycle.triggers import Triggers
from daemon.logs import get_logger
from daemon.measuring import measure, tell_dead_letters
from daemon.metrics import BATCH_SECONDS, BATCHES, Metrics
from daemon.monitoring.monitor import Monitor
from daemon.monitoring.monitors import make_monitor, rules_of
from daemon.monitoring.respond import Responder
from daemon.monitoring.volume import Volume
from daemon.pipeline import Pipeline
from daemon.service_manager import ServiceManager
from daemon.settings import Settings, warnings
from daemon.stores.engine import first_line, open_store
from daemon.stores.errors import StoreAway, StoreError, StoreRefuses
from daemon.stores.migrate import upgrade
from daemon.stream import StreamService, build
from daemon.transports.base import Batch, TopicPartition
from daemon.transports.errors import BrokerUnreachable, CannotOpen
from daemon.transports.opening import open_patiently
from daemon.transports.registry import make_transport
from daemon.upkeep import Upkeep
from daemon.web import app as web
from daemon.web.context import Context
from daemon.web.server import CannotListen
from daemon.web.server import serve as listen
from retrain.storage.base import StorageError, StorageRefused

HOUSEKEEPING_SECONDS = 10.0
AFTER_COMMIT_SECONDS = 0.5
DEPLOYING = "deploy"
"""Of what one worker does for all."""
RETRY_SECONDS = 1.0
MOST_RETRY_SECONDS = 15.0
LAST_TRY_SECONDS = 2.0
"""For a last checkpoint where the store was away just now."""
START_SECONDS = 60.0
"""That the rest of the start may take."""

log = get_logger("daemon")


async def serve(settings: Settings) -> int:
    """Run the daemon until SIGTERM or SIGINT. Returns the exit code (sysexits.h)."""
    for warning in warnings(settings):
        log.warning(str(warning))
    try:
        async with AsyncExitStack() as stack:
            return await Daemon(settings).run(stack)
    except (CannotOpen, StoreError, StoreRefuses, StorageError, CannotListen) as error:
        log.error(str(error))  # noqa: TRY400 (the text says what to type; where it was raised helps nobody)
        away = isinstance(error, BrokerUnreachable) or (
            isinstance(error, StorageError) and not isinstance(error, StorageRefused)
        )
        return os.EX_TEMPFAIL if away else os.EX_CONFIG
    except (StoreAway, DBAPIError) as error:
        if isinstance(error, NO_WAITING_MENDS):
            raise
        log.error("the store went away during the start", error=first_line(error))  # noqa: TRY400 (as above)
        return os.EX_TEMPFAIL


class Daemon:
    """The running daemon: what its parts are, and how they end."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.manager = ServiceManager()
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self._ready = False
        self._waited_at = float("-inf")
        self.stream: StreamService | None = None
        self.retrainer: Retrains | None = None
        self._alibi = parts.alibi(settings)
        self.local_token = secrets.token_urlsafe(32)
        self.limits = parts.event_limits(settings)
        self.roles = settings.role
        self.worker = parts.worker(settings, time.time())

    async def run(self, stack: AsyncExitStack) -> int:
        """Start every part, and wait until the daemon is told to stop, or cannot go on. Returns the exit code.

        ``stack`` stops the parts, last first. Raises CannotOpen, StoreError, StorageError or CannotListen where a part
        cannot start: each says what to type.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        starting = asyncio.create_task(self._start(stack), name="start")
        stopping = asyncio.create_task(self._stop.wait(), name="signal")
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if starting.done():
            starting.result()
        else:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        return await self._wait()

    async def _start(self, stack: AsyncExitStack) -> None:
        settings = self.settings
        # the log first: opening it takes the data folder, so that a second daemon changes nothing
        self.transport = make_transport(settings.broker, parts.transport_options(settings))
        await open_patiently(self.transport, settings.kafka.wait_seconds)
        stack.push_async_callback(self.transport.close)
        # then the store, migrated before anything reads it
        await self._migrate()
        self.store = open_store(settings.store_url, connections=settings.database_connections)
        stack.push_async_callback(self.store.close)
        # the archive, tried out before there is anything to lose; the data folder has just been written to
        self.places = parts.places(settings)
        self.archive = Archive(self.places.storage, self.store)
        if self.places.shared:
            await self.archive.check()
        # alerts, so that whatever happens from here on is told
        self.dispatcher = self._make_dispatcher()
        if Role.DETECT in self.roles:
            self._run(stack, self.dispatcher.run(), "dispatcher", self.dispatcher.stop)
        self.triggers = self._make_triggers()
        self.volume = Volume(time.time())
        # alibi-detect's processes, where a model is to be watched by them
        if self._alibi is not None:
            stack.callback(self._alibi.close)
        # the pipeline, at its last checkpoint
        self.pipeline = self._make_pipeline()
        await self.pipeline.load()
        stack.push_async_callback(self._flush)
        # before the first request: what the log holds is told apart from what has been processed
        await self.transport.continue_from(await self.pipeline.offsets())
        # retrains, once there is a pipeline to go by their results
        if Role.TRAIN in self.roles:
            self.retrainer = self._make_retrainer()
            self._run(stack, self.retrainer.run(), "retrains", self.retrainer.stop)
        self.actions = HandActions(
            self.store,
            self.triggers,
            self.pipeline,
            self._append_to_first,
            wake_retrainer=self._wake_retrainer,
            wake_dispatcher=self.dispatcher.wake,
        )
        # the page before the stream: it shows how the daemon catches up
        await self._serve_pages(stack)
        await self._read_events(stack)
        for name, work in (("checkpoints", self.pipeline.run()), ("housekeeping", self._keep_house())):
            self._run(stack, work, name)
        if Role.DETECT in self.roles:
            self.schedule = self._make_schedule()
            self._run(stack, self.schedule.run(), "schedule", self.schedule.stop)
        self._ready = True
        self.manager.ready(f"serving {self.server.url}")
        if settings.slack_app_token is not None:
            log.warning("DRIFTD_SLACK_APP_TOKEN has no effect yet: use driftd ack and driftd silence, not buttons")
        log.info("ready", page=self.server.url, roles=sorted(self.roles), data=str(settings.data_dir.absolute()))

    async def _serve_pages(self, stack: AsyncExitStack) -> None:
        settings = self.settings
        site = web.build(self._context(), health_only=Role.WEB not in self.roles)
        self.server = await listen(site, settings.http_host, settings.http_port)
        stack.push_async_callback(self.server.stop)
        if settings.api_token is None:
            leave_token(settings.data_dir, self.local_token)

    async def _read_events(self, stack: AsyncExitStack) -> None:
        if Role.INGEST not in self.roles:
            return
        self.stream = self._make_stream()
        stack.push_async_callback(self.stream.stop, self.settings.shutdown_seconds)
        await self.stream.start()

    async def _wait(self) -> int:
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(self._stop.wait(), name="signal")]
        if self.stream is not None:
            waits.append(asyncio.create_task(self.stream.join(), name="stream"))
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for one in waits:
            one.cancel()
        self.manager.stopping()
        failure = self._failure or (None if self.stream is None else self.stream.failure)
        self._ready = False
        if failure is not None:
            log.error("ends, so that it is started again", error=str(failure), exc_info=failure)
            return os.EX_SOFTWARE
        log.info("stopping")
        return os.EX_OK

    async def _migrate(self) -> None:
        """Make or migrate the store's tables; a server that is not up yet is waited for."""
        wait = RETRY_SECONDS
        while True:
            try:
                await upgrade(self.settings.store_url)
            except StoreRefuses:
                raise
            except (StoreAway, TimeoutError) as away:
                log.warning("waits for the store", error=str(away), next_try_seconds=wait)
                self.manager.waiting("waits for the store", wait + START_SECONDS)
                await asyncio.sleep(wait)
                wait = min(2 * wait, MOST_RETRY_SECONDS)
            else:
                return

    async def _flush(self) -> None:
        patience = self.settings.shutdown_seconds if self.pipeline.waits_for is None else LAST_TRY_SECONDS
        try:
            async with asyncio.timeout(patience):
                await self.pipeline.flush()
        except (DBAPIError, OSError) as error:  # a time-out among it
            log.warning(
                "ends without a last checkpoint: the next start works again on what is missing", error=first_line(error)
            )

    # --- parts

    def _make_dispatcher(self) -> Dispatcher:
        settings = self.settings
        return Dispatcher(
            self.store,
            parts.notifier(settings),
            metrics=self.metrics,
            page_url=settings.page_url,
            repeat_seconds=lambda model: settings.model(model).alerts.repeat_hours * 3600,
        )

    def _make_triggers(self) -> Triggers:
        return Triggers(
            lambda model: rules_of(self.settings.model(model)),
            note=self._note,
            wake=self._wake_retrainer,
            metrics=self.metrics,
        )

    async def _note(
        self, connection: AsyncConnection, model: str, kind: NoteKind, fields: Mapping[str, Any], now: float
    ) -> int | None:
        """Say what is being done, soon: the transaction has to end first."""
        incident = await incidents.note(connection, model, kind, fields, now)
        asyncio.get_running_loop().call_later(AFTER_COMMIT_SECONDS, self.dispatcher.wake)
        return incident

    def _wake_retrainer(self) -> None:
        if self.retrainer is not None:  # else it is another worker's, which looks by itself
            self.retrainer.wake()

    def _make_retrainer(self) -> Retrains:
        settings = self.settings
        return Retrains(
            self.store,
            self.places,
            parts.recipe_of(settings),
            adopt=Adoption(self.store, self.places, self.pipeline, settings.model, self.dispatcher.wake),
            note=self._note,
            metrics=self.metrics,
            owner=self.worker.worker,
            alone=not settings.is_fleet,
            may_deploy=lambda: self.pipeline.may(DEPLOYING),
        )

    def _make_schedule(self) -> Schedule:
        due = parts.entries(self.settings, self.store, self.archive, self.triggers)
        return Schedule(self.store, due, zone=self.settings.timezone)

    def _make_pipeline(self) -> Pipeline | FleetMember:
        settings = self.settings
        self.responder = Responder(self.triggers, lambda model: settings.model(model).alerts.group_seconds)

        def monitor_of(model: str) -> Monitor:
            return make_monitor(model, settings.model(model), self.limits, self._alibi)

        seconds, most_models = settings.pipeline.checkpoint_ms / 1000, settings.limits.models
        if not settings.is_fleet:
            return Pipeline(
                self.store,
                self.archive,
                monitor_of,
                self.responder,
                clock=time.time,
                checkpoint_seconds=seconds,
                most_models=most_models,
                limits=self.limits,
                loaded=self.volume.load,
                committed=self._committed,
                lag=self._lag,
            )
        return FleetMember(
            self.store,
            self.archive,
            monitor_of,
            self.responder,
            worker=self.worker,
            limits=Limits(checkpoint_seconds=seconds, most_models=most_models, events=self.limits),
            stream=lambda: self.stream,
            stored=self._stored,
            judged=self._judged,
            claimed=self.volume.load,
        )

    def _make_stream(self) -> StreamService:
        limits = parts.fetch_limits(self.settings)
        pipeline = self.pipeline
        return build(
            self.transport,
            self.settings.topics,
            pipeline.offsets,
            self._process,
            foresee=pipeline.foresee,
            begin=pipeline.begin,
            hand_over=pipeline.hand_over,
            limits=limits,
        )

    def _context(self) -> Context:
        settings = self.settings
        return Context(
            store=self.store,
            append=self._append,
            check=lambda body: event.check(body, self.limits),
            actions=self.actions,
            metrics=self.metrics,
            access=parts.access(settings, self.local_token),
            limits=parts.body_limits(settings),
            topic=settings.topics[0],
            topics=settings.topics,
            mode=settings.mode,
            min_effect=lambda model: settings.model(model).min_effect,
            reference_rows=lambda model: settings.model(model).reference_rows,
            lag=self._lag,
            not_ready=self._not_ready,
            not_alive=self._not_alive,
            stopping=self._stop.is_set,
        )

    def _lag(self) -> int:
        return 0 if self.stream is None else self.stream.lag()

    async def _process(self, batch: Batch) -> None:
        began = time.perf_counter()
        await self.pipeline.process(batch)
        self.metrics.add(BATCHES)
        self.metrics.observe(BATCH_SECONDS, time.perf_counter() - began)

    async def _append_to_first(self, value: bytes, events: int) -> int:
        return await self._append(self.settings.topics[0], value, events)

    async def _append(self, topic: str, value: bytes, events: int) -> int:
        return await self.transport.append(topic, value, events, timestamp=time.time())

    async def _committed(self, offsets: Mapping[TopicPartition, int], snapshot: Snapshot) -> None:
        await self._stored(offsets, snapshot)
        await self._judged(snapshot)

    async def _stored(self, offsets: Mapping[TopicPartition, int], snapshot: Snapshot) -> None:
        for target in snapshot.offsets:
            await self.transport.processed(target, offsets[target])
        tell_dead_letters(self.metrics, snapshot)

    async def _judged(self, snapshot: Snapshot) -> None:
        self.volume.heard(one.monitor for one in snapshot.monitors)
        measure(self.metrics, snapshot, time.time())
        if any(one.findings.verdicts or one.findings.renamed for one in snapshot.monitors):
            self.dispatcher.wake()

    def _not_ready(self) -> str | None:
        return self.pipeline.waits_for if self._ready else "the daemon is starting"

    # --- housekeeping

    async def _keep_house(self) -> None:
        upkeep = Upkeep(
            self.settings,
            self.store,
            self.archive,
            self.transport,
            self.pipeline,
            self.volume,
            self.responder,
            self.dispatcher.wake,
        )
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            try:
                await upkeep()
            except (DBAPIError, OSError) as error:
                log.warning("housekeeping has to wait", error=first_line(error))
            stalled = self._not_alive()
            if stalled is not None:
                self._fail(RuntimeError(stalled))
                return
            self.manager.alive()

    def _not_alive(self) -> str | None:
        """What stands still though there is work, if anything does."""
        if self.stream is None:
            return None
        now = time.monotonic()
        if self.pipeline.waits_for is not None:
            self._waited_at = now  # for the store, which a restart would not bring back
        stalled = min(self.stream.seconds_since_progress(now), now - self._waited_at)
        if self.stream.lag() and stalled > self.settings.pipeline.stall_seconds:
            return f"no progress for {stalled:.0f} s with events waiting"
        return None

    def _run(
        self,
        stack: AsyncExitStack,
        work: Awaitable[None],
        name: str,
        stop: Callable[[], Awaitable[None] | None] | None = None,
    ) -> None:
        """Run a part in the background; that it ends by an error ends the daemon."""
        task = asyncio.ensure_future(work)
        task.set_name(name)
        task.add_done_callback(self._ended)
        stack.push_async_callback(partial(_end, task, stop))

    def _ended(self, task: "asyncio.Future[None]") -> None:
        if not task.cancelled() and task.exception() is not None:
            self._fail(task.exception())

    def _fail(self, error: BaseException | None) -> None:
        self._failure = error
        self._stop.set()


async def _end(task: "asyncio.Future[None]", stop: Callable[[], Awaitable[None] | None] | None) -> None:
    if stop is not None:
        waiting = stop()
        if waiting is not None:
            await waiting
    else:
        task.cancel()
    try:
        await task
    except (asyncio.CancelledError, Exception):  # noqa: BLE001 (it has been logged where it ended the daemon)
        return
