"""Log lines: readable on a terminal, JSON elsewhere, and never a secret in either."""

import io
import json
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import logs
from daemon.lifecycle.outcome import read_answer
from daemon.settings import LogFormat, LogLevel
from retrain.result import RESULT_FILE

ROOT = Path(__file__).parents[2]
SECRET = 'xoxb-1234"56/é\n78'


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


pytestmark = pytest.mark.usefixtures("logging_as_before")


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_elsewhere_than_on_a_terminal_each_line_is_one_json_object() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    logs.get_logger("daemon.lifecycle.jobs").info(
        "retrain started", model="loans\nmore", job=7, share=float("nan"), at=(1, 2)
    )
    (line,) = lines(stream)
    assert list(line)[:4] == ["timestamp", "level", "logger", "event"]
    del line["timestamp"]
    assert line == {
        "level": "info",
        "logger": "daemon.lifecycle.jobs",
        "event": "retrain started",
        "model": "loans\nmore",
        "job": 7,
        "share": "nan",
        "at": [1, 2],
    }


def test_a_library_comes_out_like_our_own() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    logging.getLogger("some.library").warning("lost %d of %s", 2, "loans", extra={"partition": 3})
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old style", DeprecationWarning, stacklevel=1)
    first, second = lines(stream)
    assert (first["event"], first["logger"], first["partition"]) == ("lost 2 of loans", "some.library", 3)
    assert second["logger"] == "py.warnings"


def test_an_exception_is_in_the_line_that_reports_it() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    try:
        raise ValueError("the cause")
    except ValueError:
        logs.get_logger("daemon").exception("it failed", model="loans")
    (line,) = lines(stream)
    assert "ValueError: the cause" in str(line["exception"])


def test_on_a_terminal_a_line_is_text_with_named_values() -> None:
    stream = Terminal()
    logs.configure(stream=stream, environ={"NO_COLOR": "1"})
    logs.get_logger("daemon.lifecycle.jobs").info("retrain started", model="loans", job=7)
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert "retrain started" in text
    assert "model=loans job=7" in text
    assert "\x1b" not in text


def test_colours_are_for_terminals_that_want_them() -> None:
    def said(stream: io.StringIO, environ: dict[str, str]) -> str:
        logs.configure(log_format=LogFormat.TEXT, stream=stream, environ=environ)
        logs.get_logger("daemon").info("hello")
        return stream.getvalue()

    assert "\x1b" in said(Terminal(), {})
    assert "\x1b" not in said(Terminal(), {"NO_COLOR": "1"})
    assert "\x1b" not in said(Terminal(), {"TERM": "dumb"})
    assert "\x1b" not in said(io.StringIO(), {})


def test_the_form_can_be_chosen() -> None:
    stream = Terminal()
    logs.configure(log_format=LogFormat.JSON, stream=stream)
    logs.get_logger("daemon").info("hello")
    assert lines(stream)[0]["event"] == "hello"


def test_what_a_library_warns_of_again_and_again_is_said_once_a_minute() -> None:
    now = 0.0
    again = logs.NotAgain(lambda: now)
    away = logging.LogRecord("aiokafka", logging.ERROR, "", 1, "no connection to node %d", (1,), None)
    other = logging.LogRecord("aiokafka", logging.ERROR, "", 1, "no connection to node %d", (2,), None)
    routine = logging.LogRecord("aiokafka", logging.INFO, "", 1, "joined", (), None)
    assert [again.filter(one) for one in (away, other, away, routine, routine)] == [True, True, False, True, True]
    now = 59.9
    assert not again.filter(away)
    now = 60.0
    assert again.filter(away)


def test_what_came_from_outside_cannot_forge_a_line_or_speak_to_the_terminal() -> None:
    stream = Terminal()
    logs.configure(stream=stream, environ={"NO_COLOR": "1"})
    logs.get_logger("daemon").info("unknown model", model="a\n12:00:00\x1b[2J")
    try:
        raise ValueError("\x1b[2Jgone")
    except ValueError:
        logs.get_logger("daemon").exception("it failed")
    first, *others = stream.getvalue().splitlines()
    assert r"model=a\n12:00:00\x1b[2J" in first
    assert any(r"\x1b[2Jgone" in line for line in others)
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (LogLevel.DEBUG, ["debug", "info", "warning", "error", "chatty"]),
        (LogLevel.INFO, ["info", "warning", "error"]),
        (LogLevel.ERROR, ["error"]),
    ],
)
def test_less_important_lines_are_left_out(level: LogLevel, expected: list[str]) -> None:
    stream = io.StringIO()
    logs.configure(level, stream=stream)
    log = logs.get_logger("daemon")
    log.debug("debug")
    log.info("info")
    log.warning("warning")
    log.error("error")
    logging.getLogger("aiokafka.consumer").info("chatty")
    assert [line["event"] for line in lines(stream)] == expected


