"""Decodes the parts of a batch in a thread, each while the one before it is worked on."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from daemon.events.event_rules import EventLimits
from daemon.events.rows import Rows

if TYPE_CHECKING:
    from daemon.events.arrow_events import ArrowDecoder
    from daemon.monitoring.monitor import Monitor

LONGEST_PAUSE: Final = 1_024
"""Parts that are decoded the usual way, at most, after others could only be decoded so."""

Decoded = tuple[Rows, int]


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
        self._thread: ThreadPoolExecutor | None = None

    def learn(self, monitor: "Monitor", rows: Rows, *, numeric_times: bool) -> None:
        """See how the events of a model are written, from rows that were decoded the usual way."""
        if self._paused > 0:
            self._paused -= 1
            return
        schema = monitor.decoder.schema
        if not monitor.decoder.settled or monitor.until_learned() is not None:
            return
        from daemon.events.arrow_events import ArrowDecoder, habits_of

        habits = habits_of(rows, numeric_times=numeric_times)
        if habits is not None and self._made_for != (monitor.model, schema, habits):
            self._decoder = ArrowDecoder(monitor.model, schema, habits, self._limits)
            self._made_for = (monitor.model, dict(schema), habits)

    def forget(self) -> None:
        """Events of other models have come."""
        self._decoder = self._made_for = None

    def begin(self, parts: Sequence[Sequence[bytes]]) -> "list[Future[Decoded | None]]":
        """Start to decode the parts of a batch. Empty where there is nothing to go by."""
        if self._decoder is None:
            return []
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "decode")
        return [self._thread.submit(self._decoder.decode, values) for values in parts]

    def taken(self, decoded: Decoded | None) -> None:
        """Hear whether a part could be decoded."""
        if decoded is not None:
            self._pause = 0
        elif self._decoder is not None:
            self._pause = min(max(2 * self._pause, 8), LONGEST_PAUSE)
            self._paused = self._pause
            self.forget()
