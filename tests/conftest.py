"""What all tests share."""

import logging
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
import s3_server
import structlog
from alibi_detect_once import AlibiOnce, NoAlibi
from databases import Database, Postgresql, Sqlite, sqlite
from hypothesis import settings
from kafka_broker import Broker, NoBroker
from postgresql_server import NoServer, server

from daemon import logs
from retrain.storage import FolderStorage, S3Storage, open_storage
from retrain.storage.address import Keys
from retrain.storage.base import Storage

ROOT = Path(__file__).resolve().parent.parent

# the same examples at every run; `make soak` tries many more, and other ones each time
settings.register_profile("default", derandomize=True, deadline=None, max_examples=50, database=None)
settings.register_profile("soak", deadline=None, max_examples=2_000, print_blob=True)
settings.load_profile(os.environ.get("DRIFTD_TEST_PROFILE", "default"))


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the shell has set, a test starts with the defaults, and so does a daemon that it starts."""
    for variable in list(os.environ):
        if variable.startswith(("DRIFTD_", "AWS_")) and not variable.startswith("DRIFTD_TEST_"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # no test asks a cloud who it is


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """Whatever a test does to the logging of this process, the next one finds it as this one did."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    logs._present = logs.Redactor(())
    for name in logs.CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def sqlite_databases() -> Iterator[Sqlite]:
    """Makes stores in files."""
    with sqlite() as databases:
        yield databases


@pytest.fixture(scope="session")
def postgresql_databases() -> Iterator[Postgresql]:
    """Makes stores on a PostgreSQL server that runs for all tests; where there is none, they are skipped."""
    try:
        with server() as running:
            yield Postgresql(running)
    except NoServer as absent:
        pytest.skip(str(absent))


@pytest.fixture
def postgresql(postgresql_databases: Postgresql) -> Iterator[Postgresql]:
    """The same, for one test that is about PostgreSQL."""
    yield postgresql_databases
    postgresql_databases.drop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    """Makes stores on each kind of database, one after the other."""
    made: Database = request.getfixturevalue("postgresql" if request.param == "postgresql" else "sqlite_databases")
    return made


@pytest.fixture(scope="session")
def public_data() -> Callable[[str], Path]:
    """The folder of a public data set by name; a test that asks for an absent one is skipped."""
    home = Path(os.environ.get("DRIFTD_TEST_DATA", ROOT.parent / "shared" / "data"))

    def folder(name: str) -> Path:
        if not (home / name).is_dir():
            pytest.skip(f"no data set {name} in {home}: DRIFTD_TEST_DATA names the folder")
        return home / name

    return folder


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3_server.S3Server]:
    """An S3 server of the test run's own; what needs it is skipped where this machine cannot run one."""
    try:
        server = s3_server.S3Server(tmp_path_factory.mktemp("s3"))
    except s3_server.Unavailable as reason:
        pytest.skip(str(reason))
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=[FolderStorage, S3Storage])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty storage, of every kind there is."""
    if request.param is FolderStorage:
        return open_storage(str(tmp_path / "storage"))
    server = request.getfixturevalue("s3")
    return open_storage(server.address(f"tests/{tmp_path.name}"), Keys(s3_server.ACCESS_KEY, s3_server.SECRET_KEY))


@pytest.fixture(scope="session")
def alibi() -> Iterator[AlibiOnce]:
    """The way to alibi-detect, in the environment that `make alibi` makes; without one, who asks for it is skipped."""
    try:
        asked = AlibiOnce()
    except NoAlibi as absent:
        pytest.skip(str(absent))
    yield asked
    asked.close()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A Kafka broker that all tests share; each has topics of its own. Without Java or Maven they are skipped."""
    try:
        broker = Broker.begin(tmp_path_factory.mktemp("kafka"))
    except NoBroker as reason:
        pytest.skip(str(reason))
    yield broker
    broker.kill()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    """Say at the end, in so many words, how many tests this machine could not run; the reasons stand above."""
    yield
    terminalreporter.write_line(f"skipped: {len(terminalreporter.stats.get('skipped', []))}")
