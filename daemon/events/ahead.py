"""Decodes batches in threads of their own, while what comes before them is worked on."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from daemon.events.event_rules import EventLimits
from daemon.events.intake import chunks
from daemon.events.rows import Rows
from daemon.transports.base import Batch

if TYPE_CHECKING:
    from daemon.events.arrow_events import ArrowDecoder
    from daemon.monitoring.monitor import Monitor

LARGE_BATCH: Final = 1 << 17
"""Bytes of events that take longer than a thread takes to start."""
LONGEST_PAUSE: Final = 1_024
"""Parts that are decoded the usual way, at most, after others could only be decoded so."""
THREADS: Final = 2
"""One keeps up with about half of what one that joins, counts and judges can take."""

MOST_BEGUN: Final = 4
"""Batches that are foreseen and have not come, at most: more than are read ahead of the pipeline."""

Decoded = tuple[Rows, int]
"""Rows, and the number of their events."""


@dataclass(frozen=True, slots=True, eq=False)
class _Begun:
    batch: Batch
    decoder: "ArrowDecoder"
    parts: list[tuple[int, Batch]]
    futures: "list[Future[Decoded | None]]"

    def cancel(self) -> None:
        for future in self.futures:
            future.cancel()


class Ahead:
    """Decodes large batches ahead where all events are of one model that has settled down.

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
        self._begun: list[_Begun] = []
        self._lock = Lock()  # batches are foreseen in one thread and worked on in another

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

    def begin(self, batch: Batch) -> None:
        """Begin to decode a batch that is to come, as far as that is possible."""
        decoder = self._decoder
        if decoder is None or sum(len(record.value) for record in batch.records) < LARGE_BATCH:
            return
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, "decode")
        parts = list(chunks(batch))
        futures = [self._threads.submit(decoder.decode, part.records) for _, part in parts]
        with self._lock:
            self._begun.append(_Begun(batch, decoder, parts, futures))
            dropped = self._begun[:-MOST_BEGUN]
            del self._begun[:-MOST_BEGUN]
        for one in dropped:
            one.cancel()

    def parts(self, monitor: "Monitor | None", batch: Batch) -> Iterator[tuple[int, Batch, Decoded | None]]:
        """The parts of a batch, each with the place of its first record and what was decoded of it.

        That is None where the part has to be decoded the usual way, and taken in before the next is asked for.
        """
        begun = self._take(batch)
        if begun is None:
            self.begin(batch)
            begun = self._take(batch)
        if begun is None:
            yield from ((first, part, None) for first, part in chunks(batch))
            return
        try:
            usable = self._is_usable(begun.decoder, monitor)
            for (first, part), future in zip(begun.parts, begun.futures, strict=True):
                decoded = future.result() if usable else None
                if usable:
                    self._hear(decoded)
                    usable = decoded is not None  # else what follows may have to be seen in another light
                yield first, part, decoded
        finally:
            begun.cancel()

    def _take(self, batch: Batch) -> _Begun | None:
        with self._lock:
            found = next((one for one in self._begun if one.batch is batch), None)
            if found is not None:
                self._begun.remove(found)
            return found

    def _is_usable(self, decoder: "ArrowDecoder", monitor: "Monitor | None") -> bool:
        if monitor is None or decoder is not self._decoder:
            return False
        if not _is_settled(monitor) or self._made_for[:2] != (monitor.model, monitor.decoder.schema):
            self.forget()
            return False
        return True

    def _hear(self, decoded: Decoded | None) -> None:
        if decoded is not None:
            self._pause = 0
        else:
            self._pause = min(max(2 * self._pause, 8), LONGEST_PAUSE)
            self._paused = self._pause
            self.forget()


def _is_settled(monitor: "Monitor") -> bool:
    return monitor.decoder.settled and monitor.until_learned() is None