@pytest.mark.parametrize("log_format", [LogFormat.TEXT, LogFormat.JSON])
def test_a_secret_is_in_no_line_whatever_way_it_takes(log_format: LogFormat) -> None:
    stream = io.StringIO()
    logs.configure(LogLevel.DEBUG, log_format, stream=stream, secrets=[SECRET])
    log = logs.get_logger("daemon").bind(bound=SECRET)
    event = f"in the event {SECRET}"
    log.info(event, value=SECRET, inside={SECRET: [SECRET, (SECRET,)]}, other=ValueError(SECRET))
    logging.getLogger("library").error("an argument %s, its repr %r", SECRET, {"token": SECRET})
    try:
        raise ValueError(SECRET)
    except ValueError:
        log.exception("failed")
        logging.getLogger("library").exception("failed")
    said = stream.getvalue()
    assert "***" in said
    assert "1234" not in said
    if log_format is LogFormat.JSON:
        lines(stream)


@given(st.text(min_size=8), st.text(), st.text())
def test_no_spelling_of_a_secret_gets_through(secret: str, before: str, after: str) -> None:
    redact = logs.Redactor([secret])
    assert secret not in redact(secret)
    assert json.dumps(secret)[1:-1] not in redact(json.dumps({"a": before + secret + after}))
    assert repr(secret)[1:-1] not in redact(repr(secret))


def test_a_short_secret_does_not_tear_words_apart() -> None:
    redact = logs.Redactor(["pw", ""])
    assert redact("power, pw=pw, 'pw'") == "power, ***=***, '***'"


def test_of_two_secrets_one_inside_the_other_nothing_is_left() -> None:
    assert logs.Redactor(["precious", "precious-and-more"])("a precious-and-more b") == "a *** b"


def test_without_secrets_nothing_is_changed() -> None:
    assert logs.Redactor([])("as it is") == "as it is"


CRASHES = {
    "the process": "raise ValueError(SECRET)",
    "a thread": "threading.Thread(target=fail).start()",
    "a task of asyncio": "asyncio.run(forgotten())",
    "an object that is let go": "Broken()",
}


@pytest.mark.parametrize("what", sorted(CRASHES))
def test_what_nobody_catches_holds_no_secret_either(what: str) -> None:
    """In a process of its own, because it is about how one ends."""
    script = f"""
import asyncio, gc, os, threading
from daemon import logs
SECRET = os.environ["PASSPHRASE"]
logs.configure(secrets=[SECRET])
logs.log_what_nobody_catches()

def fail():
    raise ValueError(SECRET)

class Broken:
    def __del__(self):
        fail()

async def forgotten():
    async def failing():
        fail()
    task = asyncio.create_task(failing())
    await asyncio.wait({{task}})
    del task
    gc.collect()

{CRASHES[what]}
"""
    passphrase = "correct-horse-battery"
    environment = {**os.environ, "PASSPHRASE": passphrase}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment, cwd=ROOT
    )
    assert passphrase not in done.stdout + done.stderr
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert any("ValueError: ***" in one["exception"] for one in told)
    assert done.returncode == (1 if what == "the process" else 0)


def test_what_a_retrain_says_is_stored_without_secrets(tmp_path: Path) -> None:
    logs.configure(stream=io.StringIO(), secrets=["correct-horse-battery"])
    job: Any = SimpleNamespace(version="2")
    said = {"outcome": "failed", "reasons": ["unexpected"], "message": "no correct-horse-battery here", "hint": ""}
    (tmp_path / RESULT_FILE).write_text(json.dumps(said))
    answer = read_answer(tmp_path, job, 1, "")
    assert (answer.text, answer.stored["message"]) == ("no *** here", "no *** here")
    (tmp_path / RESULT_FILE).unlink()
    died = read_answer(tmp_path, job, 1, "password=correct-horse-battery is wrong")
    assert died.text.endswith("password=*** is wrong")
