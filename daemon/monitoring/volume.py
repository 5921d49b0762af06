"""Traffic and labels that stop: the one thing that no event can tell."""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.monitoring.monitor import Monitor
from daemon.settings.tunables import VolumeSettings
from daemon.stores.tables import states
from daemon.stores.upsert import upsert
from detectors.base import Kind, Severity, Verdict
from detectors.cause import CAUSE, stopped_feed

TRAFFIC, LABELS = "traffic", "labels"
PART = "volume"
DETECTOR = "volume"


@dataclass(slots=True)
class Silence:
    """How one kind of event of one model has come so far. Times are epoch seconds of arrival."""

    last: float
    longest: float = 0.0
    """The longest silence that ended by itself and was no alarm."""
    raised: bool = False

    def heard(self, at: float) -> None:
        """Something came."""
        if not self.raised:
            self.longest = max(self.longest, at - self.last)
        self.last = max(self.last, at)

    def bound(self, seconds: float, factor: float) -> float:
        """Seconds of silence from which on it is an alarm."""
        return max(seconds, factor * self.longest)


class Volume:
    """Watches the arrivals of every model. ``started`` is when the daemon began: before, it could hear nothing."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._silences: dict[tuple[str, str], Silence] = {}

    def heard(self, monitors: Iterable[Monitor]) -> None:
        """Take note of what has just come."""
        for monitor in monitors:
            self._heard(monitor.model, TRAFFIC, monitor.last_arrival)
            if monitor.last_label_arrival is not None:
                self._heard(monitor.model, LABELS, monitor.last_label_arrival)

    def _heard(self, model: str, signal: str, at: float) -> None:
        silence = self._silences.get((model, signal))
        if silence is None:
            self._silences[model, signal] = Silence(at)
        else:
            silence.heard(at)

    def verdicts(self, monitor: Monitor, settings: VolumeSettings, now: float, heard_until: float) -> list[Verdict]:
        """What has stopped, and what has come back, since the last call.

        ``heard_until`` is the time up to which all that arrived is known: before ``now`` while a backlog is read.
        """
        traffic = self._silences.get((monitor.model, TRAFFIC))
        labels = self._silences.get((monitor.model, LABELS))
        found = []
        stopped = False
        if traffic is not None:
            bound = traffic.bound(settings.traffic_seconds, settings.traffic_factor)
            silent = self._silent(traffic, heard_until)
            stopped = silent > bound
            found += self._turn(monitor, TRAFFIC, traffic, stopped=stopped, bound=bound, now=now, seconds=silent)
        # labels are missed only while predictions come
        if labels is not None and not stopped:
            bound = labels.bound(settings.labels_seconds, settings.labels_factor)
            silent = self._silent(labels, heard_until)
            found += self._turn(monitor, LABELS, labels, stopped=silent > bound, bound=bound, now=now, seconds=silent)
        return found

    def _silent(self, silence: Silence, heard_until: float) -> float:
        return max(0.0, heard_until - max(silence.last, self._started))

    def _turn(
        self,
        monitor: Monitor,
        signal: str,
        silence: Silence,
        *,
        stopped: bool,
        bound: float,
        now: float,
        seconds: float,
    ) -> list[Verdict]:
        if stopped == silence.raised:
            return []
        silence.raised = stopped
        row = max(monitor.rows - 1, 0)
        evidence = {
            "silent_seconds": round(seconds, 1),
            "bound_seconds": round(bound, 1),
            "effect_name": "silence",
        }
        cause = {CAUSE: stopped_feed("events" if signal == TRAFFIC else "labels").to_evidence()} if stopped else {}
        return [
            Verdict(
                Kind.VOLUME,
                signal,
                DETECTOR,
                Severity.CRITICAL,
                row,
                now,
                row,
                silence.last,
                evidence | cause,
                recovered=not stopped,
            )
        ]

    async def save(self, connection: AsyncConnection, models: Iterable[str]) -> None:
        """Store what is known of the silences of some models: with what is raised of them, and now and then."""
        known: dict[str, list[list[object]]] = {model: [] for model in models}
        for (model, signal), one in self._silences.items():
            if model in known:
                known[model].append([signal, one.last, one.longest, one.raised])
        rows = [
            {"model": model, "part": PART, "data": msgspec.msgpack.encode(found)}
            for model, found in sorted(known.items())
            if found
        ]
        await upsert(connection, states, rows)

    async def load(self, connection: AsyncConnection, models: Iterable[str] | None = None) -> None:
        """Go on from what was stored of some models, or of all."""
        query = select(states.c.model, states.c.data).where(states.c.part == PART)
        if models is not None:
            query = query.where(states.c.model.in_(list(models)))
        for row in await connection.execute(query):
            for signal, last, longest, raised in msgspec.msgpack.decode(row.data):
                self._silences[row.model, signal] = Silence(last, longest, raised)
