"""The monitors that this process has, and which of them have something that the store does not."""

from collections.abc import Callable, Iterable

from daemon.checkpoint import MonitorSnapshot, Stored, snapshot_of
from daemon.events.rows import Rows
from daemon.monitoring.monitor import Monitor


class Models:
    """Models by name. What comes of rows that they take is in the next ``snapshots``."""

    def __init__(self, make: Callable[[str], Monitor]) -> None:
        self.make = make
        self.monitors: dict[str, Monitor] = {}
        self._in_store: dict[str, Stored] = {}
        self._dirty: set[str] = set()

    def put(self, loaded: Iterable[tuple[Monitor, Stored]]) -> None:
        """Go on with monitors as they were loaded from the store."""
        for monitor, stored in loaded:
            self.monitors[monitor.model] = monitor
            self._in_store[monitor.model] = stored
            self._dirty.discard(monitor.model)

    def drop(self, models: Iterable[str]) -> None:
        """Know nothing of these any more."""
        for model in models:
            self.monitors.pop(model, None)
            self._in_store.pop(model, None)
            self._dirty.discard(model)

    def know(self, monitor: Monitor) -> None:
        """Keep a monitor that was made."""
        self.monitors.setdefault(monitor.model, monitor)
        self._in_store.setdefault(monitor.model, Stored())

    def get(self, model: str) -> Monitor:
        """The monitor of a model, a new one if need be."""
        if model not in self.monitors:
            self.know(self.make(model))
        return self.monitors[model]

    def take(self, model: str, rows: Rows, arrival: float) -> None:
        """Take in rows of a model; ``arrival`` is when the last of them came, in epoch seconds."""
        self.get(model).take(rows, arrival)
        self._dirty.add(model)

    def change(self, model: str, change: Callable[[Monitor], None]) -> None:
        """Change a monitor otherwise."""
        change(self.get(model))
        self._dirty.add(model)

    @property
    def changed(self) -> bool:
        """Whether there is something to store."""
        return bool(self._dirty)

    def snapshots(self, now: float) -> list[MonitorSnapshot]:
        """What has come of each model since the last time."""
        dirty, self._dirty = sorted(self._dirty), set()
        return [snapshot_of(self.monitors[model], self._in_store[model], now) for model in dirty]
