"""`driftd retrain`, `promote`, `rollback`, `ack`, `silence`, `approve`, `reject`, `reference`: by hand."""

import getpass
import os
from pathlib import Path
from typing import Any

import click

from daemon.commands.asking import as_json_option
from daemon.commands.output import Failure, client, command, say_json, settings

by_option = click.option("--by", default=getpass.getuser, help="Who says so.  [default: the user's name]")


@click.command()
@click.argument("model")
@as_json_option
@command
def retrain(model: str, *, as_json: bool) -> None:
    """Retrain MODEL now. The gate decides as always whether the result is promoted."""
    _say(client().post("v1", "models", model, "retrain"), as_json=as_json)


@click.command()
@click.argument("model")
@click.argument("version")
@as_json_option
@by_option
@command
def promote(model: str, version: str, by: str, *, as_json: bool) -> None:
    """Put VERSION of MODEL into service, whatever the gate said."""
    _say(client().post("v1", "models", model, "versions", version, "promote", body={"by": by}), as_json=as_json)


@click.command()
@click.argument("model")
@as_json_option
@by_option
@command
def rollback(model: str, by: str, *, as_json: bool) -> None:
    """Put the version of MODEL that served before back into service."""
    _say(client().post("v1", "models", model, "rollback", body={"by": by}), as_json=as_json)


@click.command()
@click.argument("model")
@click.argument("alarm")
@as_json_option
@by_option
@command
def ack(model: str, alarm: str, by: str, *, as_json: bool) -> None:
    """Say that ALARM of MODEL has been seen."""
    _say(client().post("v1", "models", model, "alarms", alarm, "ack", body={"by": by}), as_json=as_json)


@click.command()
@click.argument("model")
@click.option("--signal", help="Only this signal, such as feature:age.  [default: all]")
@click.option("--hours", type=click.FloatRange(min=0, min_open=True), default=24.0, show_default=True)
@click.option("--reason", default="", help="Why.")
@as_json_option
@by_option
@command
def silence(model: str, signal: str | None, hours: float, reason: str, by: str, *, as_json: bool) -> None:
    """Send no alerts about MODEL for a while. Alarms are still recorded."""
    body = {"signal": signal, "hours": hours, "reason": reason, "by": by}
    _say(client().post("v1", "models", model, "silences", body=body), as_json=as_json)


@click.command()
@click.argument("model")
@click.argument("version")
@as_json_option
@by_option
@command
def approve(model: str, version: str, by: str, *, as_json: bool) -> None:
    """Approve VERSION of MODEL, which waits for a person (DRIFTD_MODE=recommend)."""
    body = {"approved": True, "by": by}
    _say(client().post("v1", "models", model, "approvals", version, body=body), as_json=as_json)


@click.command()
@click.argument("model")
@click.argument("version")
@as_json_option
@by_option
@command
def reject(model: str, version: str, by: str, *, as_json: bool) -> None:
    """Turn down VERSION of MODEL, which waits for a person."""
    body = {"approved": False, "by": by}
    _say(client().post("v1", "models", model, "approvals", version, body=body), as_json=as_json)


def layout_options(function: Any) -> Any:
    """The options that say which columns of a table mean what."""
    for option in reversed(
        [
            click.option("--features", metavar="A,B,C", help="The features.  [default: every other column]"),
            click.option("--exclude", metavar="A,B", help="Columns that are no features."),
            click.option("--id", "id_column", metavar="COL"),
            click.option("--time", "time_column", metavar="COL"),
            click.option("--prediction", metavar="COL"),
            click.option("--score", metavar="COL", help="The probability of the greater class."),
            click.option("--label", metavar="COL"),
        ]
    ):
        function = option(function)
    return function


@click.command()
@click.argument("model")
@click.argument("file", type=click.Path(path_type=Path))
@layout_options
@as_json_option
@command
def reference(
    model: str,
    file: Path,
    features: str | None,
    exclude: str | None,
    id_column: str | None,
    time_column: str | None,
    prediction: str | None,
    score: str | None,
    label: str | None,
    *,
    as_json: bool,
) -> None:
    """Set the reference of MODEL from FILE (CSV or Parquet): what its data looked like when all was well.

    Best is a held-out set with the model's own predictions and the labels; without a prediction column only the
    features get a reference, and the rest is learned from the stream.
    """
    from daemon.events.tabular import CannotRead, Layout
    from daemon.monitoring import references

    layout = Layout(id_column, time_column, prediction, score, label, names(features) or None, names(exclude))
    chosen = settings().model(model)
    daemon = client()
    try:
        task, learned = references.read(file, layout, None, chosen.reference_bins)
    except CannotRead as error:
        raise Failure(str(error), os.EX_DATAERR) from None
    body = {"task": task, "streams": {stream.value: one.to_dict() for stream, one in learned.items()}}
    _say(daemon.post("v1", "models", model, "reference", body=body, method="PUT"), as_json=as_json)


def names(text: str | None) -> tuple[str, ...]:
    """Comma-separated names."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _say(answer: Any, *, as_json: bool) -> None:
    if as_json or not isinstance(answer, dict):
        say_json(answer)
    else:
        click.echo(answer.get("message") or ", ".join(f"{name}: {value}" for name, value in answer.items()))
