"""What holds for a PostgreSQL store alone: who is let in and how, how many connections, many workers at once."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from databases import Postgresql
from pipelines import START, World, records, small
from postgresql_server import NoServer, Server, server
from seeded_events import traffic
from sqlalchemy import Select, select, text
from sqlalchemy.dialects import postgresql as dialect
from sqlalchemy.exc import DBAPIError

from daemon.stores import tables
from daemon.stores.engine import open_store
from daemon.stores.errors import StoreAway, StoreError, StoreRefuses
from daemon.stores.migrate import upgrade
from daemon.transports.base import Batch

WORKERS = 20


# --- who is let in


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """A server that takes nothing but TLS, and its certificate, which it has signed itself."""
    if shutil.which("openssl") is None:
        pytest.skip("PostgreSQL with TLS: there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    try:
        with server(tls=True) as running:
            files = {"certificate": folder / "server.crt", "key": folder / "server.key"}
            sign("localhost", **files)
            for file in files.values():
                its = running.folder / file.name
                shutil.copy(file, its)
                its.chmod(0o600)
                running.give(its)
            certificate, key = running.folder / "server.crt", running.folder / "server.key"
            running.set(ssl="on", ssl_cert_file=str(certificate), ssl_key_file=str(key))
            running.admit("hostssl all all 127.0.0.1/32 trust", "hostssl all all ::1/128 trust")
            running.stop()
            running.start()
            yield running, files["certificate"]
    except NoServer as absent:
        pytest.skip(str(absent))


def sign(host: str, certificate: Path, key: Path) -> None:
    """Make a key, and a certificate of it for a host."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={host}"]
    command += ["-addext", f"subjectAltName=DNS:{host}", "-out", str(certificate), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True)


