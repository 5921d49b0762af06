"""A fleet of real daemons, and all that has come of it in its store and archive."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from operator import sub
from typing import TYPE_CHECKING, Any, Self

import asyncpg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from daemon_process import DaemonProcess
from fleet_traffic import DRIFTS, MODELS
from sqlalchemy import Table, select

from daemon.archive_tables import from_ipc
from daemon.stores import tables
from daemon.stores.engine import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from databases import Postgresql
    from kafka_broker import Broker, Cluster

PATIENCE_SECONDS = 120.0
POLL_SECONDS = 0.1


CUT = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'driftd'"
"""Ends every connection of a daemon to its store."""


@contextmanager
def fleets(brokers: Broker | Cluster, topic: str, server: Postgresql, folder: Path) -> Iterator[Callable[..., Fleet]]:
    """Makes fleets that read the same topic, each on a store of its own."""
    made: list[Fleet] = []

    def fleet(name: str, *, empty: bool = False, **settings: str) -> Fleet:
        (folder / name).mkdir()
        store = server.nothing(folder) if empty else server.store(folder)
        made.append(Fleet(folder / name, brokers.address(), topic, store, **settings))
        return made[-1]

    try:
        yield fleet
    finally:
        for one in made:
            one.__exit__()
        server.drop()


def in_a_loop(work: Coroutine[Any, Any, Any]) -> Any:
    """Run ``work`` to its end, from wherever this is called."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


