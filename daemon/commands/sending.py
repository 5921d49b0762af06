"""`driftd send`: events from a file, or from standard input, to a running daemon."""

import gzip
import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

import click

from daemon.client import Client, Refused
from daemon.commands.output import Failure, client, command, say_json

LINES_PER_REQUEST = 500
TOO_MANY_REQUESTS = 429
UNAVAILABLE = 503
PATIENCE_SECONDS = 300.0


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(allow_dash=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@command
def send(files: tuple[Path, ...], *, as_json: bool) -> None:
    """Send the events of FILES (NDJSON, .gz too; - is standard input) to the running daemon.

    Waits when the daemon says that it has too much to do. Exits with 65 where it refused some events; they are named,
    and kept by the daemon as dead letters.
    """
    daemon = client()
    total: dict[str, Any] = {"accepted": 0, "rejected": 0}
    for path in files:
        with _reading(path) as (stream, size):
            bar = (
                click.progressbar(length=size, label=f"sending {path}")
                if size and not as_json and click.get_text_stream("stderr").isatty()
                else nullcontext()
            )
            with bar as progress:
                number = 0
                for lines in _pieces(stream):
                    answer = _send(daemon, b"".join(lines))
                    total["accepted"] += answer["accepted"]
                    total["rejected"] += answer["rejected"]
                    for error in answer.get("errors", []):
                        click.echo(
                            f"{path}:{number + error['line'] + 1}: {error['reason']}: {error['detail']}", err=True
                        )
                    number += len(lines)
                    if progress is not None:
                        progress.update(sum(map(len, lines)))
    if as_json:
        say_json(total)
    else:
        click.echo(f"{total['accepted']} events accepted, {total['rejected']} rejected")
    if total["rejected"]:
        raise click.exceptions.Exit(os.EX_DATAERR)


class _reading:  # noqa: N801 (reads as the verb it is)
    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> tuple[IO[bytes], int]:
        if str(self.path) == "-":
            self.stream: IO[bytes] = click.get_binary_stream("stdin")
            return self.stream, 0
        try:
            if self.path.suffix == ".gz":
                self.stream = gzip.open(self.path)  # type: ignore[assignment]  # it reads bytes
                return self.stream, 0
            self.stream = self.path.open("rb")
        except OSError as error:
            raise Failure(f"{self.path}: {error.strerror}", os.EX_NOINPUT) from None
        return self.stream, self.path.stat().st_size

    def __exit__(self, *exc: object) -> None:
        if str(self.path) != "-":
            self.stream.close()


def _pieces(stream: IO[bytes]) -> Iterator[list[bytes]]:
    lines: list[bytes] = []
    for line in stream:
        if line.strip():
            lines.append(line if line.endswith(b"\n") else line + b"\n")
        if len(lines) >= LINES_PER_REQUEST:
            yield lines
            lines = []
    if lines:
        yield lines


def _send(daemon: Client, body: bytes) -> dict[str, Any]:
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            answer: dict[str, Any] = daemon.send(body)
        except Refused as refused:
            if refused.status not in (TOO_MANY_REQUESTS, UNAVAILABLE) or time.monotonic() > until:
                raise
            time.sleep(refused.retry_after or 1.0)
        else:
            return answer
