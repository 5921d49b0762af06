"""`driftd status`, `models`, `versions`, `dead-letters`: what a running daemon knows."""

import os
from datetime import UTC, datetime
from typing import Any, Final

import click

from daemon.client import NoAnswer
from daemon.commands.output import client, command, say_json, table
from daemon.fleet.view import few, spoken
from daemon.web.words import ago

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
TROUBLE = {"alarm", "held"}


@click.command()
@click.argument("model", required=False)
@click.option("--exit-code", is_flag=True, help="Say nothing but by exit code: 0 running, 69 not.")
@as_json_option
@command
def status(model: str | None, *, exit_code: bool, as_json: bool) -> None:
    """What the daemon knows of each model, or of one."""
    daemon = client()
    if exit_code:
        try:
            daemon.get("readyz")
        except NoAnswer:
            raise click.exceptions.Exit(os.EX_UNAVAILABLE) from None
        return
    if model is not None:
        one = daemon.get("v1", "models", model)
        if as_json:
            say_json(one)
        else:
            _describe(one)
        return
    answer = daemon.get("v1", "status")
    if as_json:
        say_json(answer)
        return
    if answer["models"]:
        _models(answer["models"])
    else:
        click.echo("no model yet: send the first event with `driftd send FILE`")
    if answer["fleet"]["workers"]:
        click.echo()
        _workers(answer["fleet"], answer["time"])


@click.command()
@as_json_option
@command
def models(*, as_json: bool) -> None:
    """The models that are watched, and the version of each that is in service."""
    found = list(client().pages("v1", "models"))
    if as_json:
        say_json({"items": found})
    else:
        _models(found)


@click.command()
@click.argument("model")
@as_json_option
@command
def versions(model: str, *, as_json: bool) -> None:
    """The versions of MODEL, newest first: what serves, what was before, what was refused."""
    found = list(client().pages("v1", "models", model, "versions"))
    if as_json:
        say_json({"items": found})
        return
    table(
        ("version", "state", "origin", "made", "promoted", "sha256"),
        [
            (
                one["version"],
                one["state"],
                one["origin"],
                _day(one["created"]),
                _day(one.get("promoted")),
                (one.get("hash") or "")[:12],
            )
            for one in found
        ],
    )


@click.command("dead-letters")
@click.option("--resend", "resend_id", metavar="ID", help="Send one again, or `all`.")
@as_json_option
@command
def dead_letters(resend_id: str | None, *, as_json: bool) -> None:
    """Events that could not be used: why, and what they were."""
    daemon = client()
    if resend_id is not None:
        path = ("resend",) if resend_id == "all" else (resend_id, "resend")
        answer = daemon.post("v1", "dead-letters", *path)
        say_json(answer) if as_json else click.echo(f"sent again: {answer.get('resent', 1)}")
        return
    found = list(daemon.pages("v1", "dead-letters"))
    if as_json:
        say_json({"items": found})
        return
    table(
        ("id", "at", "reason", "detail", "event"),
        [(one["id"], _day(one["at"]), one["reason"], one["detail"][:60], str(one.get("body"))[:60]) for one in found],
    )


def _models(found: list[dict[str, Any]]) -> None:
    table(
        ("model", "state", "version", "predictions", "labels", "joined", "performance", "open alarms", "lag"),
        [
            (
                one["model"],
                one["state"],
                one["version"],
                one["events"]["prediction"],
                one["events"]["label"],
                one["joined"],
                _performance(one["performance"]),
                one["alarms"]["open"],
                one["lag"],
            )
            for one in sorted(found, key=lambda one: (one["state"] not in TROUBLE, one["model"]))
        ],
    )


def _workers(fleet: dict[str, Any], now: float) -> None:
    table(
        ("worker", "host", "roles", "reads", "behind", "watches", "seen"),
        [
            (
                one["worker"],
                one["host"],
                ",".join(one["roles"]),
                spoken((part["topic"], part["partition"]) for part in one["partitions"]),
                sum(part["behind"] or 0 for part in one["partitions"]) if one["partitions"] else None,
                few(one["models"]),
                f"{'' if one['alive'] else 'gone, '}{ago(one['seen'], now)}",
            )
            for one in fleet["workers"]
        ],
    )
    for trouble in fleet["troubles"]:
        click.secho(f"{trouble['text']}: {trouble['hint']}", fg="red")


NAME_WIDTH: Final = 14


def _describe(one: dict[str, Any]) -> None:
    for name, value in one.items():
        shown = _SHOWN[name](value) if name in _SHOWN else value
        if isinstance(shown, dict):
            shown = ", ".join(f"{part} {count}" for part, count in shown.items())
        click.echo(f"{click.style(f'{name:<{NAME_WIDTH}}', bold=True)} {'' if shown is None else shown}")


def _performance(value: dict[str, Any] | None) -> str:
    if not value:
        return "not measured yet"
    reference = "" if value.get("reference") is None else f", reference {value['reference']:.3f}"
    return _figure(value) + reference


def _all_figures(value: dict[str, Any] | None) -> str:
    others = [_figure(one) for one in (value or {}).get("metrics", [])[1:]]
    return f"\n{' ' * NAME_WIDTH} ".join([_performance(value), *others])


def _figure(one: dict[str, Any]) -> str:
    if one["value"] is None:
        return f"{one['metric']} {one['why_not']}"
    return f"{one['metric']} {one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"


def _estimate(value: dict[str, Any] | None) -> str:
    if not value:
        return "off"
    learned, of = value["learning"] or (0, 0)
    state = value["state"] if value["learning"] is None else f"{value['state']}, {learned} of {of} labels"
    if value["value"] is None:
        return state
    return f"{value['metric']} {value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}], {state}"


_SHOWN: Final = {"performance": _all_figures, "estimate": _estimate}


def _day(ts: float | None) -> str:
    return "" if ts is None else datetime.fromtimestamp(ts, UTC).strftime("%Y-%m-%d %H:%M:%S")
