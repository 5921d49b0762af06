"""What the tests of the pipeline share: a store, a clock that moves only when told, and ways to feed a log."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from databases import Database
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.archive import Archive
from daemon.checkpoint import MonitorSnapshot, Respond
from daemon.events.event import EventLimits
from daemon.monitoring.estimate_stream import EstimateStream
from daemon.monitoring.findings import LABELS_LATER
from daemon.monitoring.monitor import Monitor
from daemon.monitoring.options import EstimateOptions, MonitorOptions
from daemon.pipeline import Pipeline
from daemon.stores import tables
from daemon.stores.engine import Store, open_store
from daemon.transports.base import Batch, Record, TopicPartition
from detectors.base import Detector, Kind, Severity, Verdict
from detectors.columns import INVALID, Columns
from detectors.e_detector import EDetector
from detectors.reference import Reference
from detectors.summary import Summary
from retrain.storage.base import Storage
from retrain.storage.folder import FolderStorage

TOPIC = "driftd.events"
TARGET = TopicPartition(TOPIC, 0)
START = 1_795_176_000.0


class Tape:
    """A detector that reports a digest of all it was ever given, now and then: two runs differ if anything does."""

    name = "tape"

    def __init__(self, reference: Reference) -> None:
        self.signals = reference.signals
        self.digest = crc32(repr(reference.to_dict()).encode())
        self.windows = 0

    def update(self, summary: Summary, columns: Columns) -> list[Verdict]:
        verdicts = []
        rows = len(columns) // max(len(summary), 1)
        for w in range(len(summary)):
            values = [
                (name, column[w * rows : (w + 1) * rows].tolist()) for name, column in sorted(columns.values.items())
            ]
            seen = (summary.counts[w].tolist(), int(summary.last_rows[w]), float(summary.last_ts[w]), values)
            self.digest = crc32(repr(seen).encode(), self.digest)
            self.windows += 1
            if self.windows % 7 == 0:
                row, ts = int(summary.last_rows[w]), float(summary.last_ts[w])
                evidence = {"digest": self.digest, "windows": self.windows}
                verdicts.append(
                    Verdict(Kind.DRIFT, summary.signals[0], self.name, Severity.WARNING, row, ts, row, ts, evidence)
                )
        return verdicts

    def state(self) -> dict[str, Any]:
        return {"digest": self.digest, "windows": self.windows}

    def restore(self, state: dict[str, Any]) -> None:
        self.digest, self.windows = state["digest"], state["windows"]


def _pairs(monitor: Monitor) -> list[Any]:
    return [pair for pairs in monitor.state()["undecided"] for pair in zip(*pairs, strict=True)]


def small() -> MonitorOptions:
    """Limits that a short log meets."""
    return MonitorOptions(
        reference_rows=12,
        window_rows=3,
        bins=4,
        max_waiting=25,
        performance_rows=10,
        most_features=6,
        estimates=EstimateOptions(labels=6, chunk_rows=8, most_chunks=3, most_values=70),
    )


def watch(reference: Reference, _segmented: bool = False) -> Sequence[Detector]:
    """The detectors of a model under test."""
    return [EDetector(reference, 1_000.0), Tape(reference)]


@dataclass
class World:
    """A data folder with a store, and what runs on it."""

    folder: Path
    options: MonitorOptions = field(default_factory=MonitorOptions)
    limits: EventLimits = field(default_factory=EventLimits)
    most_models: int = 10
    file_rows: int = 50_000
    now: float = START
    waits: list[float] = field(default_factory=list)
    stores: list[Store] = field(default_factory=list)
    archives: dict[int, Archive] = field(default_factory=dict)
    during_wait: Callable[[], Awaitable[None]] | None = None
    storage: Storage | None = None
    url: str = ""
    make: Callable[[str], Monitor] | None = None
    waiting: int = 0  # events in the log

    @classmethod
    def made(cls, folder: Path, database: Database, **fields: Any) -> "World":
        return cls(folder, url=database.store(folder), **fields)

    async def start(self, respond: Respond | None = None) -> Pipeline:
        """A pipeline as a new process would make it."""
        pipeline = self.pipeline(respond)
        await pipeline.load()
        return pipeline

    def pipeline(self, respond: Respond | None = None) -> Pipeline:
        """The same before it has loaded anything."""
        store = open_store(self.url)
        self.stores.append(store)
        archive = Archive(self.storage or FolderStorage(self.folder), store, self.file_rows)
        pipeline = Pipeline(
            store,
            archive,
            self.make or (lambda model: Monitor(model, self.options, watch)),
            respond or keep,
            clock=lambda: self.now,
            checkpoint_seconds=1.0,
            most_models=self.most_models,
            limits=self.limits,
            sleep=self.sleep,
            lag=lambda: self.waiting,
        )
        self.archives[id(pipeline)] = archive
        return pipeline

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds
        if self.during_wait is not None:
            await self.during_wait()
        await asyncio.sleep(0)

    def archive_of(self, pipeline: Pipeline) -> Archive:
        """The archive that it writes to."""
        return self.archives[id(pipeline)]

    async def close(self) -> None:
        for store in self.stores:
            await store.close()
        self.stores.clear()

    async def read(self, log: list[bytes], size: int, deaths: int = 0) -> None:
        """Read a log in batches of ``size`` events, in a process that dies so many times on the way."""
        for life in range(deaths + 1):
            pipeline = await self.start()
            first = (await pipeline.offsets()).get(TARGET, 0)
            some = batches(log[first:], [size] * len(log), first)
            some = some if life == deaths else some[: len(some) // 3]
            for one in some[:-1]:
                await pipeline.process(one)
                await pipeline.flush()
            await pipeline.process(some[-1])
            if life == deaths:  # else it dies before what it has read last is stored
                await pipeline.flush()
            await self.close()

    async def counters(self) -> dict[tuple[str, str], int]:
        rows = await self.rows(tables.counters)
        return {(row["model"], row["name"]): row["value"] for row in rows if row["value"]}

    async def rows(self, table: Any) -> list[dict[str, Any]]:
        async with self.stores[-1].read() as connection:
            return [dict(row) for row in (await connection.execute(select(table))).mappings()]

    async def outcome(self) -> dict[str, Any]:
        """All that has come of a log, in a form that two runs can be compared by."""
        pipeline = await self.start()
        return {
            "offsets": await pipeline.offsets(),
            "counters": await self.counters(),
            "alarms": sorted(
                (
                    row["model"],
                    row["row"],
                    row["detector"],
                    row["signal"],
                    row["kind"],
                    repr(row["evidence"]),
                    row["change_row"],
                    repr(row["ranking"]),
                )
                for row in await self.rows(tables.alarms)
            ),
            "dead": sorted(
                (row["offset"], row["line"], row["reason"], row["detail"], row["model"], row["body"])
                for row in await self.rows(tables.dead_letters)
            ),
            "measured": sorted(
                (repr({name: value for name, value in row.items() if name != "id"}))
                for row in await self.rows(tables.signals)
            ),
            "performance": sorted((row["model"], repr(row["performance"])) for row in await self.rows(tables.models)),
            "models": {name: described(monitor) for name, monitor in sorted(pipeline.monitors.items())},
            "archive": await self.archived(),
        }

    async def archived(self) -> dict[tuple[str, str], list[Any]]:
        """The rows of the archive, files and chunks, by model and kind; a column without a value counts as none."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        found: dict[tuple[str, str], list[Any]] = {}
        parts = [
            (row, pq.read_table(self.folder / "archive" / row["path"])) for row in await self.rows(tables.archive_files)
        ]
        parts += [(row, pa.ipc.open_stream(row["data"]).read_all()) for row in await self.rows(tables.archive_chunks)]
        for row, table in parts:
            found.setdefault((row["model"], row["kind"]), []).extend(
                tuple(
                    sorted(
                        (name, _plain(value)) for name, value in one.items() if value is not None and name != "received"
                    )
                )
                for one in table.to_pylist()
            )
        return {key: sorted(rows, key=repr) for key, rows in found.items()}


