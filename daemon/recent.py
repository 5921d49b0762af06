"""Which ids were met of late, in bounded memory."""

from collections.abc import Sequence

import msgspec


class RecentIds:
    """Numbers distinct ids in the order in which they come, and remembers the last ``most`` of them.

    Within that horizon an id counts once, however often it is sent. An event without an id is always a new one. The
    horizon is counted in ids and not in batches, so that the split of a log into batches changes nothing.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.next = 0
        self._first = 0
        self._ids: list[str | None] = []  # of the numbers from ``_first`` on
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def fresh(self, ids: Sequence[str | None]) -> list[int] | None:
        """Which of ``ids`` are new, by place; None where all are, as is usual."""
        unique = set(ids)
        if None in unique:
            unique.discard(None)
            distinct = len(unique) == len(ids) - sum(one is None for one in ids)
        else:
            distinct = len(unique) == len(ids)
        if distinct and self._numbers.keys().isdisjoint(unique):
            return None
        places: list[int] = []
        met: dict[str, int] = {}
        for place, one in enumerate(ids):
            if one is not None:
                number = self.next + len(places)
                # whoever is beyond the horizon of this very place may be used again
                if met.get(one, self._numbers.get(one, -1)) >= max(0, number - self.most):
                    continue
                met[one] = number
            places.append(place)
        return None if len(places) == len(ids) else places

    def add(self, ids: Sequence[str | None]) -> None:
        """Remember new ids. What is beyond the horizon stays until ``forget``."""
        self._numbers.update(zip(ids, range(self.next, self.next + len(ids)), strict=True))  # type: ignore[arg-type]
        self._numbers.pop(None, None)  # type: ignore[call-overload]
        self._ids += ids
        self.next += len(ids)

    def number(self, one: str) -> int:
        """The number of an id, -1 where it is not remembered."""
        return self._numbers.get(one, -1)

    def id(self, number: int) -> str | None:
        """The id that has a number, from ``first`` on."""
        return self._ids[number - self._first]

    def reused(self, ids: Sequence[str | None]) -> list[int]:
        """The places of new ids that were met before, beyond the horizon."""
        if len(set(ids)) == len(ids) and self._numbers.keys().isdisjoint(ids):
            return []
        places = []
        met: set[str] = set()
        for place, one in enumerate(ids):
            if one is not None and (one in met or one in self._numbers):
                places.append(place)
            if one is not None:
                met.add(one)
        return places

    def forget(self) -> int:
        """Let go of what is beyond the horizon, and say how many ids that were."""
        gone = len(self._ids) - self.most
        if gone <= 0:
            return 0
        numbers = self._numbers
        for number, one in enumerate(self._ids[:gone], self._first):
            if one is not None and numbers.get(one) == number:  # else it was used again
                del numbers[one]
        del self._ids[:gone]
        self._first += gone
        return gone

    @property
    def first(self) -> int:
        """The number of the oldest id that is remembered."""
        return self._first

    def contents(self) -> dict[str, int]:
        """Every id that is remembered, with its number."""
        return dict(self._numbers)

    def start(self, number: int) -> None:
        """Give the first id this number."""
        self.next = self._first = number


class SeenIds:
    """RecentIds that can be stored."""

    def __init__(self, most: int) -> None:
        self.ids = RecentIds(most)
        self._journal: list[Sequence[str | None]] = []

    def take(self, ids: Sequence[str | None]) -> list[int] | None:
        """Remember ``ids``, and say which of them are new, by place; None where all are."""
        places = self.ids.fresh(ids)
        self._add(ids if places is None else [ids[place] for place in places])
        return places

    def _add(self, ids: Sequence[str | None]) -> None:
        self._journal.append(ids)
        self.ids.add(ids)
        self.ids.forget()

    def take_journal(self) -> bytes | None:
        """What has changed since the last call, to be stored; None where nothing has."""
        journal, self._journal = self._journal, []
        return msgspec.msgpack.encode((self.ids.next, journal)) if journal else None

    def apply_journal(self, packed: bytes) -> None:
        """Repeat what an earlier ``take_journal`` gave, oldest first."""
        after, journal = msgspec.msgpack.decode(packed)
        if not len(self.ids):
            self.ids.start(after - sum(map(len, journal)))
        for ids in journal:
            self._add(ids)
        self._journal = []
