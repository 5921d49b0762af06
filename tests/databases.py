"""New stores for tests, on each kind of database that this machine offers."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import asyncpg
from postgresql_server import Server

from daemon.stores.engine import sqlite_url
from daemon.stores.migrate import upgrade


class Database(Protocol):
    """Makes stores. Both answer the URL of one that nobody else uses; ``folder`` is the test's own."""

    name: str

    def store(self, folder: Path) -> str:
        """A store with its tables and nothing in it."""
        ...

    def nothing(self, folder: Path) -> str:
        """A database without a table."""
        ...


class Sqlite:
    """A file for each store."""

    name = "sqlite"

    def __init__(self, template: Path) -> None:
        self._template = template
        in_a_loop_of_its_own(lambda: upgrade(sqlite_url(template)))

    def store(self, folder: Path) -> str:
        url = self.nothing(folder)
        shutil.copy(self._template, folder / "store.db")
        return url

    def nothing(self, folder: Path) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        return sqlite_url(folder / "store.db")


class Postgresql:
    """A database for each store, on one server; all but the template are dropped at the end of each test."""

    name = "postgresql"
    template = "driftd_template"

    def __init__(self, server: Server) -> None:
        self.server = server
        self._numbers = count(1)
        self._made: list[str] = []
        self.sql(f"create database {self.template}")
        in_a_loop_of_its_own(lambda: upgrade(server.url(self.template)))

    def store(self, folder: Path) -> str:  # noqa: ARG002 (the server has its own)
        return self._new(f"template {self.template}")

    def nothing(self, folder: Path) -> str:  # noqa: ARG002
        return self._new("")

    def _new(self, template: str) -> str:
        name = f"test_{next(self._numbers)}"
        self.sql(f"create database {name} {template}")
        self._made.append(name)
        return self.server.url(name)

    def drop(self) -> None:
        """Drop what was made, whoever is still connected."""
        while self._made:
            self.sql(f"drop database {self._made.pop()} with (force)")

    def sql(self, statement: str) -> None:
        """Say one thing to the server."""

        async def say() -> None:
            connection = await asyncpg.connect(self.server.url())
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        in_a_loop_of_its_own(say)


def in_a_loop_of_its_own(work: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Run async ``work`` to its end, from wherever this is called."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(work())).result()


@contextmanager
def sqlite() -> Iterator[Sqlite]:
    """Files from one template."""
    with tempfile.TemporaryDirectory(prefix="driftd-template-") as folder:
        yield Sqlite(Path(folder) / "store.db")
