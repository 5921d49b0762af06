"""`driftd replay --what-if`."""

import asyncio
import os
from contextlib import aclosing, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from daemon.commands.output import Failure, say_json

if TYPE_CHECKING:
    from daemon.replay import Source
    from daemon.settings import Settings
    from daemon.what_if.compare import Comparison, Outcome

HEAD = f"{'policy':<18} {'alarms':>7} {'retrains':>9} {'error':>8} {'training, s':>12}"


def compare(settings: "Settings", source: "Source", *, shown: bool, as_json: bool) -> None:
    """Serve the history of ``source`` under each policy, and print what came of it; ``shown`` is for the progress."""
    from daemon.events.tabular import CannotRead
    from daemon.monitoring.monitors import make_monitor
    from daemon.replay import LabelledTables
    from daemon.what_if.compare import Comparison
    from daemon.what_if.history import History

    chosen = settings.model(source.model)
    tables = LabelledTables(source)
    try:
        pieces = [piece for path in source.files for piece in tables.read(path)]
        history = History.of(pieces, make_monitor(source.model, chosen).task, timed=tables.timed)
        comparison = Comparison(history, chosen, source.label_delay)
        bar = (
            click.progressbar(length=comparison.work, label="serving", file=click.get_text_stream("stderr"))
            if shown
            else nullcontext()
        )
        with bar as progress:
            if progress is not None:
                comparison.progress = progress.update
            asyncio.run(_tell(comparison, as_json=as_json))
    except CannotRead as error:
        raise Failure(str(error), os.EX_DATAERR) from None
    if as_json:
        say_json({"summary": {"rows": len(history), "served": comparison.served, "timed": history.timed}})
        return
    click.echo(
        f"{comparison.served:,} rows served after the {len(history) - comparison.served:,} of the first model."
        " Whatever is trained is served: the gate is left out."
    )
    if not history.timed:
        click.echo("The rows have no time (--time), so that driftd's cooldown and daily budget are left out.")


async def _tell(comparison: "Comparison", *, as_json: bool) -> None:
    if not as_json:
        click.echo(HEAD)
    async with aclosing(comparison.outcomes()) as outcomes:
        async for outcome in outcomes:
            _print(outcome, as_json=as_json)


def _print(outcome: "Outcome", *, as_json: bool) -> None:
    if as_json:
        say_json(asdict(outcome))
        return
    click.echo(
        f"{outcome.policy:<18} {outcome.alarms:>7,} {outcome.retrains:>9,} {outcome.error:>8.4f}"
        f" {outcome.seconds:>12.1f}"
    )
