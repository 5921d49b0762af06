"""`driftd doctor`: finds what is wrong with the installation and says what to type."""

import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import click

from daemon.alibi.environment import HINT, environment, examine, is_wanted
from daemon.client import Client, NoAnswer, Refused
from daemon.commands import doctor_fleet
from daemon.commands.asking import as_json_option
from daemon.commands.finding import Finding
from daemon.commands.output import say_json
from daemon.parts import transport_options
from daemon.settings import Settings, SettingsError, load, warnings
from daemon.transports.errors import CannotOpen
from detectors.alibi import VERSION

LEAST_FREE_BYTES = 1 << 30


@click.command()
@as_json_option
def doctor(*, as_json: bool) -> None:
    """Find what is wrong with the installation, and say what to type. Exits with 78 where something is."""
    findings = list(_examine())
    if as_json:
        say_json({"well": all(one.well for one in findings), "findings": [asdict(one) for one in findings]})
    else:
        for one in findings:
            click.echo(f"{_mark(one)} {one.what}: {one.detail}")
            if one.hint and (one.doubtful or not one.well):
                click.echo(f"     {one.hint}")
    if not all(one.well for one in findings):
        raise click.exceptions.Exit(os.EX_CONFIG)


def _mark(one: Finding) -> str:
    if not one.well:
        return click.style("BAD ", fg="red", bold=True)
    return click.style("warn", fg="yellow") if one.doubtful else click.style("ok  ", fg="green")


def _examine() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", sys.version_info >= (3, 11), version, "install Python 3.11 or later")
    yield _guarded()
    try:
        settings = load(os.environ)
    except SettingsError as error:
        yield Finding("settings", well=False, detail=str(error), hint="driftd check-config says more")
        return
    yield Finding("settings", well=True, detail="valid")
    for doubt in warnings(settings):
        yield Finding("settings", well=True, detail=str(doubt), doubtful=True)
    for check in (_data_folder, _disk, _broker, _store, _archive, _trainer, _daemon):
        yield check(settings)
    if is_wanted(settings):
        yield _alibi(settings)
    if settings.is_fleet:
        yield from doctor_fleet.examine(settings)


def _guarded() -> Finding:
    from daemon.guard import ForeignPackage, check_packages

    try:
        check_packages()
    except ForeignPackage as error:
        return Finding(
            "packages", well=False, detail=str(error), hint="install driftd in a virtual environment of its own"
        )
    return Finding("packages", well=True, detail="daemon, detectors and retrain are driftd's own")


def _data_folder(settings: Settings) -> Finding:
    folder = settings.data_dir.absolute()
    there = next(one for one in (folder, *folder.parents) if one.exists())
    well = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    detail = f"{folder}{'' if folder.exists() else ' (made at the first start)'}"
    return Finding(
        "data folder", well, detail, f"chown it to this user, or set DRIFTD_DATA_DIR; {there} is not writable"
    )


def _disk(settings: Settings) -> Finding:
    folder = settings.data_dir.absolute()
    there = next(one for one in (folder, *folder.parents) if one.exists())
    free = shutil.disk_usage(there).free
    return Finding(
        "disk", free >= LEAST_FREE_BYTES, f"{free / (1 << 30):.1f} GiB free", "make room, or set DRIFTD_DATA_DIR"
    )


def _broker(settings: Settings) -> Finding:
    if not settings.broker.startswith("kafka"):
        return Finding("broker", well=True, detail="embedded, in the data folder")
    from daemon.transports.kafka_options import Cluster
    from daemon.transports.kafka_topics import missing_topics

    try:
        cluster = Cluster.of(settings.broker, transport_options(settings).kafka)
        missing = asyncio.run(missing_topics(cluster, settings.topics))
    except CannotOpen as error:
        return Finding("broker", well=False, detail=str(error), hint="start the broker, or do what the line above says")
    if not missing:
        return Finding("broker", well=True, detail=f"{settings.broker}, with {', '.join(settings.topics)}")
    hint = "make it, or set DRIFTD_KAFKA__CREATE_TOPICS=true"
    detail = f"{settings.broker} has no {', '.join(missing)} (made at the next start, where it may be)"
    return Finding("broker", settings.kafka.create_topics, detail, hint)


def _store(settings: Settings) -> Finding:
    from daemon.stores.migrate import current, head

    if settings.database_url is None and not (settings.data_dir / "store.db").exists():
        return Finding("store", well=True, detail="made at the first start")
    try:
        found = asyncio.run(current(settings.store_url))
    except Exception as error:  # noqa: BLE001 (whatever a database may say is what the person should read)
        hint = "check DRIFTD_DATABASE_URL, and that the server runs"
        return Finding("store", well=False, detail=str(error).splitlines()[0], hint=hint)
    if found is None:
        return Finding("store", well=True, detail="answers; its tables are made at the first start")
    if found == head():
        return Finding("store", well=True, detail=f"revision {found}")
    return Finding(
        "store", well=False, detail=f"revision {found}, this version needs {head()}", hint="driftd db upgrade"
    )


def _archive(settings: Settings) -> Finding:
    from daemon import parts

    places = parts.places(settings)
    if not places.shared:
        return Finding("archive", well=True, detail="in the data folder")
    try:
        places.storage.check()
    except OSError as error:
        return Finding("archive", well=False, detail=str(error), hint="docs/archive.md says what it needs")
    return Finding("archive", well=True, detail=f"{places.storage.place} can be read and written")


def _trainer(settings: Settings) -> Finding:
    retrain = settings.retrain
    if retrain.trainer != "command":
        return Finding("trainer", well=True, detail=retrain.trainer)
    if not retrain.command:
        hint = "set DRIFTD_RETRAIN__COMMAND to your training script"
        return Finding("trainer", well=False, detail="the trainer is `command` and there is none", hint=hint)
    python = Path(retrain.python or sys.executable)
    found = shutil.which(str(python)) is not None
    return Finding(
        "trainer", found, f"{python} {' '.join(retrain.command)}", "set DRIFTD_RETRAIN__PYTHON to your interpreter"
    )


def _alibi(settings: Settings) -> Finding:
    found = environment(settings)
    wrong = examine(found)
    detail = f"{found.python} has alibi-detect {VERSION}" if wrong is None else wrong
    return Finding("alibi-detect", wrong is None, detail, HINT)


def _daemon(settings: Settings) -> Finding:
    client = Client(settings.local_url)
    ask: Callable[[], object] = lambda: client.get("readyz")  # noqa: E731 (named for what it does)
    try:
        ask()
    except NoAnswer:
        return Finding("daemon", well=True, detail="not running (start it with: driftd run)")
    except Refused as refused:
        return Finding("daemon", well=False, detail=f"runs and is not ready: {refused}", hint="look at its log")
    except ValueError:
        hint = f"stop that program, or set DRIFTD_HTTP_PORT to another than {settings.http_port}"
        return Finding("daemon", well=False, detail=f"port {settings.http_port} is another program's", hint=hint)
    return Finding("daemon", well=True, detail=f"running at {client.url}")