class Fleet:
    """Daemons on one topic and one store, by name."""

    def __init__(self, folder: Path, broker: str, topic: str, store: str, **settings: str) -> None:
        self.folder = folder
        self.store = store
        self.archive = folder / "archive"
        self.archive.mkdir(parents=True)
        self.members: dict[str, DaemonProcess] = {}
        self._settings = {
            "DRIFTD_BROKER": f"kafka://{broker}",
            "DRIFTD_TOPICS": topic,
            "DRIFTD_KAFKA__GROUP": f"{topic}.{folder.name}",
            "DRIFTD_DATABASE_URL": store,
            "DRIFTD_ARCHIVE_URL": str(self.archive),
            "DRIFTD_MODE": "observe",
            "DRIFTD_REFERENCE_ROWS": "300",
            **settings,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self.members.values():
            one.kill_if_running()

    def begin(self, *names: str, **settings: str) -> None:
        """Start workers: new ones, or some that have ended. ``settings`` are those of new ones."""
        for name in names:
            if name not in self.members:
                (self.folder / name).mkdir()
                self.members[name] = DaemonProcess(self.folder / name, **self._settings, **settings)
            self.members[name].begin()

    def start(self, *names: str, **settings: str) -> None:
        """Start workers, and wait until they are ready."""
        self.begin(*names, **settings)
        self.until_ready(*names)

    def until_ready(self, *names: str) -> None:
        """Wait until workers are ready that were begun."""
        for one in map(self.members.__getitem__, names):
            self.until(partial(_is_ready, one), "it does not start")

    def end(self, *names: str, how: signal.Signals = signal.SIGTERM) -> None:
        """End workers: those that are asked to end as they should."""
        for name in names:
            self.members[name].signal(how)
        for name in names:
            code = self.members[name].wait()
            expected = 0 if how is signal.SIGTERM else -how
            assert code == expected, f"{name} ended with {code}\n{self.logs()}"

    def logs(self) -> str:
        """The last words of all."""
        return "\n".join(f"--- {name}\n{one.log.read_text()[-6_000:]}" for name, one in self.members.items())

    def until(self, holds: Callable[[], bool], otherwise: str) -> float:
        """Wait until something holds. Returns the seconds that it took."""
        began = time.monotonic()
        while not holds():
            assert time.monotonic() - began < PATIENCE_SECONDS, f"{otherwise}: {self.standing()}\n{self.logs()}"
            time.sleep(POLL_SECONDS)
        return time.monotonic() - began

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the store."""

        async def ask() -> list[tuple[Any, ...]]:
            connection = await asyncpg.connect(self.store)
            try:
                return [tuple(row) for row in await connection.fetch(query)]
            finally:
                await connection.close()

        found: list[tuple[Any, ...]] = in_a_loop(ask())
        return found

    def change(self, statement: str) -> None:
        """Change the store behind the fleet's back."""
        self.rows(statement)

    def standing(self) -> dict[str, Any]:
        """How far it is, for who has waited in vain."""
        return {
            "partitions": self.rows(
                "select partition, next_offset, worker, watermark, behind, seen from partitions order by 1"
            ),
            "leases": self.rows("select name, worker, until from leases order by 1"),
            "parcels": self.rows("select model, count(*), sum(events - taken) from parcels group by 1"),
            "counted": self.counted(),
        }

    def counted(self) -> Counter[str]:
        """The counters of all models together."""
        return Counter(
            {name: int(value) for name, value in self.rows("select name, sum(value) from counters group by 1")}
        )

    def taken(self) -> int:
        """Events of which something has come."""
        found = self.counted()
        return sum(found[name] for name in ("prediction", "label", "duplicates", "revised", "dead_letters"))

    def finish(self, events: int) -> None:
        """Wait until so many events are taken, however long that takes, then end all workers."""
        while (before := self.taken()) < events:
            self.until(lambda before=before: self.taken() > before, f"not all of {events} events were taken")
        self.end(*(name for name, one in self.members.items() if one.is_running()))

    def outcome(self) -> Outcome:
        """All that has come of it."""
        found: Outcome = in_a_loop(_outcome(self.store, self.archive))
        return found


def _is_ready(one: DaemonProcess) -> bool:
    assert one.is_running(), one.log.read_text()[-6_000:]
    return one.get("/readyz")[0] == 200


@dataclass
class Outcome:
    """What must be the same however many workers there were, and whatever has happened to them."""

    counters: dict[tuple[str, str], int]
    alarms: list[tuple[Any, ...]]
    measured: list[tuple[Any, ...]]
    archive: dict[tuple[str, str], pa.Table]
    """By model and kind: row, id and value, in the order of the rows."""
    dead: list[tuple[Any, ...]]
    open_alarms: list[tuple[str, str, str]]
    parcels: int

    def differs_from(self, other: Outcome, *, besides: str = "", window: int = 0) -> str | None:
        """Some of what one has and the other has not; None where there is no difference ``besides`` that of a model.

        With a ``window`` events may have come in another order, and alarms so many rows earlier or later.
        """
        these, those = self._without(besides), other._without(besides)
        if window:
            rows = [[row for *_, row, _, _ in one.alarms] for one in (these, those)]
            these, those = these._in_any_order(), those._in_any_order()
            if these.alarms == those.alarms and max(map(abs, map(sub, *rows)), default=0) > window:
                return f"rows of alarms: {rows}"
        for part, mine in vars(these).items():
            theirs = vars(those)[part]
            if mine != theirs:
                apart = [
                    list(islice((_lines(one) - _lines(another)).elements(), 5))
                    for one, another in ((mine, theirs), (theirs, mine))
                ]
                return f"{part}: {apart[0]} and {apart[1]}"
        return None

    def _in_any_order(self) -> Outcome:
        def ids(table: pa.Table) -> pa.Table:
            return table.select(["id", "value"]).sort_by([("id", "ascending"), ("value", "ascending")])

        return replace(
            self,
            alarms=[(model, kind, signal, detector) for model, kind, signal, _, _, detector in self.alarms],
            measured=[],
            archive={key: ids(table) for key, table in self.archive.items()},
        )

    def check(self, expected: Counter[str]) -> None:
        """Everything that was sent has come to what it should, once."""
        totals: Counter[str] = Counter()
        for (_, name), value in self.counters.items():
            totals[name] += value
        for name in ("prediction", "label", "joined", "duplicates", "revised"):
            assert totals[name] == expected[name], name
        assert totals["waiting"] == 0
        assert len(self.dead) == expected["dead_letters"]
        for model in MODELS:
            events = self.archive[model, "events"]
            assert events["row"].equals(pa.chunked_array([range(self.counters[model, "prediction"])])), model
            assert pc.count_distinct(events["id"]).as_py() == len(events), model
        kinds = {(model, kind) for model, kind, *_ in self.alarms}
        assert {(DRIFTS, "drift"), (DRIFTS, "concept")} <= kinds
        assert max(Counter(self.open_alarms).values()) == 1
        assert self.parcels == 0

    def _without(self, model: str) -> Outcome:
        def others(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
            return [row for row in rows if row[0] != model]

        return replace(
            self,
            counters={key: value for key, value in self.counters.items() if key[0] != model},
            archive={key: table for key, table in self.archive.items() if key[0] != model},
            alarms=others(self.alarms),
            measured=others(self.measured),
            open_alarms=others(self.open_alarms),
        )


async def _outcome(url: str, archive: Path) -> Outcome:
    store = open_store(url)

    async def all_of(table: Table) -> list[dict[str, Any]]:
        async with store.read() as connection:
            return [dict(row) for row in (await connection.execute(select(table))).mappings()]

    try:
        alarms = await all_of(tables.alarms)
        return Outcome(
            # whether the model of a bad event was known when it was read depends on when that was
            {
                (one["model"], one["name"]): one["value"]
                for one in await all_of(tables.counters)
                if one["name"] != "dead_letters"
            },
            sorted(
                (one["model"], one["kind"], one["signal"], one["row"], one["change_row"], one["detector"])
                for one in alarms
            ),
            sorted(
                (one["model"], one["signal"], one["row"], one["rows"], _text(one["value"]))
                for one in await all_of(tables.signals)
            ),
            _archived(archive, await all_of(tables.archive_files), await all_of(tables.archive_chunks)),
            sorted(
                (one["partition"], one["offset"], one["line"], one["reason"])
                for one in await all_of(tables.dead_letters)
            ),
            sorted((one["model"], one["kind"], one["signal"]) for one in alarms if one["state"] == "open"),
            len(await all_of(tables.parcels)),
        )
    finally:
        await store.close()


def _archived(
    folder: Path, files: list[dict[str, Any]], chunks: list[dict[str, Any]]
) -> dict[tuple[str, str], pa.Table]:
    found: dict[tuple[str, str], list[pa.Table]] = {}
    parts = [(one, pq.read_table(folder / "archive" / one["path"])) for one in files]
    parts += [(one, from_ipc(one["data"])) for one in chunks]
    for one, table in parts:
        value = table["prediction" if one["kind"] == "events" else "label"].cast(pa.float64())
        rows = pa.table({"row": table["row"].cast(pa.int64()), "id": table["id"].cast(pa.string()), "value": value})
        found.setdefault((one["model"], one["kind"]), []).append(rows)
    order = [(column, "ascending") for column in ("row", "id", "value")]  # a row may have several labels
    return {key: pa.concat_tables(rows).sort_by(order).combine_chunks() for key, rows in found.items()}


def _lines(part: Any) -> Counter[str]:
    if isinstance(part, dict):
        return Counter({f"{key}: {line}": times for key, rows in part.items() for line, times in _lines(rows).items()})
    if isinstance(part, pa.Table):
        part = part.to_pylist()
    return Counter(map(str, part if isinstance(part, list) else [part]))


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
