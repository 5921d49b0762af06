"""The daemon with its archive on S3: from its start over an alarm to a version in service, and what may go wrong."""

import asyncio
import json
import math
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from pipelines import World, batch
from s3_server import ACCESS_KEY, BUCKET, SECRET_KEY, S3Server
from seeded_events import line, prediction

from daemon.client import Client, NoAnswer, Refused, local_token
from daemon.monitoring.options import MonitorOptions
from daemon.stores import tables
from daemon.stores.engine import sqlite_url
from daemon.stores.migrate import upgrade
from retrain.registry import verify
from retrain.storage import open_storage
from retrain.storage.address import Keys
from retrain.storage.base import Storage, StorageError, StorageRefused

PATIENCE = 120.0


def storage_at(address: str, access: str = ACCESS_KEY, secret: str = SECRET_KEY) -> Storage:
    return open_storage(address, Keys(access, secret))


# what is wrong is said


def test_a_bucket_that_is_not_there_is_named(s3: S3Server) -> None:
    with pytest.raises(
        StorageRefused, match=r"the bucket nowhere is not there at http://127.0.0.1.*DRIFTD_ARCHIVE_URL"
    ):
        storage_at(s3.address("p", bucket="nowhere")).check()


@pytest.mark.parametrize("wrong", [{"access": "somebody"}, {"secret": "wrong/key"}])
def test_wrong_keys_are_said_to_be_wrong_and_not_shown(s3: S3Server, wrong: dict[str, str]) -> None:
    with pytest.raises(StorageRefused, match=r"access to the bucket driftd .* is denied") as raised:
        storage_at(s3.address("p"), **wrong).check()
    assert "DRIFTD_ARCHIVE_SECRET_KEY" in str(raised.value)
    for secret in (ACCESS_KEY, SECRET_KEY, *wrong.values()):
        assert secret not in str(raised.value)


def test_keys_may_come_from_the_usual_variables(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    found = open_storage(s3.address("usual"))
    found.check()
    assert dict(found.environment) == {}


def test_a_server_that_is_not_there_is_another_matter_than_a_wrong_setting() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))  # and nobody listens
        place = f"http://127.0.0.1:{one.getsockname()[1]}"
        with pytest.raises(StorageError, match=f"{place} cannot be reached") as raised:
            storage_at(f"s3://driftd?endpoint_override={place}").check()
    assert not isinstance(raised.value, StorageRefused)


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    """The settings of the keys, from files."""
    (tmp_path / "access").write_text(ACCESS_KEY + "\n")
    (tmp_path / "secret").write_text(SECRET_KEY + "\n")
    return {
        "DRIFTD_ARCHIVE_ACCESS_KEY_FILE": str(tmp_path / "access"),
        "DRIFTD_ARCHIVE_SECRET_KEY_FILE": str(tmp_path / "secret"),
    }


