"""`driftd run` and `driftd demo`."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import click

from daemon.commands.asking import as_json_option
from daemon.commands.output import Failure, role_option, say_json, settings

DEMO_FOLDER = Path("demo-data")


@click.command()
@role_option
def run(role: str | None) -> None:
    """Run the daemon until it is told to stop. Settings are environment variables: see driftd check-config."""
    from daemon.app import serve
    from daemon.guard import ForeignPackage, check_packages
    from daemon.logs import configure, log_what_nobody_catches
    from daemon.matrix_threads import one_thread_for_matrices

    found = settings(role)
    try:
        check_packages()
    except ForeignPackage as error:
        raise Failure(str(error), os.EX_CONFIG) from None
    configure(found.log_level, found.log_format, found.secrets())
    log_what_nobody_catches()
    one_thread_for_matrices()
    code = asyncio.run(serve(found))
    if code:
        raise click.exceptions.Exit(code)


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default=DEMO_FOLDER, show_default=True)
@click.option("--port", type=int, help="Port of the status page.  [default: one that is free]")
@as_json_option
def demo(folder: Path, port: int | None, *, as_json: bool) -> None:
    """Run the whole loop in about a minute: drift, alarm, alert, retrain, gate, redeployment, recovery.

    Exits with 0 only if the loop closed. What it leaves in the folder is replaced by the next demo.
    """
    from daemon.demo.processes import DidNotStart
    from daemon.demo.story import NotClosed, Story

    marker = folder / "daemon.log"
    if folder.exists() and any(folder.iterdir()) and not marker.exists():
        raise Failure(f"{folder} is not empty and no earlier demo's: name another with --folder", os.EX_CANTCREAT)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    def quiet(*_args: object, **_style: object) -> None:
        pass

    story = Story(folder.absolute(), port, quiet) if as_json else Story(folder.absolute(), port)
    try:
        result = story.run()
    except (NotClosed, DidNotStart) as error:
        if as_json:
            say_json({"closed": False, "reason": str(error)})
        raise Failure(f"the loop did not close: {error}", os.EX_SOFTWARE) from None
    except KeyboardInterrupt:
        sys.exit(130)
    if as_json:
        say_json(result)
