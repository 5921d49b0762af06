"""Log lines: text that people read on a terminal, one JSON object a line elsewhere, and never a secret in either.

Libraries that log by the standard library's ``logging`` come out the same way.
"""

import json
import logging
import math
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, TextIO
from urllib.parse import quote

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from daemon.settings import LogFormat, LogLevel

HIDDEN: Final = "***"
SHORT: Final = 8
"""A secret of fewer characters is hidden only where it stands as a word of its own."""
CHATTY: Final = (
    "aiohttp.access",
    "aiokafka",
    "aiosqlite",
    "alembic",
    "apscheduler",
    "asyncio",
    "faust",
    "mode",
    "slack_sdk",
    "urllib3",
)
"""Libraries whose ordinary lines say nothing to an operator; they are shown at the level debug."""
AGAIN_SECONDS: Final = 60.0
"""For so long what a library has warned of is not said again in the same words: some say it ten times a second."""
MOST_REMEMBERED: Final = 1_000
EVENT_WIDTH: Final = 40
TRACEBACKS: Final = ("exception", "stack")


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger. ``name`` is that of the part that speaks, such as ``daemon.lifecycle.jobs``.

    Say what happened in a few fixed words, and give what belongs to it as named values:
    ``logger.info("retrain started", model="loans", job="01J")``.
    """
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


class Redactor:
    """Replaces every secret in a text by ``***``, however the text has spelt it."""

    def __init__(self, secrets: Iterable[str]) -> None:
        spellings = {spelling for secret in secrets if secret for spelling in _spellings(secret)}
        # the longest first, so that a secret that holds another one goes as a whole
        patterns = [_pattern(spelling) for spelling in sorted(spellings, key=len, reverse=True)]
        self._any = re.compile("|".join(patterns)) if patterns else None

    def __call__(self, text: str) -> str:
        """``text`` without the secrets."""
        return self._any.sub(HIDDEN, text) if self._any is not None else text


def _spellings(secret: str) -> set[str]:
    """As it is, as JSON and Python write it, and as it stands in an address."""
    escaped = secret.encode("unicode_escape").decode("ascii")
    return {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        escaped,
        quote(secret, safe=""),
        quote(secret),
    }


def _pattern(spelling: str) -> str:
    pattern = re.escape(spelling)
    return pattern if len(spelling) >= SHORT else rf"(?<!\w){pattern}(?!\w)"


_present = Redactor(())


def without_secrets(text: str) -> str:
    """What came from outside, such as the words of a program that somebody else wrote, fit for being stored and sent.

    The secrets are those of the last ``configure``.
    """
    return _present(text)


def configure(
    level: LogLevel = LogLevel.INFO,
    log_format: LogFormat = LogFormat.AUTO,
    secrets: Iterable[str] = (),
    *,
    stream: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Send every log line of the process to ``stream`` (standard error), in the form that suits it.

    May be called again, for instance once the settings are known: the last call holds.
    """
    global _present  # noqa: PLW0603 (there is one log)
    _present = Redactor(secrets)
    stream = stream if stream is not None else sys.stderr
    on_terminal = stream.isatty()
    as_text = log_format is LogFormat.TEXT or (log_format is LogFormat.AUTO and on_terminal)
    colours = on_terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if as_text else "iso", utc=not as_text),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler(stream)
    handler.addFilter(NotAgain())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _without(_present),
                *([_one_line, _text(colours=colours)] if as_text else [_json]),
            ],
        )
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.DEBUG if level is LogLevel.DEBUG else logging.WARNING)
    logging.captureWarnings(capture=True)


class NotAgain(logging.Filter):
    """Lets a warning in plain words through once in ``AGAIN_SECONDS``; what is logged by values passes always."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is to be said now."""
        if record.levelno < logging.WARNING or not isinstance(record.msg, str):
            return True
        key, now = (record.name, record.getMessage()), self._clock()
        if now - self._said.get(key, -AGAIN_SECONDS) < AGAIN_SECONDS:
            return False
        if len(self._said) >= MOST_REMEMBERED:
            self._said.clear()
        self._said[key] = now
        return True


def log_what_nobody_catches() -> None:
    """Have errors that end a thread or the process logged, rather than printed with all that they hold.

    Those of asyncio's tasks are logged already: its own handler does.
    """
    logger = get_logger("daemon")

    def of_process(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error.with_traceback(None), None)
        else:
            logger.critical("unexpected, the process ends", exc_info=(kind, error, trace))

    def of_thread(caught: threading.ExceptHookArgs) -> None:
        if caught.exc_value is not None and not issubclass(caught.exc_type, SystemExit):
            name = None if caught.thread is None else caught.thread.name
            told = (caught.exc_type, caught.exc_value, caught.exc_traceback)
            logger.error("unexpected, a thread ends", thread=name, exc_info=told)

    def of_nobody(caught: "sys.UnraisableHookArgs") -> None:
        if caught.exc_value is not None:
            told = (caught.exc_type, caught.exc_value, caught.exc_traceback)
            logger.error("unexpected, and nobody to tell", where=repr(caught.object), exc_info=told)

    sys.excepthook, threading.excepthook, sys.unraisablehook = of_process, of_thread, of_nobody


def _text(*, colours: bool) -> Processor:
    return structlog.dev.ConsoleRenderer(colors=colours, pad_event_to=EVENT_WIDTH, sort_keys=False)


def _json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    ordered = {key: event.pop(key) for key in ("timestamp", "level", "logger", "event") if key in event}
    return json.dumps({**ordered, **event}, allow_nan=False)


def _one_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """What came from outside cannot end a line, forge one, or speak to the terminal."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            lines = value.split("\n") if key in TRACEBACKS else [value]
            event[key] = "\n".join(map(_printable, lines))
    return event


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def _without(redact: Redactor) -> Processor:
    """Comes last, when messages are put together and tracebacks are text, so that it sees all there is to see."""

    def clean(value: Any) -> Any:
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if isinstance(value, Mapping):
            return {redact(str(key)): clean(one) for key, one in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [clean(one) for one in value]
        return redact(str(value))

    def process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {key: clean(value) for key, value in event.items()}

    return process
