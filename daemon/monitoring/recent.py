"""Which ids were met of late, in bounded memory."""

from collections import deque
from collections.abc import Sequence

import msgspec

Again = Sequence[tuple[str, int, int]]


class RecentIds:
    """Numbers distinct ids in the order in which they come, and remembers the last ``most`` of them.

    Within that horizon an id counts once, however often it is sent. An event without an id is always a new one. The
    horizon is counted in ids and not in batches, so that the split of a log into batches changes nothing.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.next = 0
        self.first = 0
        """The number of the oldest id that is remembered."""
        self.numbers: dict[str | None, int] = {}
        self._ids: list[str | None] = []  # of the numbers from ``first`` on

    def __len__(self) -> int:
        return len(self._ids)

    def take(self, ids: Sequence[str | None]) -> tuple[list[int] | None, Again]:
        """Remember ``ids``, and say which of them are new, by place; None where all are, as is usual.

        Also, which of the new ones were met before, beyond the horizon, with their numbers then and now. What is beyond
        the horizon stays until ``forget``.
        """
        before, known = range(self.next, self.next + len(ids)), len(self.numbers)
        # an id that is there keeps its number, the others get theirs
        deque(map(self.numbers.setdefault, ids, before), maxlen=0)
        unnamed = self.numbers.pop(None, None) is not None
        if len(self.numbers) == known + len(ids) and not unnamed:
            self._ids += ids
            self.next += len(ids)
            return None, ()
        found = [self.numbers.get(one) for one in ids]
        places: list[int] = []
        again: list[tuple[str, int, int]] = []
        for place, (one, number, new) in enumerate(zip(ids, found, before, strict=True)):
            if one is not None and number != new:
                # whoever is beyond the horizon of this very place may be used again
                if self.numbers[one] >= max(0, self.next - self.most):
                    continue
                again.append((one, self.numbers[one], self.next))
            if one is not None:
                self.numbers[one] = self.next
            self._ids.append(one)
            self.next += 1
            places.append(place)
        return None if len(places) == len(ids) else places, again

    def id(self, number: int) -> str | None:
        """The id that has a number, from ``first`` on."""
        return self._ids[number - self.first]

    def forget(self) -> int:
        """Let go of what is beyond the horizon, and say how many ids that were."""
        gone = len(self._ids) - self.most
        if gone <= 0:
            return 0
        numbers = self.numbers
        for number, one in enumerate(self._ids[:gone], self.first):
            if one is not None and numbers.get(one) == number:  # else it was used again
                del numbers[one]
        del self._ids[:gone]
        self.first += gone
        return gone

    def contents(self) -> dict[str | None, int]:
        """Every id that is remembered, with its number."""
        return dict(self.numbers)

    def start(self, number: int) -> None:
        """Give the first id this number."""
        self.next = self.first = number


class SeenIds:
    """RecentIds that can be stored."""

    def __init__(self, most: int) -> None:
        self.ids = RecentIds(most)
        self._journal: list[Sequence[str | None]] = []

    def take(self, ids: Sequence[str | None]) -> list[int] | None:
        """Remember ``ids``, and say which of them are new, by place; None where all are."""
        places, _ = self.ids.take(ids)
        self.ids.forget()
        self._journal.append(ids if places is None else [ids[place] for place in places])
        return places

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
            self.ids.take(ids)
            self.ids.forget()
