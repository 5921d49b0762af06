"""`driftd replay`: what would have been raised on history."""

import asyncio
import os
from contextlib import aclosing, nullcontext
from pathlib import Path
from typing import Any

import click

from daemon.commands.acting import layout_options, names
from daemon.commands.asking import as_json_option
from daemon.commands.output import Failure, command, say_json
from daemon.settings import SettingsError, load


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", default="default", show_default=True, help="Name of the model, for its settings.")
@click.option("--reference", type=click.Path(path_type=Path), help="File that the reference is learned from.")
@click.option("--reference-rows", type=click.IntRange(min=50), help="Else: so many of the first rows.")
@layout_options
@click.option("--labels", type=click.Path(path_type=Path), help="File with the labels, by id or in row order.")
@click.option("--label-delay", type=click.IntRange(min=0), default=0, help="Rows after which a label comes.")
@click.option("--set", "changes", metavar="NAME=VALUE", multiple=True, help="A setting, such as MIN_EFFECT=0.2.")
@click.option("--scores", type=click.Path(path_type=Path), help="Write row,score: higher is stranger.")
@click.option(
    "--estimates",
    type=click.Path(path_type=Path),
    help="Write accuracy (or mean absolute error) as estimated without labels, with a 95 % interval, for every 5,000"
    " rows. It learns from the labels of the reference.",
)
@click.option(
    "--what-if",
    is_flag=True,
    help="Instead, train models on the history and compare when to retrain: never, every so many rows, and as driftd"
    " decides. Nothing is deployed.",
)
@as_json_option
@command
def replay(
    files: tuple[Path, ...],
    model: str,
    reference: Path | None,
    reference_rows: int | None,
    features: str | None,
    exclude: str | None,
    id_column: str | None,
    time_column: str | None,
    prediction: str | None,
    score: str | None,
    label: str | None,
    labels: Path | None,
    label_delay: int,
    changes: tuple[str, ...],
    scores: Path | None,
    estimates: Path | None,
    *,
    what_if: bool,
    as_json: bool,
) -> None:
    """Run the history in FILES (CSV, CSV.gz, Parquet, NDJSON) through the daemon's own code.

    Prints what would have been raised. Sends no alert, trains and deploys nothing.
    """
    from daemon.alibi.environment import environment as environment_of
    from daemon.alibi.environment import examine, is_wanted
    from daemon.commands.comparing import compare
    from daemon.events.tabular import CannotRead, Layout
    from daemon.matrix_threads import one_thread_for_matrices
    from daemon.monitoring.scores import SERIES_ROWS
    from daemon.replay import Replay, Source

    if scores is not None or estimates is not None or what_if:
        _only_tables(files)
    environment = dict(os.environ) | _settings(changes)
    if reference_rows is not None:
        environment["DRIFTD_REFERENCE_ROWS"] = str(reference_rows)
    try:
        found = load(environment)
    except SettingsError as error:
        raise Failure(str(error), os.EX_CONFIG) from None
    layout = Layout(id_column, time_column, prediction, score, label, names(features) or None, names(exclude))
    source = Source(files, model, layout, reference, labels, label_delay, reference_rows or SERIES_ROWS)
    shown = click.get_text_stream("stderr").isatty() and not as_json
    one_thread_for_matrices()
    if is_wanted(found):
        wrong = "--what-if goes without it" if what_if else examine(environment_of(found))
        if wrong is not None:
            _warn(f"nothing is asked of alibi-detect: {wrong}")
    if what_if:
        compare(found, source, shown=shown, as_json=as_json)
        return
    total = sum(_size(path) for path in files)
    to = click.get_text_stream("stderr")
    bar = click.progressbar(length=total, label="replaying", file=to) if shown else nullcontext()
    with bar as progress:
        run = Replay(
            found,
            source,
            progress=progress.update if progress is not None else None,
            scored=scores is not None,
            estimated=estimates is not None,
        )
        try:
            asyncio.run(_tell(run, as_json=as_json))
        except CannotRead as error:
            raise Failure(str(error), os.EX_DATAERR) from None
    if scores is not None:
        _write_scores(scores, run.scores)
    if estimates is not None:
        _write_estimates(estimates, run.estimates, found.model(model).reference_rows)
    _conclude(run.result, as_json=as_json)


