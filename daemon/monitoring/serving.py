"""Which version of a model is in service, and which rows are its own."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ASKED_EVERY: Final = 100
"""Predictions that name a version, after each of which is asked whether another one than the one in service made most
of them. So many strays do not come together, and a new version needs many more for its reference anyway."""
MOST_MET: Final = 1_000
"""Versions that are told of when events name them: whoever names a new one with each event gets no more."""


class Serving:
    """The first version that predictions ever name is the one in service.

    Another one takes over once it has made more than half of ``ASKED_EVERY`` predictions in a row that name a version,
    from the prediction after these on: one stray event brings nothing into service. One that was in service, or that
    was made here, never takes over by itself: ``go_on_with`` says when it does. All of this depends on the predictions
    and their order alone.
    """

    def __init__(self) -> None:
        self.version: str | None = None
        self.from_row = 0  # unstamped rows before this one were served by an earlier version
        self._known: dict[str | None, None] = {None: None}
        self._met: dict[str, None] = {}
        self._asked = 0  # predictions since it was asked last
        self._others: Counter[str] = Counter()  # those among them that name a version that may take over

    def know(self, versions: Iterable[str | None]) -> None:
        """These do not take over by themselves."""
        self._known.update(dict.fromkeys(versions))
        for version in self._others.keys() & self._known.keys():
            del self._others[version]

    def until(self, versions: Sequence[str | None], start: int) -> int | None:
        """The place, after ``start``, up to which these may be counted at once; None for all of them.

        Whether one of them takes over is known at such a place and at no other.
        """
        if not self._others and self._known.keys() >= set(versions):
            return None
        rest = range(start, len(versions))
        other = start
        if not self._others:
            found = next((place for place in rest if versions[place] not in self._known), None)
            if found is None:
                return None
            other = found
        if other > start:
            return other
        if self.version is None:
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
        named = len(versions) - versions.count(None)
        if self._others or not self._known.keys() >= set(versions):
            self._others.update(one for one in versions if one is not None and one not in self._known)
        if self._asked + named < ASKED_EVERY:
            self._asked += named
            return None
        self._asked = (self._asked + named) % ASKED_EVERY
        others, self._others = self._others, Counter()
        return next((one for one, count in others.items() if 2 * count > ASKED_EVERY), None)

    def take_over(self, version: str) -> None:
        """Unstamped rows stay those of whichever version is in service."""
        self.version = version
        self.know([version])

    def go_on_with(self, version: str | None, row: int) -> None:
        """From this row on the version is in service, whatever predictions say of others."""
        self.version = version
        self.from_row = row
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
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what was stored."""
        self._known.update(dict.fromkeys(state["known"]))
        self._met = dict.fromkeys(state["met"])
        self._asked, self._others = state["asked"], Counter(state["others"])
        self.version, self.from_row = state["version"], state["from_row"]
