"""Writes down what the code says: `make docs`. With --check it only tells which files are out of date.

Makes settings.md, command-line.md, metrics.md and openapi.json beside itself, and fills what stands in the README
between `<!-- begin NAME -->` and `<!-- end NAME -->`, where NAME is settings, commands or metrics.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

import click

from daemon.cli import main as driftd
from daemon.metrics import TABLE
from daemon.settings import Row, Settings, describe
from daemon.web.openapi import document
from daemon.web.routes import ROUTES
from detectors.registry import DETECTORS

DOCS = Path(__file__).resolve().parent
README = DOCS.parent / "README.md"
MADE = "<!-- made by docs/build.py: change the code, then `make docs` -->\n\n"

OF_MODELS = """\
Every setting is an environment variable. One that is not said to be for the whole daemon can be given for a single
model: `DRIFTD_MODELS__LOANS__MIN_EFFECT` is `DRIFTD_MIN_EFFECT` of the model `loans`. In a model's name, whatever is
no letter or digit is written `_`. `none` switches off what has a value otherwise, and an empty variable is not set.

"""

OF_DETECTORS = """\
## Parameters of detectors

`DRIFTD_DETECTORS` takes them in brackets: `default,adwin(delta=0.01)`. A detector whose parameters have changed starts
afresh, with the reference that the model has; the log says so.

"""


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"


def settings() -> str:
    """Every setting, with what each accepts."""
    head = ("variable", "default", "accepts", "")
    return table(head, ((f"`{row.variable}`", row.default, row.accepts, _meaning(row)) for row in describe(Settings())))


def _meaning(row: Row) -> str:
    notes = [row.description]
    if row.secret:
        notes.append(f"Also from the file that `{row.variable}_FILE` names.")
    if not row.per_model:
        notes.append("For the whole daemon.")
    return " ".join(notes)


def parameters() -> str:
    """Every parameter of every detector."""
    head = ("detector", "parameter", "default", "accepts", "")
    rows = (
        (f"`{spec.name}`", f"`{one.name}`", str(one.default).lower(), one.accepts, one.meaning)
        for spec in DETECTORS.values()
        for one in spec.parameters
    )
    without = ", ".join(f"`{spec.name}`" for spec in DETECTORS.values() if not spec.parameters)
    return f"{OF_DETECTORS}{table(head, rows)}\nWithout parameters: {without}.\n"


def commands() -> str:
    """Every command and what it is for."""
    return table(("command", ""), ((f"`driftd {name}`", first_line(one)) for name, one in every_command()))


def every_command() -> Iterator[tuple[str, click.Command]]:
    """The commands of driftd, those of a group under their full name."""
    for name, command in sorted(driftd.commands.items()):
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", one) for inner, one in sorted(command.commands.items()))
        else:
            yield name, command


def first_line(command: click.Command) -> str:
    """What a command is for, in a sentence."""
    return " ".join((command.help or "").split("\n\n", maxsplit=1)[0].split())


def help_texts() -> str:
    """What ``--help`` says of each command."""
    parts = []
    for name, command in every_command():
        context = click.Context(command, info_name=f"driftd {name}", max_content_width=100, terminal_width=100)
        parts.append(f"## driftd {name}\n\n```\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def metrics() -> str:
    """Every metric of ``GET /metrics``."""
    rows = ((f"`{one.name}`", one.kind.value, ", ".join(one.labels), one.help) for one in TABLE)
    return table(("metric", "kind", "labels", ""), rows)


def pages() -> dict[Path, str]:
    """Every file that is made, with its text."""
    tables = {"settings": settings(), "commands": commands(), "metrics": metrics()}
    readme = README.read_text(encoding="utf-8")
    for name, text in tables.items():
        readme = re.sub(
            rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)",
            lambda found, text=text: f"{found[1]}\n{text}\n{found[2]}",
            readme,
            flags=re.DOTALL,
        )
    return {
        DOCS / "settings.md": f"{MADE}# Settings\n\n{OF_MODELS}{tables['settings']}\n{parameters()}",
        DOCS / "command-line.md": f"{MADE}# Command line\n\n{tables['commands']}\n{help_texts()}",
        DOCS / "metrics.md": f"{MADE}# Metrics\n\n`GET /metrics` has these.\n\n{tables['metrics']}",
        DOCS / "openapi.json": json.dumps(document(ROUTES, version("driftd")), indent=1, sort_keys=True) + "\n",
        README: readme,
    }


def main(arguments: list[str]) -> int:
    """Write what has changed, or only name it."""
    stale = {
        path: text for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text
    }
    for path, text in stale.items():
        if "--check" in arguments:
            print(f"{path.relative_to(DOCS.parent)} is out of date: make docs")
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(DOCS.parent)}")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
