"""After a switch of versions: the references follow, and what had been raised against the old one is over."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import select

from daemon.alerts import incidents
from daemon.events.tabular import Layout, table_of
from daemon.lifecycle.job_folder import Places
from daemon.lifecycle.promotion import Version
from daemon.lifecycle.standing import settle
from daemon.monitoring import references
from daemon.monitoring.changes import Change, Changes
from daemon.monitoring.respond import close
from daemon.monitoring.schema import FEATURE_PREFIX
from daemon.monitoring.tasks import Task
from daemon.settings import ModelSettings
from daemon.stores.engine import Store
from daemon.stores.tables import models
from detectors.base import Kind
from detectors.columns import Stream
from detectors.reference import Reference
from retrain.publication import fetch_kept

ANSWERED = (Kind.DRIFT, Kind.CONCEPT, Kind.PERFORMANCE, Kind.ANOMALY)
"""What another version answers. Broken data stays broken."""


class Adoption:
    """See ``daemon.lifecycle.deployments.Adopt``.

    A version that was made here brings its references: the rows it learned from, and what it predicted on those that it
    was judged by. Of any other one the predictions and errors are learned anew.
    """

    def __init__(
        self,
        store: Store,
        places: Places,
        changes: Changes,
        settings: Callable[[str], ModelSettings],
        wake: Callable[[], None],
    ) -> None:
        self._store = store
        self._places = places
        self._changes = changes
        self._settings = settings
        self._wake = wake

    async def __call__(self, version: Version, result: Mapping[str, Any] | None) -> None:
        """Go by ``version`` from now on."""
        async with self._store.read() as connection:
            known = (await connection.execute(select(models).where(models.c.model == version.model))).mappings().first()
        if known is None or known["version"] != version.version or version.adopted is None:
            path = None if result is None else result.get("reference")
            bins = self._settings(version.model).reference_bins
            given: dict[Stream, Reference | None] = {Stream.PREDICTION: None, Stream.OUTCOME: None}
            if path is not None:
                task = None if known is None or known["task"] is None else Task(known["task"])
                given |= await asyncio.to_thread(self._read, Path(path), version.job, task, bins)
            await self._changes.change(version.model, Change(given, version=version.version, takes_over=True))
        now = time.time()
        async with self._store.begin() as connection:
            await close(connection, version.model, now, "another_version", kinds=ANSWERED)
            await incidents.close_if_over(connection, version.model, now)
            await settle(connection, version.model)
        self._wake()

    def _read(self, path: Path, job: int | None, task: Task | None, bins: int) -> dict[Stream, Reference]:
        import pandas as pd

        if self._places.shared and job is not None:
            with suppress(FileNotFoundError):
                path = fetch_kept(self._places.storage, job, path.name, self._places.job(job))
        if not path.exists():
            return {}
        frame = pd.read_parquet(path)
        features = {
            name: name.removeprefix(FEATURE_PREFIX) for name in frame.columns if name.startswith(FEATURE_PREFIX)
        }
        layout = Layout("id", "ts", "prediction", "score", "label", tuple(features.values()))
        _, learned = references.learn([table_of(frame.rename(columns=features), layout)], task, bins)
        return learned
