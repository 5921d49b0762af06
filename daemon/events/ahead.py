"""Decodes the parts of a batch in threads of their own, while the ones before them are worked on."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

from daemon.events.event_rules import EventLimits
from daemon.events.rows import Rows
from daemon.transports.base import Record

if TYPE_CHECKING:
    from daemon.events.arrow_events import ArrowDecoder
    from daemon.monitoring.monitor import Monitor

LONGEST_PAUSE: Final = 1_024
"""Parts that are decoded the usual way, at most, after others could only be decoded so."""
THREADS: Final = 2
"""One keeps up with about half of what one that joins, counts and judges can take."""

Decoded = tuple[Rows, int]
"""Rows, and the number of their events."""


class Ahead:
    """Decodes ahead where all events are of one model that has settled down.

    It is an offer: where it answers None, the usual way has to do. A model whose events are often out of the ordinary
    is left to that for a while.
    """

    def __init__(self, limits: EventLimits) -> None:
        self._limits = limits
        self._decoder: ArrowDecoder | None = None
        self._made_for: Any = None
        self._pause = 0
        self._paused = 0
        self._threads: ThreadPoolExecutor | None = None

    def learn(self, monitor: "Monitor", rows: Rows, *, numeric_times: bool) -> None:
        """See how the events of a model are written, from rows that were decoded the usual way."""
        if self._paused > 0:
            self._paused -= 1
            return
        if not _is_settled(monitor):
            return
        from daemon.events.arrow_events import ArrowDecoder, habits_of

        habits = habits_of(rows, numeric_times=numeric_times)
        schema = dict(monitor.decoder.schema)
        if habits is not None and self._made_for != (monitor.model, schema, habits):
            self._decoder = ArrowDecoder(monitor.model, schema, habits, self._limits)
            self._made_for = (monitor.model, schema, habits)

    def forget(self) -> None:
        """Events of other models have come, or such as are out of the ordinary."""
        self._decoder = self._made_for = None

    def each(self, monitor: "Monitor | None", parts: Sequence[Sequence[Record]]) -> Iterator[Decoded | None]:
        """What was decoded of each part, in order; None where it has to be decoded the usual way, before the next."""
        waiting = self._begin(monitor, parts)
        taken = 0
        try:
            for future in waiting:
                decoded = future.result()
                self._hear(decoded)
                taken += 1
                yield decoded
                if decoded is None:
                    break  # what follows may have to be seen in another light
        finally:
            for future in waiting:
                future.cancel()
        yield from repeat(None, len(parts) - taken)

    def _begin(
        self, monitor: "Monitor | None", parts: Sequence[Sequence[Record]]
    ) -> "list[Future[Decoded | None]]":
        if self._decoder is None or monitor is None or len(parts) < 2:  # noqa: PLR2004 (nothing to go on with meanwhile)
            return []
        if not _is_settled(monitor) or self._made_for[:2] != (monitor.model, monitor.decoder.schema):
            self.forget()
            return []
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, "decode")
        return [self._threads.submit(self._decoder.decode, records) for records in parts]

    def _hear(self, decoded: Decoded | None) -> None:
        if decoded is not None:
            self._pause = 0
        else:
            self._pause = min(max(2 * self._pause, 8), LONGEST_PAUSE)
            self._paused = self._pause
            self.forget()


def _is_settled(monitor: "Monitor") -> bool:
    return monitor.decoder.settled and monitor.until_learned() is None