def driftd(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-I", "-m", "daemon", *arguments],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


@pytest.mark.parametrize(
    ("bucket", "well", "says"), [(BUCKET, True, "can be read and written"), ("nowhere", False, "is not there")]
)
def test_the_doctor_tries_the_archive(
    s3: S3Server, tmp_path: Path, keys: dict[str, str], bucket: str, well: bool, says: str
) -> None:
    data = {"DRIFTD_DATA_DIR": str(tmp_path), "DRIFTD_HTTP_PORT": "1"}
    done = driftd("doctor", "--json", DRIFTD_ARCHIVE_URL=s3.address("doctor", bucket), **keys, **data)
    [found] = [one for one in json.loads(done.stdout)["findings"] if one["what"] == "archive"]
    assert found["well"] is well
    assert says in found["detail"]
    assert SECRET_KEY not in done.stdout + done.stderr


def test_check_config_shows_the_place_and_no_key(s3: S3Server, keys: dict[str, str]) -> None:
    done = driftd("check-config", "--json", DRIFTD_ARCHIVE_URL=s3.address("p"), **keys)
    rows = {one["variable"]: one["value"] for one in json.loads(done.stdout)["settings"]}
    assert rows["DRIFTD_ARCHIVE_URL"] == s3.address("p")
    assert rows["DRIFTD_ARCHIVE_ACCESS_KEY"] == rows["DRIFTD_ARCHIVE_SECRET_KEY"] == "***"


def test_a_daemon_does_not_start_where_it_could_keep_nothing(
    s3: S3Server, tmp_path: Path, keys: dict[str, str]
) -> None:
    data = {"DRIFTD_DATA_DIR": str(tmp_path / "data"), "DRIFTD_HTTP_PORT": "0"}
    done = driftd("run", DRIFTD_ARCHIVE_URL=s3.address("p", "nowhere"), **keys, **data)
    assert done.returncode == os.EX_CONFIG
    assert "the bucket nowhere is not there" in done.stdout + done.stderr
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        away = f"s3://driftd?endpoint_override=http://127.0.0.1:{one.getsockname()[1]}"
        done = driftd("run", DRIFTD_ARCHIVE_URL=away, **keys, **data)
    assert done.returncode == os.EX_TEMPFAIL  # a service manager starts it again
    assert "cannot be reached" in done.stdout + done.stderr


# while it is away


@pytest.fixture
async def world(tmp_path: Path, s3: S3Server) -> AsyncIterator[World]:
    storage = storage_at(s3.address(f"tests/{tmp_path.name}"))
    url = sqlite_url(tmp_path / "store.db")
    world = World(tmp_path, options=MonitorOptions(reference_rows=10), storage=storage, url=url)
    await upgrade(world.url)
    yield world
    await world.close()


def events(count: int, first: int = 0) -> list[bytes]:
    return [line(**prediction(number, random.Random(number))) for number in range(first, first + count)]


async def test_a_checkpoint_waits_for_an_archive_that_is_away_and_nothing_is_lost(world: World, s3: S3Server) -> None:
    world.file_rows = 1  # every checkpoint is a file
    pipeline = await world.start()
    await pipeline.process(batch(*events(20)))

    async def back() -> None:
        if len(world.waits) == 2:
            await asyncio.to_thread(s3.start)

    world.during_wait = back
    s3.stop()
    try:
        await pipeline.flush()
    finally:
        if len(world.waits) < 2:
            s3.start()
    assert world.waits == [1.0, 2.0]
    assert (await world.counters())["loans", "prediction"] == 20
    assert world.storage is not None
    [file] = await world.rows(tables.archive_files)
    assert [one.bytes for one in world.storage.files("archive")] == [file["bytes"]]


async def test_a_checkpoint_that_waits_for_long_writes_its_files_anew(world: World) -> None:
    """The store is away for so long that its files may have been swept."""
    world.file_rows = 1
    pipeline = await world.start()
    await pipeline.process(batch(*events(20)))
    assert world.storage is not None
    storage = world.storage
    left: list[str] = []

    async def sweep() -> None:
        world.now += 3_700
        left[:] = [one.name for one in storage.files("archive")]
        for name in left:
            storage.remove(name)
        blocker.rollback()

    with closing(sqlite3.connect(world.folder / "store.db", isolation_level=None, timeout=1)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        world.during_wait = sweep
        await pipeline.flush()
    [file] = await world.rows(tables.archive_files)
    assert [one.name for one in storage.files("archive")] == [f"archive/{file['path']}"]
    assert left != [f"archive/{file['path']}"]


async def test_chunks_wait_in_the_store_while_the_archive_is_away(world: World, s3: S3Server) -> None:
    pipeline = await world.start()
    await pipeline.process(batch(*events(20)))
    await pipeline.flush()
    archive = world.archive_of(pipeline)
    s3.stop()
    try:
        assert await archive.compact(1) == 0
    finally:
        s3.start()
    assert len(await world.rows(tables.archive_chunks)) == 1
    assert await archive.compact(1) == 1
    assert await world.rows(tables.archive_chunks) == []


# the whole way


class Daemon:
    """`driftd run` with its archive on S3, on a data folder that may be lost."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        self.settings = {"DRIFTD_DATA_DIR": str(folder / "data"), "DRIFTD_HTTP_PORT": str(port), **settings}
        self.client = Client(f"http://127.0.0.1:{port}")
        self.log = folder / "daemon.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-m", "daemon", "run"],
                env={**os.environ, **self.settings},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.until(self._ready, "ready")

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(PATIENCE) == 0, self.log.read_text()[-3_000:]
            self.process = None

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-3_000:]
        try:
            self.client.get("readyz")
        except (NoAnswer, Refused, ValueError):
            return False
        return True

    def until(self, holds: Callable[[], Any], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end, f"never {what}:\n{self.log.read_text()[-3_000:]}"
            time.sleep(0.2)

    def model(self) -> dict[str, Any]:
        models = self.client.get("v1", "status")["models"]
        return dict(models[0]) if models else {"events": {"label": 0}}

    def retrains(self) -> list[dict[str, Any]]:
        return list(self.client.pages("v1", "models", "loans", "retrains"))


class Traffic:
    """A model that goes by ``x`` whatever happens; what decides is ``x`` first, and ``y`` after the change."""

    def __init__(self) -> None:
        self._random = random.Random(5)
        self.rows = 0
        self.version = "1"

    def some(self, count: int, decides: str) -> bytes:
        lines = []
        for _ in range(count):
            features = {name: self._random.gauss(0, 1) for name in ("x", "y", "z")}
            name, self.rows = str(self.rows), self.rows + 1
            seen = features["x" if self.version == "1" else decides]
            event = {"id": name, "model": "loans", "version": self.version, "features": features}
            lines.append(json.dumps({**event, "prediction": int(seen > 0), "score": 1 / (1 + math.exp(-3 * seen))}))
            right = features[decides] > 0 if self._random.random() < 0.95 else self._random.random() < 0.5
            lines.append(json.dumps({"type": "label", "id": name, "model": "loans", "label": int(right)}))
        return "\n".join(lines).encode()


@pytest.fixture
def daemon(tmp_path: Path, s3: S3Server, keys: dict[str, str]) -> Iterator[Daemon]:
    settings = {
        "DRIFTD_ARCHIVE_URL": s3.address(f"flow/{tmp_path.name}"),
        "DRIFTD_ARCHIVE__FILE_ROWS": "500",
        "DRIFTD_EVENTS_PER_FALSE_ALARM": "100000",
        "DRIFTD_REFERENCE_ROWS": "1000",
        "DRIFTD_RETRAIN__COOLDOWN_SECONDS": "0",
        "DRIFTD_LOG_FORMAT": "json",
    }
    running = Daemon(tmp_path, **settings, **keys)
    running.start()
    yield running
    if running.process is not None:
        running.process.kill()
        running.process.wait()


def test_from_events_to_a_version_in_service_and_over_a_lost_disk(daemon: Daemon, s3: S3Server) -> None:
    traffic = Traffic()
    storage = storage_at(daemon.settings["DRIFTD_ARCHIVE_URL"])
    daemon.client.send(traffic.some(3_000, "x"))
    daemon.until(lambda: daemon.model()["events"]["label"] == traffic.rows, "worked through")

    def changed() -> bool:
        daemon.client.send(traffic.some(250, "y"))
        return bool(daemon.model()["version"] != "1")

    daemon.until(changed, "a new version in service")
    traffic.version = version = daemon.model()["version"]
    # everything that other nodes need is in the bucket, under the names that a data folder would have
    names = {one.name for one in storage.files("")}
    assert f"models/loans/{version}/manifest.json" in names
    job = next(one for one in daemon.retrains() if one["outcome"] == "promote")["id"]
    assert {f"jobs/{job}/dataset.parquet", f"jobs/{job}/reference.parquet"} <= names
    daemon.until(lambda: storage.files("archive/loans"), "a file of the archive")
    data = daemon.folder / "data"
    assert not (data / "archive").exists()
    # what is served is the local copy, and whole
    served = data / "deployed" / "loans" / "current"
    assert served.resolve() == data / "models" / "loans" / version
    verify(served.resolve())
    daemon.client.send(traffic.some(200, "y"))
    daemon.until(lambda: daemon.model()["events"]["label"] == traffic.rows, "worked through")
    daemon.stop()

    # of the disk only the store and the log of events are left, and the switch had not been taken over yet
    for lost in ("models", "jobs", "deployed"):
        rmtree(data / lost)
    with closing(sqlite3.connect(data / "store.db")) as store, store:
        store.execute("update versions set adopted = null where state = 'champion'")
    daemon.start()
    after = daemon.model()
    assert (after["version"], after["events"]["label"]) == (version, traffic.rows)
    daemon.until((data / "jobs" / str(job) / "reference.parquet").exists, "the reference's rows here")

    def asked() -> bool:
        try:
            Client(daemon.client.url, local_token(data)).post("v1", "models", "loans", "retrain")
        except Refused:  # more labels have just had it train by itself
            return False
        return True

    # a retrain reads its rows from there again
    daemon.until(asked, "asked to train")
    daemon.until(lambda: all(one["state"] not in {"queued", "running"} for one in daemon.retrains()), "trained")
    again = max(daemon.retrains(), key=lambda one: int(one["id"]))
    assert again["state"] == "succeeded", again
    daemon.stop()
    for file in [daemon.log, *(one for one in data.rglob("*") if one.is_file())]:
        content = file.read_bytes()
        assert SECRET_KEY.encode() not in content, file
        assert ACCESS_KEY.encode() not in content, file
