"""What is ready for the owner of a model: parcels of all partitions, in the order in which their events arrived."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.events.rows import Rows
from daemon.fleet import parcels
from daemon.fleet.merging import merge
from daemon.fleet.parcels import Piece
from daemon.stores import tables
from daemon.transports.base import TopicPartition

AT_ONCE: Final = 50_000
"""Events that are taken at one time, about."""
MOST_PARCELS: Final = 200
"""Parcels that are looked at, at one time."""

_parcel = tables.parcels.c


@dataclass(slots=True)
class _Open:
    """A parcel that was fetched, and what is not taken of it. None is left of one whose end waits to be stored."""

    target: TopicPartition
    taken: int
    stored: int  # of these, as the store has it
    pieces: list[Piece]


@dataclass(frozen=True, slots=True)
class Ready:
    """Events that are next, and what is left of their parcels once they are taken."""

    pieces: Sequence[tuple[TopicPartition, Piece]]
    left: Sequence[tuple[_Open, int, list[Piece]]]

    def __len__(self) -> int:
        return sum(len(piece) for _, piece in self.pieces)

    @property
    def last(self) -> float:
        """When the last of them arrived."""
        return max(piece.last for _, piece in self.pieces)

    def batches(self) -> Sequence[Rows]:
        """The events in order."""
        if len({target for target, _ in self.pieces}) == 1:
            return [piece.rows for _, piece in self.pieces]
        return [merge(self.pieces)]

    def done(self) -> None:
        """They are taken."""
        for parcel, taken, pieces in self.left:
            parcel.taken, parcel.pieces = taken, pieces


@dataclass(slots=True)
class Inbox:
    """The parcels of one model from when they are fetched to when the store has struck them off."""

    model: str
    _open: dict[int, _Open] = field(default_factory=dict)
    # struck off since the last but one look began: who reads while that happens may still see them
    _struck_off: tuple[set[int], set[int]] = field(default_factory=lambda: (set(), set()))

    async def ready(self, connection: AsyncConnection, until: float) -> Ready | None:
        """Some of the events that arrived before ``until``; None where there are none."""
        self._struck_off = (self._struck_off[1], set())
        before = await self._fetch(connection, until)
        pieces: list[tuple[TopicPartition, Piece]] = []
        left = []
        for _, parcel in sorted(self._open.items()):
            taken, rest = parcel.taken, []
            for piece in parcel.pieces:
                now, later = piece.split(before)
                if now is not None:
                    pieces.append((parcel.target, now))
                    taken += len(now)
                if later is not None:
                    rest.append(later)
            left.append((parcel, taken, rest))
        return Ready(pieces, left) if pieces else None

    async def _fetch(self, connection: AsyncConnection, until: float) -> float:
        """Fetch the parcels that are next. Returns the arrival before which no event is in any other."""
        columns = (_parcel.id, _parcel.first, _parcel.events, _parcel.taken, _parcel.topic, _parcel.partition)
        limit = MOST_PARCELS + len(self._open)
        query = select(*columns).where(_parcel.model == self.model, _parcel.first < until)
        rows = (await connection.execute(query.order_by(_parcel.first, _parcel.id).limit(limit))).mappings().all()
        before: float = rows[-1]["first"] if len(rows) == limit else until
        held = [piece for parcel in self._open.values() for piece in parcel.pieces]
        events, earliest = sum(map(len, held)), min((piece.first for piece in held), default=float("inf"))
        wanted: list[RowMapping] = []
        for row in rows:
            if row["id"] in self._open or any(row["id"] in some for some in self._struck_off):
                continue
            # what arrived first has to be among what is fetched, with all that arrived in the same moment
            if events >= AT_ONCE and row["first"] > earliest:
                before = min(before, row["first"])
                break
            wanted.append(row)
            earliest = min(earliest, row["first"])
            events += row["events"] - row["taken"]
        found = select(_parcel.id, _parcel.data).where(_parcel.id.in_([row["id"] for row in wanted]))
        data = {row.id: row.data for row in await connection.execute(found)} if wanted else {}
        unpacked = await asyncio.to_thread(lambda: [_unpacked(data[row["id"]], row["taken"]) for row in wanted])
        for row, pieces in zip(wanted, unpacked, strict=True):
            target = TopicPartition(row["topic"], row["partition"])
            self._open[row["id"]] = _Open(target, row["taken"], row["taken"], pieces)
        return before

    def to_strike_off(self) -> dict[int, int | None]:
        """What was taken since the last call: of each parcel how many of its events by now, None for all of them."""
        found: dict[int, int | None] = {}
        for number, parcel in self._open.items():
            if parcel.taken != parcel.stored:
                found[number] = parcel.taken if parcel.pieces else None
                parcel.stored = parcel.taken
        return found

    def forget(self, struck_off: dict[int, int | None]) -> None:
        """The store has struck these off."""
        for number, events in struck_off.items():
            if events is None:
                self._open.pop(number, None)
                self._struck_off[1].add(number)


def _unpacked(data: bytes, taken: int) -> list[Piece]:
    """The pieces of a parcel without the events that were taken."""
    pieces = []
    for piece in parcels.unpack(data):
        rest = piece.without_first(min(taken, len(piece)))
        taken -= min(taken, len(piece))
        if rest is not None:
            pieces.append(rest)
    return pieces
