"""A batch of the log -> the events of each model, and what is put aside."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daemon.events.columns import BadFeatures, Known
from daemon.events.decoding import Decoding
from daemon.events.documents import documents_of
from daemon.events.event import Decoded, EventDecoder, Rejected
from daemon.events.event_fields import EventFields
from daemon.events.event_rules import Problem, RejectReason
from daemon.events.rows import Rows, rows_of
from daemon.transports.base import Batch

AT_ONCE: Final = 1 << 20
"""Bytes of events that are decoded together: what comes of them should stay in a processor's cache."""


def chunks(batch: Batch) -> Iterator[tuple[int, Batch]]:
    """A batch in parts of about ``AT_ONCE`` bytes, each with the place of its first record."""
    start = size = 0
    for place, record in enumerate(batch.records):
        size += len(record.value)
        if size >= AT_ONCE or place == len(batch.records) - 1:
            yield start, replace(batch, records=batch.records[start : place + 1])
            start, size = place + 1, 0


@dataclass(slots=True)
class Intake:
    """Records on their way in."""

    batch: Batch
    decoded: Decoded
    rejected: list[Rejected]
    by_model: dict[str, EventFields]
    arrivals: NDArray[np.float64]
    """When each event arrived: the times of their records."""
    _documents: dict[int, list[bytes]] = field(default_factory=dict)

    @classmethod
    def of(cls, batch: Batch, decoder: EventDecoder, known: Known | None = None) -> "Intake":
        """Decode a batch, that may be of a ``known`` model. Events without a time get that of their record."""
        decoded = decoder.decode([record.value for record in batch.records], known)
        stamps = np.repeat([record.timestamp for record in batch.records], np.diff(decoded.ends, prepend=0))
        fields = EventFields(
            *(
                replace(part, ts=np.where(np.isnan(part.ts), stamps[part.order], part.ts))
                for part in decoded.fields.parts()
            )
        )
        return cls(batch, replace(decoded, fields=fields), list(decoded.rejected), fields.by_model(), stamps)

    def __len__(self) -> int:
        return len(self.decoded.fields)

    def rows(self, model: str, decoding: Decoding) -> Iterator[Rows]:
        """The rows of a model, as much at once as can be decoded alike; each has to be taken before the next."""
        for fields in _pieces(self.by_model[model], decoding):
            try:
                yield rows_of(fields, decoding.decoder)
            except BadFeatures as bad:
                for place, problem in bad.problems.items():
                    self._reject(place, problem, model)
                rest = fields.without(list(bad.problems))
                if len(rest):
                    yield rows_of(rest, decoding.decoder)

    def refuse(self, model: str, most_models: int) -> None:
        """Put aside all events of a model, because there are too many models."""
        detail = f"{most_models} models are watched already: DRIFTD_LIMITS__MODELS allows more"
        for part in self.by_model[model].parts():
            for place in part.order.tolist():
                self._reject(place, Problem(RejectReason.TOO_MANY_MODELS, detail), model)

    def place(self, model: str) -> tuple[int, int]:
        """Value and line of the first event of a model."""
        first = min(int(part.order[0]) for part in self.by_model[model].parts() if len(part))
        return self._line(first)

    def _reject(self, place: int, problem: Problem, model: str) -> None:
        value, line = self._line(place)
        if value not in self._documents:
            self._documents[value] = documents_of(self.batch.records[value].value)
        body = self._documents[value][line]
        self.rejected.append(Rejected(value, line, problem.reason, problem.detail, body, model))

    def _line(self, place: int) -> tuple[int, int]:
        ends, lines = self.decoded.ends, self.decoded.lines
        value = bisect_right(ends, place)
        within = place - (ends[value - 1] if value else 0)
        return value, lines[value][within] if value in lines else within


def _pieces(fields: EventFields, decoding: Decoding) -> Iterator[EventFields]:
    """Cut where a reference is complete: what follows is decoded by it, wherever the log was cut into batches."""
    rest = fields
    while len(rest):
        stop = _reference_complete(rest, decoding)
        if stop is None:
            yield rest
            return
        yield rest.before(stop)
        rest = rest.since(stop)


def _reference_complete(fields: EventFields, decoding: Decoding) -> int | None:
    """The place behind the event with which a reference can be complete at the earliest."""
    missing = decoding.until_learned()
    if missing is None:
        return None
    features, predictions = missing
    stops = []
    if 0 < predictions <= len(fields.predictions):
        stops.append(int(fields.predictions.order[predictions - 1]) + 1)
    if features:
        carrying = np.concatenate((fields.predictions.carrying(), fields.features.order))
        if len(carrying) >= features:
            stops.append(int(np.sort(carrying)[features - 1]) + 1)
    return min(stops, default=None)
