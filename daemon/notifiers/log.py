"""Alerts in the log: what is used where no service is set."""

from typing import Final

from daemon.logs import get_logger
from daemon.notifiers.base import Delivery, Outcome, Sent
from daemon.notifiers.message import Tone, plain

_LOUD: Final = frozenset({Tone.CRITICAL, Tone.WARNING})

log = get_logger("daemon.alerts")


class LogNotifier:
    """Writes each message to the log: its headline, then the rest as a block of lines below it.

    A record a line, because the log escapes what would end one.
    """

    name = "log"
    threads = False
    pause = 0.0

    async def send(self, delivery: Delivery) -> Outcome:
        """Write it. The log takes everything."""
        write = log.warning if delivery.message.tone in _LOUD else log.info
        for line in plain(delivery.message, maybe_sent=delivery.maybe_sent).splitlines():
            write(line)
        return Sent()

    async def close(self) -> None:
        """Nothing is held."""
