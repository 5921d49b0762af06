"""`driftd check-config` and `driftd db`: before the daemon starts."""

import asyncio
import os
from dataclasses import asdict

import click

from daemon.alibi.environment import environment, examine, is_wanted
from daemon.choices import check
from daemon.commands.asking import as_json_option
from daemon.commands.output import Failure, role_option, say_json, settings, table
from daemon.settings import SettingsError, describe, load, warnings


@click.command("check-config")
@role_option
@as_json_option
def check_config(role: str | None, *, as_json: bool) -> None:
    """Check the settings and print them, secrets hidden. Exits with 78 where one is wrong."""
    try:
        found = load(os.environ, role=role)
        check(found)
    except SettingsError as error:
        if as_json:
            say_json({"valid": False, "problems": [str(problem) for problem in error.problems]})
        raise Failure(str(error), os.EX_CONFIG) from None
    rows, doubts = describe(found), [str(one) for one in warnings(found)]
    if is_wanted(found):
        wrong = examine(environment(found))
        doubts += [] if wrong is None else [wrong]
    if as_json:
        say_json({"valid": True, "warnings": doubts, "settings": [asdict(row) for row in rows]})
        return
    table(
        ("setting", "value", "from", "what it is"),
        [(one.variable, one.value, one.source, one.description) for one in rows],
    )
    for doubt in doubts:
        click.secho(f"warning: {doubt}", fg="yellow", err=True)


@click.group()
def db() -> None:
    """The store."""


@db.command()
@as_json_option
def upgrade(*, as_json: bool) -> None:
    """Make or migrate the tables of the store. The daemon does this by itself when it starts."""
    from daemon.stores.errors import StoreAway, StoreError, StoreRefuses
    from daemon.stores.migrate import upgrade as migrate

    found = settings()
    found.data_dir.mkdir(parents=True, exist_ok=True)
    try:
        revision = asyncio.run(migrate(found.store_url))
    except (StoreError, StoreRefuses) as error:
        raise Failure(str(error), os.EX_CONFIG) from None
    except StoreAway as error:
        raise Failure(str(error), os.EX_UNAVAILABLE) from None
    if as_json:
        say_json({"revision": revision})
    else:
        click.echo(f"the store is at revision {revision}")
