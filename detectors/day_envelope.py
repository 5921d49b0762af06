"""What a series has been at this time of day: the lowest and the highest of the days before."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

DAY_SECONDS: Final = 86_400.0
SLOTS: Final = 96
"""Of a quarter of an hour each."""
NEAR: Final = 4
"""Slots on either side that count as the same time of day: what happens daily is not on the minute."""
DAYS: Final = 2
"""Before so many days have passed nothing is known."""
FORGETTING: Final = 0.05
"""Each day the envelope of a slot gives way by this share towards what that day was."""


class DayEnvelope:
    """Lowest and highest value by time of day, in constant memory.

    The latest 23 hours are not part of it: a day that is unlike those before is so from its beginning to its end.
    """

    def __init__(self) -> None:
        self._low, self._high = np.full(SLOTS, np.inf), np.full(SLOTS, -np.inf)
        self._new_low, self._new_high = np.full(SLOTS, np.inf), np.full(SLOTS, -np.inf)
        self._new_since = np.full(SLOTS, -1, dtype=np.int64)
        self._first = -1

    def beyond(self, values: NDArray[np.float64], ts: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far outside each of ``values`` (in order, at ``ts`` epoch seconds) is; 0 inside. They are remembered."""
        beyond = np.zeros(len(values))
        slots = np.floor(ts * (SLOTS / DAY_SECONDS)).astype(np.int64)
        starts = np.flatnonzero(np.append(True, slots[1:] != slots[:-1])) if len(slots) else np.zeros(0, np.int64)
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(slots)], strict=True):
            slot, part = int(slots[start]), values[start:stop]
            self._first = slot if self._first < 0 else min(self._first, slot)
            self._settle(slot - SLOTS + NEAR)
            if slot >= self._first + DAYS * SLOTS:
                near = np.arange(slot - NEAR, slot + NEAR + 1) % SLOTS
                low, high = self._low[near].min(), self._high[near].max()
                if low <= high:
                    beyond[start:stop] = np.maximum(np.maximum(low - part, part - high), 0.0)
            at = slot % SLOTS
            if self._new_since[at] != slot:
                self._settle(slot, only=at)
                self._new_low[at], self._new_high[at], self._new_since[at] = np.inf, -np.inf, slot
            self._new_low[at] = min(self._new_low[at], part.min())
            self._new_high[at] = max(self._new_high[at], part.max())
        return beyond

    def _settle(self, latest: int, only: int | None = None) -> None:
        """Take what is of slot ``latest`` or before into the envelope."""
        due = (self._new_since >= 0) & (self._new_since <= latest)
        if only is not None:
            due &= np.arange(SLOTS) == only
        if not due.any():
            return
        for envelope, new, wider in ((self._low, self._new_low, np.less), (self._high, self._new_high, np.greater)):
            old, latest_day = envelope[due], new[due]
            given_way = np.where(np.isfinite(old), old, latest_day)
            given_way = given_way + FORGETTING * (latest_day - given_way)
            envelope[due] = np.where(wider(latest_day, old), latest_day, given_way)
        self._new_since[due] = -1

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for msgpack."""
        numbers = np.stack((self._low, self._high, self._new_low, self._new_high))
        return {"numbers": numbers.tobytes(), "since": self._new_since.tobytes(), "first": self._first}

    def restore(self, data: dict[str, Any]) -> None:
        """Go on from what ``to_dict`` gave."""
        numbers = np.frombuffer(data["numbers"], dtype=np.float64).reshape(4, SLOTS)
        self._low, self._high, self._new_low, self._new_high = (one.copy() for one in numbers)
        self._new_since = np.frombuffer(data["since"], dtype=np.int64).copy()
        self._first = int(data["first"])
