"""What the tests of retrains share: a store with a model in service, a child that does as it is told, and a crash."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from archive_rows import make_archive
from databases import Database
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.alerts import incidents
from daemon.alerts.notes import NoteKind
from daemon.lifecycle import jobs, versions
from daemon.lifecycle.job_folder import Places
from daemon.lifecycle.jobs import Job
from daemon.lifecycle.policy import Trigger
from daemon.lifecycle.promotion import Version
from daemon.lifecycle.recipe import Recipe
from daemon.lifecycle.retrains import COMMAND, Retrains
from daemon.stores import tables
from daemon.stores.engine import Store, open_store, sqlite_url
from daemon.stores.migrate import upgrade
from retrain.deployers.settings import DeployerSettings
from retrain.storage import FolderStorage
from retrain.storage.base import ARCHIVE, Storage

NOW = 1_000_000.0


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Loop:
    """A daemon's decision side in ``folder``, which can be killed at a named moment and started again."""

    folder: Path
    store: Store
    recipe: Recipe
    die_at: str | None = None
    now: float = NOW
    notes: list[tuple[NoteKind, Mapping[str, Any]]] = field(default_factory=list)
    adopted: list[tuple[str, Mapping[str, Any] | None]] = field(default_factory=list)
    command: Sequence[str] = ()
    storage: Storage | None = None
    retrains: Retrains = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.retrains = Retrains(
            self.store,
            Places.below(self.folder, self.storage),
            lambda _model: self.recipe,
            adopt=self.adopt,
            note=self.note,
            command=self.command or COMMAND,
            clock=lambda: self.now,
            tick_seconds=0.02,
            poll_seconds=0.02,
        )

    def moment(self, name: str) -> None:
        if self.die_at == name:
            self.die_at = None
            raise Killed(name)

    async def note(
        self, connection: AsyncConnection, model: str, kind: NoteKind, fields: Mapping[str, Any], now: float
    ) -> None:
        self.moment(f"note {kind}")
        json.dumps(dict(fields))
        await incidents.note(connection, model, kind, fields, now)
        self.notes.append((kind, fields))

    async def adopt(self, version: Version, result: Mapping[str, Any] | None) -> None:
        self.moment("before adoption")
        self.adopted.append((version.version, result))
        self.moment("after adoption")

    async def ask(self, trigger: Trigger = Trigger.MANUAL, *, since_row: int | None = None) -> Job:
        async with self.store.begin() as connection:
            job, new = await jobs.enqueue(connection, "loans", trigger, self.now, since_row=since_row)
        assert new
        return job

    async def until_idle(self) -> None:
        """Everything that is due, in this process and, where it is killed, in those that follow it."""
        while True:
            try:
                worked = await self.retrains.step()
                worked = await self.retrains.deployments.step() or worked
            except Killed:
                self.restart()
                continue
            if not worked:
                return

    async def job(self, number: int) -> Job:
        async with self.store.read() as connection:
            found = await jobs.find(connection, number)
        assert found is not None
        return found

    async def version(self, name: str) -> Version:
        async with self.store.read() as connection:
            found = await versions.find(connection, "loans", name)
        assert found is not None
        return found

    async def model(self) -> Mapping[str, Any]:
        async with self.store.read() as connection:
            row = (await connection.execute(select(tables.models))).mappings().one()
            counts = (await connection.execute(select(tables.counters.c.name, tables.counters.c.value))).all()
        return {**row, "promotions": 0, "rollbacks": 0, **dict(counts)}

    async def decided(self) -> list[tuple[str, str]]:
        async with self.store.read() as connection:
            rows = (await connection.execute(select(tables.decisions).order_by(tables.decisions.c.id))).mappings().all()
        return [(row["action"], row["reason"]) for row in rows]

    @property
    def served(self) -> str | None:
        """What the symbolic link that a service would follow points to."""
        current = self.folder / "deployed" / "loans" / "current"
        return current.resolve().name if current.exists() else None


@asynccontextmanager
async def running(
    folder: Path, recipe: Recipe | None = None, database: Database | None = None, **values: Any
) -> AsyncIterator[Loop]:
    """A loop over a new store, with version 1 of the model ``loans`` in service, not made here."""
    url = sqlite_url(folder / "store.db") if database is None else database.store(folder)
    await upgrade(url)
    store = open_store(url)
    async with store.begin() as connection:
        loans = {"model": "loans", "state": "steady", "learning": False, "rows": 600, "task": "binary", "created": NOW}
        await connection.execute(insert(tables.models).values(loans))
        await versions.ensure_external(connection, "loans", "1", NOW)
    deploy = DeployerSettings(directory=folder / "deployed")
    try:
        yield Loop(folder, store, recipe or Recipe(deploy=deploy), **values)
    finally:
        await store.close()


def scripted(folder: Path, *does: str) -> tuple[str, ...]:
    """A command that does, at each start, what the next of ``does`` says; the last one again and again."""
    (folder / "starts").mkdir()
    return (sys.executable, "-I", str(Path(__file__).with_name("scripted_child.py")), str(folder), *does)


def starts(folder: Path) -> int:
    """How often the scripted child was started."""
    return len(list((folder / "starts").iterdir()))


async def _work(folder: Path, command: Sequence[str]) -> None:
    """Be a daemon over a store that is there."""
    store = open_store(sqlite_url(folder / "store.db"))
    recipe = Recipe(deploy=DeployerSettings(directory=folder / "deployed"))
    await Loop(folder, store, recipe, command=command).retrains.run()


if __name__ == "__main__":
    asyncio.run(_work(Path(sys.argv[1]), sys.argv[2:]))


def recipe(folder: Path, **values: Any) -> Recipe:
    """What is deployed into a folder."""
    return Recipe(**{"deploy": DeployerSettings(directory=folder / "deployed"), **values})


async def fill_archive(loop: Loop, folder: Path, storage: Storage | None = None) -> None:
    """Half of the rows in a file, half in chunks, as the pipeline leaves them; three of them broken."""
    storage = storage or FolderStorage(folder)
    make_archive(folder)
    async with loop.store.begin() as connection:
        for kind in ("events", "labels"):
            table = pq.read_table(folder / f"{kind}.parquet")
            with storage.create(f"{ARCHIVE}/loans/{kind}.parquet") as sink:
                pq.write_table(table.slice(0, 300), sink)
            common = {"model": "loans", "kind": kind}
            file = {"path": f"loans/{kind}.parquet", "rows": 300, "bytes": 1, "first_row": 0, "last_row": 299}
            await connection.execute(insert(tables.archive_files).values(**common, **file))
            for start in (300, 450):
                sink = pa.BufferOutputStream()
                with pa.ipc.new_stream(sink, table.schema) as writer:
                    writer.write_table(table.slice(start, 150))
                chunk = {"rows": 150, "first_row": start, "last_row": start + 149, "data": sink.getvalue().to_pybytes()}
                await connection.execute(insert(tables.archive_chunks).values(**common, **chunk))
        broken = {
            "model": "loans",
            "kind": "quality",
            "signal": "feature:age",
            "detector": "quality",
            "severity": "warning",
        }
        broken |= {"row": 12, "ts": 0.0, "change_row": 10, "evidence": {}, "ranking": [], "raised": NOW}
        closed = {"state": "closed", "closed": NOW, "closed_reason": "recovered", "closed_row": 13}
        await connection.execute(insert(tables.alarms).values({**broken, **closed}))
        counts = [{"model": "loans", "name": name, "value": 600} for name in ("prediction", "joined")]
        await connection.execute(insert(tables.counters).values(counts))
    loop.now = 1_795_442_520.0