async def encrypted(url: str) -> bool:
    """Whether a connection by this URL is."""
    store = open_store(url)
    try:
        async with store.read() as connection:
            mine = text("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
            return bool((await connection.execute(mine)).scalar_one())
    finally:
        await store.close()


@pytest.mark.parametrize(
    "parameters",
    [
        "",  # encrypted where the server can do it
        "?sslmode=require",
        "?sslmode=verify-ca&sslrootcert={certificate}",
        "?sslmode=verify-full&sslrootcert={certificate}&connect_timeout=5",
    ],
)
async def test_tls_is_asked_for_by_the_usual_parameters(tls: tuple[Server, Path], parameters: str) -> None:
    running, certificate = tls
    url = running.url().replace("127.0.0.1", "localhost") + parameters.format(certificate=certificate)
    assert await encrypted(url)
    assert await upgrade(url)


@pytest.mark.parametrize(
    ("host", "parameters", "says"),
    [
        ("127.0.0.1", "?sslmode=disable", "no encryption"),
        ("127.0.0.1", "?sslmode=verify-full&sslrootcert={certificate}", "127.0.0.1"),  # the certificate's is localhost
        ("localhost", "?sslmode=verify-full&sslrootcert={other}", "certificate"),
        ("localhost", "?sslmode=verify-full&sslrootcert=/nowhere.crt", "/nowhere.crt"),
    ],
)
async def test_a_connection_that_is_not_what_was_asked_for_is_refused(
    tls: tuple[Server, Path], tmp_path: Path, host: str, parameters: str, says: str
) -> None:
    running, certificate = tls
    other = tmp_path / "other.crt"
    await asyncio.to_thread(sign, "other", other, tmp_path / "key")
    url = running.url().replace("127.0.0.1", host) + parameters.format(certificate=certificate, other=other)
    with pytest.raises((StoreRefuses, StoreError), match=says):
        await encrypted(url)


async def test_a_user_who_may_not_make_tables_is_told_what_to_grant(postgresql: Postgresql, tmp_path: Path) -> None:
    url = postgresql.nothing(tmp_path)
    postgresql.sql("drop role if exists reader")
    postgresql.sql("create role reader login")
    with pytest.raises(StoreError, match='grant create on schema public to "reader"'):
        await upgrade(url.replace("driftd@", "reader@"))


# --- connections


async def test_no_more_connections_than_allowed_are_opened(postgresql: Postgresql, tmp_path: Path) -> None:
    url = postgresql.store(tmp_path)
    store = open_store(url, connections=3)
    most = 0

    async def look(*, writes: bool) -> None:
        nonlocal most
        async with store.begin([]) if writes else store.read() as connection:
            mine = text("select count(*) from pg_stat_activity where datname = current_database()")
            most = max(most, (await connection.execute(mine)).scalar_one())

    await asyncio.gather(*(look(writes=number % 2 == 0) for number in range(30)))
    await store.close()
    assert 1 <= most <= 3


async def test_a_connection_that_never_gets_free_is_no_wait_without_end(
    postgresql: Postgresql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.stores.postgresql.POOL_SECONDS", 0.05)
    store = open_store(postgresql.store(tmp_path), connections=2)
    async with store.read():
        with pytest.raises(StoreAway, match="DRIFTD_DATABASE_CONNECTIONS"):
            async with store.read():
                pass
        async with store.begin() as connection:  # who reads does not keep out who writes
            await connection.execute(tables.slots.insert().values(job="x", slot=1.0))
    await store.close()


async def test_connections_that_the_server_has_closed_are_replaced(postgresql: Postgresql, tmp_path: Path) -> None:
    store = open_store(postgresql.store(tmp_path))
    for _ in range(2):
        async with store.read() as connection:
            await connection.execute(select(tables.models))
        postgresql.sql("select pg_terminate_backend(pid) from pg_stat_activity where datname like 'test_%'")
    async with store.read() as connection:
        assert (await connection.execute(select(tables.models))).all() == []
    await store.close()


def test_a_daemon_on_sqlite_does_not_load_the_driver(tmp_path: Path) -> None:
    look = "import daemon.app, sys; from daemon.stores.engine import open_store; open_store('sqlite:///x');"
    found = subprocess.run(
        [sys.executable, "-I", "-c", look + "sys.exit('asyncpg' in sys.modules)"], check=False, cwd=tmp_path
    )
    assert found.returncode == 0


# --- many workers


async def test_twenty_workers_checkpoint_at_once(postgresql: Postgresql, tmp_path: Path) -> None:
    """Each has a partition of its own, with events of a model of its own, and some that belong to no model."""
    url = postgresql.store(tmp_path)
    worlds = [World(tmp_path / str(number), url=url, options=small(), now=START) for number in range(WORKERS)]

    async def work(number: int) -> None:
        pipeline = await worlds[number].start()
        log = [one.replace(b'"loans"', f'"own {number}"'.encode()) for one in traffic(60)] + [b"not JSON"]
        for start in range(0, len(log), 15):
            some = log[start : start + 15]
            await pipeline.process(Batch("driftd.events", number, records(some, start), start + len(some)))
            await pipeline.flush()

    await asyncio.gather(*(work(number) for number in range(WORKERS)))
    assert all(world.waits == [] for world in worlds), "a worker had to try again"
    counts = await worlds[0].counters()
    assert [counts[f"own {number}", "prediction"] for number in range(WORKERS)] == [60] * WORKERS
    assert counts["", "dead_letters"] == WORKERS
    offsets = {row["partition"]: row["next_offset"] for row in await worlds[0].rows(tables.partitions)}
    assert len(offsets) == WORKERS
    for world in worlds:
        await world.close()


async def test_a_worker_that_stops_dead_inside_a_transaction_does_not_hold_up_the_others(
    postgresql: Postgresql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgresql.store(tmp_path)
    monkeypatch.setattr("daemon.stores.postgresql.WRITES", {"idle_in_transaction_session_timeout": "200ms"})
    frozen, other = open_store(url), open_store(url)
    insert = tables.slots.insert()

    async def freeze() -> None:
        async with frozen.begin() as connection:
            await connection.execute(insert.values(job="frozen", slot=1.0))
            async with other.begin() as beside:
                await beside.execute(insert.values(job="other", slot=1.0))

    with pytest.raises(DBAPIError):
        await freeze()
    async with other.read() as connection:
        assert (await connection.execute(select(tables.slots.c.job))).scalars().all() == ["other"]
    await frozen.close()
    await other.close()


FAILS_TWICE = """
create sequence tries;
create function fail_twice() returns trigger language plpgsql as $$
begin
    if nextval('tries') <= 2 then raise exception 'as somebody else makes it happen' using errcode = '{code}'; end if;
    return new;
end $$;
create trigger fail_twice before insert on states for each statement execute function fail_twice();
"""


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("40P01", "the store cannot be written"),  # a deadlock
        ("40001", "the store cannot be written"),  # could not serialise
        ("57014", "the store cannot be written"),  # cancelled
        ("53100", "the disk is full"),
    ],
)
async def test_a_checkpoint_that_the_server_gives_up_is_written_again_as_a_whole(
    postgresql: Postgresql, tmp_path: Path, code: str, reason: str
) -> None:
    world = World.made(tmp_path, postgresql, options=small())
    connection = await asyncpg.connect(world.url)
    await connection.execute(FAILS_TWICE.format(code=code))
    await connection.close()
    pipeline = await world.start()
    log, seen = traffic(60), []

    async def look() -> None:
        seen.append((pipeline.waits_for, await world.counters(), await world.rows(tables.partitions)))

    world.during_wait = look
    await pipeline.process(Batch("driftd.events", 0, records(log), len(log)))
    await pipeline.flush()
    assert world.waits == [1.0, 2.0]
    assert seen == [(reason, {}, [])] * 2
    assert pipeline.waits_for is None
    assert (await world.counters())["loans", "prediction"] == 60
    await world.close()


# --- indexes

alarms, jobs, outbox, signals = tables.alarms, tables.jobs, tables.outbox, tables.signals
QUESTIONS: list[Select[Any]] = [
    select(signals).where(signals.c.model == "m").order_by(signals.c.id.desc()).limit(100),
    select(signals).where(signals.c.model == "m", signals.c.signal == "s").order_by(signals.c.row.desc()).limit(9),
    select(signals.c.id).where(signals.c.model == "m", signals.c.ts < 1.0).limit(5_000),
    select(alarms).where(alarms.c.model == "m").order_by(alarms.c.id.desc()).limit(100),
    select(alarms).where(alarms.c.model == "m", alarms.c.state == "open"),
    select(alarms).where(alarms.c.incident == 1).order_by(alarms.c.id),
    select(tables.decisions).where(tables.decisions.c.model == "m").order_by(tables.decisions.c.id.desc()).limit(100),
    select(jobs.c.id).where(jobs.c.state == "queued").order_by(jobs.c.id).limit(1),
    select(jobs).where(jobs.c.model == "m", jobs.c.state.in_(["queued", "running"])),
    select(jobs).where(jobs.c.model == "m").order_by(jobs.c.id.desc()).limit(100),
    select(outbox).where(outbox.c.state == "waiting").order_by(outbox.c.id).limit(100),
    select(outbox).where(outbox.c.incident == 1, outbox.c.state == "waiting"),
    select(tables.incidents).where(tables.incidents.c.model == "m", tables.incidents.c.state == "open"),
    select(tables.silences).where(tables.silences.c.model == "m", tables.silences.c.until > 1.0),
    select(tables.versions).where(tables.versions.c.model == "m"),
    select(tables.counters).where(tables.counters.c.model == "m"),
    select(tables.waiting).where(tables.waiting.c.model == "m").order_by(tables.waiting.c.first),
    select(tables.archive_files).where(tables.archive_files.c.model == "m", tables.archive_files.c.kind == "events"),
]


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
async def test_what_is_asked_again_and_again_is_found_by_an_index(
    postgresql_databases: Postgresql, question: Select[Any]
) -> None:
    store = open_store(postgresql_databases.server.url(postgresql_databases.template))
    said = str(question.compile(dialect=dialect.dialect(), compile_kwargs={"literal_binds": True}))
    async with store.read() as connection:
        await connection.execute(text("set local enable_seqscan = off"))
        plan = "\n".join((await connection.execute(text("explain " + said.replace(":", "\\:")))).scalars())
    await store.close()
    assert "Seq Scan" not in plan, plan
    assert "Index" in plan
