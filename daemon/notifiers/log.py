"""Alerts in the log: what is used where no service is set."""

from typing import Final

from daemon.logs import get_logger
from daemon.notifiers.base import Delivery, Outcome, Sent
from daemon.notifiers.message import Tone, plain

_LOUD: Final = frozenset({Tone.CRITICAL, Tone.WARNING})

log = get_logger("daemon.alerts")


class LogNotifier:
    """Writes each message as one record of the log: its headline, and the rest as a block of lines below it."""

    name = "log"
    threads = False
    pause = 0.0

    async def send(self, delivery: Delivery) -> Outcome:
        """Write it. The log takes everything."""
        write = log.warning if delivery.message.tone in _LOUD else log.info
        headline, *block = plain(delivery.message, maybe_sent=delivery.maybe_sent).splitlines()
        # "stack" is what the log calls the lines that stand below an event; elsewhere it lets no line end
        write(headline, **({"stack": "\n".join(block)} if block else {}))
        return Sent()

    async def close(self) -> None:
        """Nothing is held."""
