"""Which version of a model is in service, and which rows are its own."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

MOST_VERSIONS: Final = 1_000
"""Versions that are told apart from news: whoever names a new one with each event gets no more."""


class Serving:
    """A version that predictions name for the first time is taken as the one that went into service."""

    def __init__(self) -> None:
        self.version: str | None = None
        self.from_row = 0  # unstamped rows before this one were served by an earlier version
        self._known: dict[str | None, None] = {None: None}

    def know(self, versions: Iterable[str | None]) -> None:
        """To meet these is no news."""
        self._known.update(dict.fromkeys(versions))

    def known(self) -> list[str]:
        """Every version that was met."""
        return [version for version in self._known if version is not None]

    def unknown(self, versions: Sequence[str | None]) -> int | None:
        """The first place at which a version is named for the first time, if there is one."""
        if set(versions) <= self._known.keys() or len(self._known) > MOST_VERSIONS:
            return None
        return next(place for place, version in enumerate(versions) if version not in self._known)

    def meet(self, versions: Sequence[str | None]) -> str | None:
        """Take a version that ``versions`` names for the first time into service, and return it."""
        place = self.unknown(versions)
        if place is None:
            return None
        self.version = versions[place]
        self.know([self.version])
        return self.version

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
