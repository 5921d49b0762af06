"""Keeps aiokafka's log lines few: while a broker is away it would write tens of them a second, all the same."""

from __future__ import annotations

import logging

SECONDS_APART = 10.0  # of two lines that say the same
LOGGERS = (
    "aiokafka.client",
    "aiokafka.cluster",
    "aiokafka.conn",
    "aiokafka.consumer.fetcher",
    "aiokafka.consumer.group_coordinator",
    "aiokafka.producer.sender",
)


class Sparing(logging.Filter):
    """Lets a line through, and the same one again only some seconds later. What differs is only what it is about."""

    def __init__(self) -> None:
        super().__init__()
        self._written: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        said = (record.name, str(record.msg))
        if record.created - self._written.get(said, 0.0) < SECONDS_APART:
            return False
        self._written[said] = record.created
        return True


_sparing = Sparing()


def quieten() -> None:
    """Have aiokafka write sparingly, and never on DEBUG what it sends: a password would be among it."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_sparing)
    logging.getLogger("aiokafka.conn").setLevel(logging.INFO)
