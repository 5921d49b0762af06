"""Decodes batches in threads of their own, while what comes before them is worked on."""

from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from daemon.events.decoding import Decoding
from daemon.events.event_rules import EventLimits
from daemon.events.rows import Rows
from daemon.transports.base import Batch

if TYPE_CHECKING:
    from daemon.events.arrow_events import ArrowDecoder

WORTH_THREADS_BYTES: Final = 1 << 18
"""A smaller batch is decoded sooner the usual way than handed over."""
LONGEST_PAUSE: Final = 1_024
"""Parts of batches that are decoded the usual way, at most, after a batch could only be decoded so."""
THREADS: Final = 2
"""One alone decodes fewer events a second than the pipeline takes in."""
MOST_BEGUN: Final = 4
"""Batches that are foreseen and have not come, at most: more than are read ahead of the pipeline."""

Decoded = tuple[Rows, int]
"""Rows, and the number of their events."""


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
        self._begun: list[tuple[Batch, ArrowDecoder, Future[Decoded | None]]] = []
        self._lock = Lock()  # batches are foreseen in one thread and worked on in another

    def learn(self, decoding: Decoding, rows: Rows, *, numeric_times: bool) -> None:
        """See how the events of a model are written, from rows that were decoded the usual way."""
        if self._paused > 0:
            self._paused -= 1
            return
        if not _is_settled(decoding):
            return
        from daemon.events.arrow_events import ArrowDecoder, habits_of

        habits = habits_of(rows, numeric_times=numeric_times)
        schema = dict(decoding.decoder.schema)
        if habits is not None and self._made_for != (decoding.model, schema, habits):
            self._decoder = ArrowDecoder(decoding.model, schema, habits, self._limits)
            self._made_for = (decoding.model, schema, habits)

    def forget(self) -> None:
        """Events of other models have come, or such as are out of the ordinary."""
        self._decoder = self._made_for = None

    def begin(self, batch: Batch) -> None:
        """Begin to decode a batch that is to come, if it is large and there is something to go by."""
        decoder = self._decoder
        if decoder is None or sum(len(record.value) for record in batch.records) < WORTH_THREADS_BYTES:
            return
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, "decode")
        begun = (batch, decoder, self._threads.submit(decoder.decode, batch.records))
        with self._lock:
            self._begun = [*self._begun, begun][-MOST_BEGUN:]

    def decoded(self, decoding: Decoding | None, batch: Batch) -> Decoded | None:
        """What was decoded of a batch whose turn it is; None where that has to be done the usual way."""
        with self._lock:
            found = next((one for one in self._begun if one[0] is batch), None)
            self._begun = [one for one in self._begun if one is not found]
        if found is None:
            return None
        _, decoder, future = found
        if not self._is_usable(decoder, decoding):
            future.cancel()
            return None
        decoded = future.result()
        self._hear(decoded)
        return decoded

    def _is_usable(self, decoder: "ArrowDecoder", decoding: Decoding | None) -> bool:
        if decoding is None or decoder is not self._decoder:
            return False
        if not _is_settled(decoding) or self._made_for[:2] != (decoding.model, decoding.decoder.schema):
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


def _is_settled(decoding: Decoding) -> bool:
    return decoding.decoder.settled and decoding.until_learned() is None
