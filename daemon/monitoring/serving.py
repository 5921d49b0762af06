"""Which version of a model is in service, and which rows are its own."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ASKED_EVERY: Final = 100
"""Predictions that name a version, after each of which is asked whether another one than the one in service made most
of them. So many strays do not come together, and a new version needs many more for its reference anyway."""
NEARLY_ALL: Final = 0.9
"""Of these, for one that was in service before."""
MOST_MET: Final = 1_000
"""Versions that are told of when events name them: whoever names a new one with each event gets no more."""


class Serving:
    """The first version that predictions ever name is the one in service.

    Another one takes over once it has made more than half of ``ASKED_EVERY`` predictions in a row that name a version,
    from the prediction after these on: one stray event brings nothing into service. One that was in service before, or
    that was made here, needs nearly all of them, and only after the one in service has been seen to be that: a service
    that has not loaded its new version yet takes nothing back, and one of which both are parts does not go to and fro.
    All of this depends on the predictions and their order alone.
    """

    def __init__(self) -> None:
        self.version: str | None = None
        self.from_row = 0  # unstamped rows before this one were served by an earlier version
        self._known: dict[str | None, None] = {None: None}
        self._met: dict[str, None] = {}
        self._asked = 0  # predictions since it was asked last
        self._others: Counter[str] = Counter()  # those among them that another version made
        self._seen = False  # the one in service has made most of them at least once

    def know(self, versions: Iterable[str | None]) -> None:
        """These were in service before, or were made here."""
        self._known.update(dict.fromkeys(versions))

    def until(self, versions: Sequence[str | None], start: int) -> int | None:
        """The place, after ``start``, up to which these may be counted at once; None for all of them.

        Whether one of them takes over is known at such a place and at no other.
        """
        own = (None, self.version)
        if not self._others and set(versions) <= set(own):
            return None
        rest = range(start, len(versions))
        if not self._others:
            other = next((place for place in rest if versions[place] not in own), None)
            if other is None or other > start:
                return other
        if self.version is None and versions[start] not in self._known:
            return start + 1
        missing = ASKED_EVERY - self._asked
        named = (place for place in rest if versions[place] is not None)
        return next((place + 1 for count, place in enumerate(named, start=1) if count == missing), None)

    def first(self, versions: Sequence[str | None]) -> str | None:
        """The version that is the first one ever named, if it is among these; ``take_over`` brings it into service."""
        if self.version is not None:
            return None
        return next((version for version in versions if version not in self._known), None)

    def meet(self, versions: Sequence[str | None]) -> list[str]:
        """The versions that are named for the first time."""
        if self._known.keys() >= set(versions):
            return []
        new = [one for one in dict.fromkeys(versions) if one not in self._known and one not in self._met]
        told = [one for one in new if one is not None][: max(0, MOST_MET - len(self._met))]
        self._met.update(dict.fromkeys(told))
        return told

    def count(self, versions: Sequence[str | None]) -> str | None:
        """Count predictions up to where ``until`` said, and return the version that takes over with the last of them.

        ``take_over`` brings it into service.
        """
        own = (None, self.version)
        named = len(versions) - versions.count(None)
        if not set(versions) <= set(own):
            self._others.update(one for one in versions if one is not None and one not in own)
        if self._asked + named < ASKED_EVERY:
            self._asked += named
            return None
        self._asked = (self._asked + named) % ASKED_EVERY
        others, self._others = self._others, Counter()
        self._seen = self._seen or 2 * others.total() < ASKED_EVERY
        return next((one for one, count in others.items() if self._takes_over(one, count)), None)

    def _takes_over(self, version: str, count: int) -> bool:
        if version in self._known:
            return (self._seen or self.version is None) and count >= NEARLY_ALL * ASKED_EVERY
        return 2 * count > ASKED_EVERY

    def take_over(self, version: str) -> None:
        """Unstamped rows stay those of whichever version is in service."""
        self.version = version
        self._seen = True
        self.know([version])

    def go_on_with(self, version: str | None, row: int) -> None:
        """From this row on the version is in service, whatever predictions say of others."""
        self.version = version
        self.from_row = row
        self._asked, self._others, self._seen = 0, Counter(), False
        self.know([version])

    def own(self, versions: Sequence[str | None]) -> NDArray[np.int64] | None:
        """The places of rows made by the version in service, or by none named; None for all."""
        if set(versions) <= {None, self.version}:
            return None
        return np.array([place for place, one in enumerate(versions) if one in (None, self.version)], dtype=np.int64)

    def state(self) -> dict[str, Any]:
        """As values that msgpack can hold."""
        return {
            "version": self.version,
            "from_row": self.from_row,
            "known": [version for version in self._known if version is not None],
            "met": list(self._met),
            "asked": self._asked,
            "others": dict(self._others),
            "seen": self._seen,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what was stored."""
        self._known.update(dict.fromkeys(state["known"]))
        self._met = dict.fromkeys(state["met"])
        self._asked, self._others, self._seen = state["asked"], Counter(state["others"]), state["seen"]
        self.version, self.from_row = state["version"], state["from_row"]