def _plain(value: Any) -> str:
    """A column of mixed types is text in one file and numbers in another: what it says is the same."""
    if value in (INVALID, float("inf")):
        return "invalid"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


async def keep(connection: AsyncConnection, found: MonitorSnapshot, now: float) -> None:
    """Keeps every verdict as an alarm, in the checkpoint's transaction."""
    rows = [
        {
            "model": found.model,
            "version": found.row["version"],
            "kind": one.kind,
            "signal": one.signal,
            "detector": one.detector,
            "severity": one.severity,
            "row": one.row,
            "ts": one.ts,
            "change_row": one.change_row,
            # how many labels follow within the checkpoint is the one thing that depends on where it ends
            "evidence": {name: value for name, value in one.evidence.items() if name != LABELS_LATER},
            "ranking": [list(pair) for pair in one.ranking],
            "state": "open",
            "raised": now,
        }
        for one in found.findings.verdicts
    ]
    if rows:
        await connection.execute(insert(tables.alarms), rows)


async def dying(*, torn: bool) -> None:
    """The process is gone: a checkpoint on its way is torn, or just made it."""
    for task in asyncio.all_tasks():
        if task.get_name() == "checkpoint":
            if torn:
                task.cancel()
            await asyncio.wait({task})


def described(monitor: Monitor) -> dict[str, Any]:
    """The state of a monitor."""
    streams = {}
    for stream, window in monitor.windows.items():
        streams[stream.value] = window.state()
        for detector in streams[stream.value]["detectors"].values():
            if "evidence" in detector:  # products of many factors: their last digits depend on how they were grouped
                detector["evidence"] = [f"{one:.6g}" for one in np.frombuffer(detector["evidence"])]
                detector["open"] = [
                    [f"{one:.6g}" if isinstance(one, float) else one for one in monitor] for monitor in detector["open"]
                ]
        streams[stream.value]["pending"] = [
            (
                columns.rows.tolist(),
                columns.ts.tolist(),
                {name: repr(one.tolist()) for name, one in columns.values.items()},
            )
            for columns in window.pending()
        ]
        streams[stream.value]["reference"] = None if window.reference is None else repr(window.reference.to_dict())
    return {
        "rows": monitor.rows,
        "task": monitor.task,
        "version": monitor.version,
        "ts": (monitor.first_ts, monitor.last_ts, monitor.last_label_ts),
        "state": {**monitor.state(), "last_label_arrival": None, "undecided": _pairs(monitor)},
        "labelled": monitor.performance.labelled.state(),
        "waiting": monitor.labels.contents(),
        "seen": monitor.seen_features.ids.contents(),
        "estimate": estimated(monitor.estimate),
        "streams": streams,
    }