def _warn(text: str) -> None:
    click.secho(f"warning: {text}", fg="yellow", err=True)


def _only_tables(files: tuple[Path, ...]) -> None:
    from daemon.events.tabular import is_table

    for file in files:
        if not is_table(file):
            raise Failure(f"{file}: --scores, --estimates and --what-if take CSV, CSV.gz or Parquet", os.EX_USAGE)


def _settings(changes: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise Failure(f"--set takes NAME=VALUE, not {change!r}", os.EX_USAGE)
        found[f"DRIFTD_{name.removeprefix('DRIFTD_').upper()}"] = value
    return found


async def _tell(run: Any, *, as_json: bool) -> None:
    async with aclosing(run.alarms()) as alarms:
        async for alarm in alarms:
            _print(alarm, as_json=as_json)


def _print(alarm: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        say_json(alarm)
    else:
        evidence = alarm["evidence"]
        moved = ", ".join(f"{signal} {share:.0%}" for signal, share in alarm["ranking"][:3])
        for one, other, then, now in evidence.get("together", ())[:1]:
            moved = f"{one} with {other} {then} -> {now}"
        click.echo(
            f"row {alarm['row']:>9,}  {alarm['kind']:<8} {alarm['signal']:<24} {alarm['severity']:<8}"
            f" since row {alarm['change_row']:,}: {evidence.get('effect_name')} {evidence.get('effect')}"
            f"{f' ({moved})' if moved else ''}"
        )
        cause = evidence.get("cause", {"name": "unknown"})
        if cause["name"] != "unknown":
            click.echo(f"{'':15}{cause['name'].replace('_', ' ')}: {cause['text']}")


def _conclude(result: Any, *, as_json: bool) -> None:
    if as_json:
        summary = {"rows": result.rows, "seconds": round(result.seconds, 3), "alarms": result.alarms}
        say_json({"summary": {**summary, "decisions": result.decisions, "missing_rows": result.missing}})
    else:
        speed = result.rows / result.seconds if result.seconds else 0.0
        click.echo(
            f"{result.rows:,} rows in {result.seconds:.1f} s ({speed:,.0f} a second): {result.alarms} alarms,"
            f" {result.recovered} of them over, {result.decisions} retrains would have been asked for"
        )
    if not result.rows:
        _warn("there are no rows in what was replayed")
    for model, missing in result.missing.items():
        _warn(f"nothing of {model} was watched: its reference lacks {missing:,} rows (--reference-rows, --reference)")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _write_scores(path: Path, scores: list[Any]) -> None:
    import numpy as np

    values = np.concatenate(scores) if scores else np.empty(0)
    with path.open("w") as file:
        file.write("row,score\n")
        file.writelines(f"{row},{value:.9g}\n" for row, value in enumerate(values.tolist()))


def _write_estimates(path: Path, estimates: list[Any], learned_from: int) -> None:
    if not estimates:
        _warn(f"{path} has no estimate: they are learned from {learned_from:,} rows with labels (--reference-rows)")
    with path.open("w") as file:
        file.write("first_row,last_row,metric,estimate,low,high,real,wrong_since\n")
        for one in estimates:
            real = "" if one.real is None else f"{one.real:.6g}"
            wrong = "" if one.wrong_since is None else one.wrong_since
            figures = f"{one.estimate:.6g},{one.low:.6g},{one.high:.6g}"
            file.write(f"{one.first_row},{one.last_row},{one.metric},{figures},{real},{wrong}\n")
