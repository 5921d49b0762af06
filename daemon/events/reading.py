"""Batches of the log -> rows of models, and dead letters."""

import gc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from daemon.events.ahead import Ahead
from daemon.events.dead_letters import dead_letter
from daemon.events.event import EventDecoder, EventLimits, Rejected
from daemon.events.intake import Intake, chunks
from daemon.events.rows import Rows
from daemon.transports.base import Batch

log = structlog.get_logger(__name__)


class Take(Protocol):
    """Takes in rows of a model. ``arrivals`` are the times (epoch seconds) of all events of the batch, by place."""

    def __call__(self, model: str, rows: Rows, arrivals: NDArray[np.float64], /) -> None:
        """``rows.order`` are places in ``arrivals``."""
        ...


@dataclass(slots=True)
class Taken:
    """How many events a batch held, and what was put aside; ``Rejected.value`` is the place of the record."""

    events: int
    rejected: list[Rejected]


class BatchReader:
    """Decodes batches one after the other, ahead of their turn where that is possible.

    ``decodings`` are the models that are known, ``make`` makes what a new one begins with, and ``know`` is told of it
    once there is a row of it.
    """

    def __init__(
        self,
        limits: EventLimits,
        most_models: int,
        decodings: Callable[[], Mapping[str, Any]],
        make: Callable[[str], Any],
        know: Callable[[Any], None],
        take: Take,
    ) -> None:
        self._most_models = most_models
        self._decodings = decodings
        self._make = make
        self._know = know
        self._take = take
        self._decoder = EventDecoder(limits)
        self._ahead = Ahead(limits)
        self._alone = ""  # the model of which all the last events were
        self._dead: list[dict[str, Any]] = []
        self._rejected: Counter[str] = Counter()

    def empty(self) -> tuple[list[dict[str, Any]], dict[str, int]]:
        """What was put aside since the last call: rows of the table, and how many by model ("": of no known one)."""
        found = self._dead, dict(self._rejected)
        self._dead, self._rejected = [], Counter()
        return found

    def foresee(self, batch: Batch) -> None:
        """Hear of a batch that is to come, and begin to decode it while the ones before it are worked on."""
        self._ahead.begin(batch)

    def read(self, batch: Batch) -> Taken:
        """Take in a batch."""
        taken = Taken(0, [])
        with _no_collection():
            decoded = self._ahead.decoded(self._decodings().get(self._alone), batch)
            if decoded is not None:
                rows, taken.events = decoded
                self._take(self._alone, rows, _arrivals(batch, taken.events))
            else:
                for first, part in chunks(batch):
                    taken.events += self._read_part(part, first, taken.rejected)
        if taken.rejected:
            one = taken.rejected[0]
            log.warning(
                "events put aside",
                count=len(taken.rejected),
                reason=one.reason.value,
                detail=one.detail,
                offset=batch.records[one.value].offset,
            )
        return taken

    def _read_part(self, batch: Batch, first: int, rejected: list[Rejected]) -> int:
        known = self._decodings()
        alone = known.get(self._alone)
        intake = Intake.of(batch, self._decoder, None if alone is None else alone.decoder.known(alone.model))
        met: dict[str, tuple[int, int]] = dict.fromkeys(known, (-1, -1))
        if len(intake.by_model) != 1:
            self._alone = ""
            self._ahead.forget()
        for model in intake.by_model:
            if model not in known and len(known) >= self._most_models:
                intake.refuse(model, self._most_models)
                continue
            decoding = known.get(model) or self._make(model)
            for rows in intake.rows(model, decoding):
                self._know(decoding)  # not before there is a row of it
                self._take(model, rows, intake.arrivals)
                met.setdefault(model, intake.place(model))
                if len(intake.by_model) == 1:
                    self._alone = model
                    self._ahead.learn(decoding, rows, numeric_times=intake.decoded.numeric_times)
        for one in intake.rejected:
            is_known = one.model is not None and one.model in met and met[one.model] < (one.value, one.line)
            self._put_aside(one, batch, one.model if is_known and one.model else "")
            rejected.append(replace(one, value=first + one.value))
        return len(intake)

    def _put_aside(self, one: Rejected, batch: Batch, model: str) -> None:
        record = batch.records[one.value]
        self._dead.append(dead_letter(one, batch.target, record.offset, record.timestamp))
        self._rejected[model] += 1


def _arrivals(batch: Batch, events: int) -> NDArray[np.float64]:
    """When each of the events of a batch arrived."""
    stamps = np.array([record.timestamp for record in batch.records], dtype=np.float64)
    arrivals = stamps.repeat([record.events for record in batch.records])
    return arrivals if len(arrivals) == events else np.full(events, stamps.max())


@contextmanager
def _no_collection() -> Iterator[None]:
    """A batch makes hundreds of thousands of objects, and no cycles: a look for garbage among them finds nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