def estimated(stream: EstimateStream | None) -> Any:
    """The state of what estimates performance; of evidence, which is a product of many factors, the first digits."""
    if stream is None:
        return None
    main = dict(stream.take_parts()[""])
    main["evidence"] = main["evidence"] and [f"{one:.6g}" for one in main["evidence"]]
    chunks, sample = stream.chunks, stream.sample
    return main, [repr(one.tolist()) for one in (chunks.rows, chunks.expected_losses, sample.rows, sample.table)]


def records(values: Sequence[bytes], first: int = 0, at: float = START) -> list[Record]:
    """Values as records of the log, four a second."""
    return [Record(offset, at + offset / 4, None, value, 1) for offset, value in enumerate(values, first)]


def batches(values: Sequence[bytes], sizes: Sequence[int] = (), first: int = 0) -> list[Batch]:
    """A log cut into batches of these many records, and one of the rest."""
    found = []
    log = records(values, first)
    start = 0
    for size in (*sizes, len(log)):
        some = log[start : start + size]
        if some:
            found.append(Batch(TOPIC, 0, some, some[-1].offset + 1))
        start += size
    return found


def batch(*values: bytes, first: int = 0) -> Batch:
    """One batch."""
    return batches(values, first=first)[0]


__all__ = [
    "START",
    "TARGET",
    "TOPIC",
    "Tape",
    "World",
    "batch",
    "batches",
    "dying",
    "keep",
    "records",
    "small",
    "watch",
]
