"""What is done every few seconds, whatever comes: silence is noticed, small files become large ones, old rows go."""

import time
from collections.abc import Callable
from typing import Final

from daemon import parts
from daemon.alerts import outbox
from daemon.archive import Archive
from daemon.events import dead_letters
from daemon.fleet.member import FleetMember
from daemon.monitoring.respond import Responder
from daemon.monitoring.volume import Volume
from daemon.pipeline import Pipeline
from daemon.settings import Settings
from daemon.stores.engine import Store
from daemon.transports.base import Transport

OUTBOX_DAYS: Final = 30.0
HOUSEKEEPING: Final = "housekeeping"
"""Of what one worker does for all."""


class Upkeep:
    """Keeps house. ``wake`` has what it raises sent."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        archive: Archive,
        transport: Transport,
        pipeline: Pipeline | FleetMember,
        volume: Volume,
        responder: Responder,
        wake: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._archive = archive
        self._transport = transport
        self._pipeline = pipeline
        self._volume = volume
        self._responder = responder
        self._wake = wake

    async def __call__(self) -> None:
        """Do it once. Raises what the store and the archive raise."""
        await self._listen_for_silence()
        await self._save_silences()
        await self._transport.trim(self._pipeline.stored_offsets, now=time.time())
        if await self._pipeline.may(HOUSEKEEPING):
            await self._tidy()

    async def _tidy(self) -> None:
        settings = self._settings
        await self._archive.compact(settings.archive.file_rows)
        await outbox.prune(self._store, time.time() - OUTBOX_DAYS * parts.DAY_SECONDS)
        await dead_letters.trim(
            self._store,
            most_events=settings.dead_letters.max_events,
            most_bytes=settings.dead_letters.max_mb * parts.MEBIBYTE,
            days=settings.dead_letters.days,
            now=time.time(),
        )

    async def _save_silences(self) -> None:
        models = list(self._pipeline.monitors)
        if models:
            async with self._store.begin(models) as connection:
                await self._volume.save(connection, await self._pipeline.still_owns(connection, models))

    async def _listen_for_silence(self) -> None:
        now = time.time()
        async with self._store.read() as connection:
            heard_until = await self._pipeline.heard_until(connection, now)
        for model, until in heard_until.items():
            monitor = self._pipeline.monitors.get(model)
            if monitor is None:
                continue
            verdicts = self._volume.verdicts(monitor, self._settings.model(model).volume, now, until)
            if verdicts:
                async with self._store.begin() as connection:
                    if not await self._pipeline.still_owns(connection, [monitor.model]):
                        continue
                    await self._responder.judge(connection, monitor.model, monitor.version, verdicts, now)
                    await self._volume.save(connection, [monitor.model])
                self._wake()
