"""When to train, and on which rows: never, by the calendar, always, and as the daemon decides."""

from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from daemon.what_if.learner import Said

WINDOW: Final = 2_000
"""The latest labelled rows that a retrain by the calendar learns from."""

Rows = NDArray[np.int64]


class Policy(Protocol):
    """Is asked after every step of history."""

    name: str
    alarms: int

    async def begin(self, rows: Rows) -> None:
        """Hear of the rows that the first model has learned from."""
        ...

    def served(self, start: int, said: Said) -> None:
        """Hear what was predicted for the rows from ``start`` on."""
        ...

    async def after(self, start: int, stop: int, known: Rows) -> Rows | None:
        """Answer the rows to train on now, None for no training.

        Rows ``start`` to ``stop`` were served last; ``known`` are the labelled rows whose labels have come.
        """
        ...

    async def trained(self, rows: Rows, row: int) -> None:
        """Hear that a model that has learned from these rows serves from ``row`` on."""
        ...


@dataclass(slots=True)
class Every:
    """Trains on the latest labelled rows whenever so many further ones were served; None for never."""

    name: str
    rows: int | None
    alarms: int = 0
    _since: int = field(default=0, init=False)

    async def begin(self, rows: Rows) -> None:
        """See ``Policy``."""

    def served(self, start: int, said: Said) -> None:
        """See ``Policy``."""

    async def after(self, start: int, stop: int, known: Rows) -> Rows | None:
        """See ``Policy``."""
        self._since += stop - start
        if self.rows is None or self._since < self.rows:
            return None
        self._since = 0
        return known[-WINDOW:]

    async def trained(self, rows: Rows, row: int) -> None:
        """See ``Policy``."""
