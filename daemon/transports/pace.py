"""How fast the backlog goes down, and so when a sender that was refused should try again."""

from __future__ import annotations

from collections import deque

WINDOW_SECONDS = 10.0
SHORTEST_SECONDS = 1.0
LONGEST_SECONDS = 60.0


class Pace:
    """The pace of processing over the last ten seconds, in bytes a second."""

    def __init__(self) -> None:
        self._steps: deque[tuple[float, int]] = deque()
        self._total = 0

    def consumed(self, size: int, *, now: float) -> None:
        """Note that so many bytes were processed. `now` is in seconds of any steady clock."""
        self._total += size
        self._steps.append((now, self._total))
        # the step before the window stays: the pace is measured from it
        while len(self._steps) > 2 and self._steps[1][0] <= now - WINDOW_SECONDS:  # noqa: PLR2004 - a line needs two points
            self._steps.popleft()

    def retry_after(self, unread_size: int, *, now: float) -> float:
        """Return in how many seconds a tenth of this backlog is gone, at least 1 and at most 60."""
        if not self._steps or now <= self._steps[0][0]:
            return SHORTEST_SECONDS
        since, total = self._steps[0]
        pace = (self._total - total) / (now - since)
        if pace * LONGEST_SECONDS <= unread_size * 0.1:
            return LONGEST_SECONDS
        return max(SHORTEST_SECONDS, unread_size * 0.1 / pace)
