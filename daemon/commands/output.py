"""What the commands print, and how they fail."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import click

from daemon.choices import check
from daemon.client import Client, NoAnswer, Refused, local_token
from daemon.fleet.workers import Role
from daemon.settings import Settings, SettingsError, load

role_option = click.option(
    "--role", metavar="ROLES", help=f"What it does: any of {', '.join(Role)}.  [default: DRIFTD_ROLE, or all]"
)


class Failure(click.ClickException):
    """A command that could not do its work; the exit code is one of sysexits.h."""

    def __init__(self, message: str, exit_code: int = os.EX_SOFTWARE) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    def show(self, file: Any = None) -> None:
        """Say it in one line on standard error."""
        click.secho(f"driftd: {self.message}", file=file or sys.stderr, fg="red", err=True)


def settings(role: str | None = None) -> Settings:
    """The settings of the environment, and the option ``--role`` where it is given; exit 78 where they are wrong."""
    try:
        found = load(os.environ, role=role)
        check(found)
    except SettingsError as error:
        raise Failure(str(error), os.EX_CONFIG) from None
    return found


def client() -> Client:
    """The daemon that the settings point at."""
    found = settings()
    token = found.api_token.get_secret_value() if found.api_token else local_token(found.data_dir)
    ingest = found.ingest_token.get_secret_value() if found.ingest_token else None
    return Client(found.local_url, token, ingest)


def command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn what can go wrong between the command line and a daemon into one line and an exit code."""

    @wraps(function)
    def run(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except NoAnswer as error:
            raise Failure(str(error), os.EX_UNAVAILABLE) from None
        except Refused as error:
            hint = error.problem.get("hint")
            code = {404: os.EX_DATAERR, 409: os.EX_TEMPFAIL, 401: os.EX_NOPERM, 403: os.EX_NOPERM}
            raise Failure(f"{error}{f' ({hint})' if hint else ''}", code.get(error.status, os.EX_UNAVAILABLE)) from None

    return run


def say_json(value: object) -> None:
    """One JSON object on one line of standard output."""
    click.echo(json.dumps(value, default=str))


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns that line up."""
    texts = [[("" if cell is None else str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *texts, strict=True)]
    click.secho("  ".join(f"{cell:<{width}}" for cell, width in zip(header, widths, strict=True)).rstrip(), bold=True)
    for row in texts:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
