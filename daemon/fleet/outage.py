"""A store that is away for a while: said once as that begins, and once as it ends."""

import structlog

from daemon.stores.engine import first_line

log = structlog.get_logger(__name__)


class Outage:
    """What one part of a worker notices of it. ``part`` is what it cannot do meanwhile."""

    def __init__(self, part: str) -> None:
        self._part = part
        self._away = False

    def met(self, error: Exception) -> None:
        """The store could not be asked."""
        if not self._away:
            log.warning("waits for the store", part=self._part, error=first_line(error))
        self._away = True

    def over(self) -> None:
        """The store has answered."""
        if self._away:
            log.info("the store answers again", part=self._part)
        self._away = False
