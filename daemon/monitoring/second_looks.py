"""The causes of alarms are looked at again when more rows have come: the first ones tell little.

In ten rows a factor of 12 may pass for another unit, and what else moved has not moved for certain yet. What is named
then decides whether a model is trained, so that it must not stand for as long as the alarm is open.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from daemon.lifecycle.broken import rise
from detectors.base import Kind, Verdict
from detectors.cause import CAUSE, Cause, Named, Raised

AGES: Final = (20, 40, 80, 160, 320, 640)
"""So many rows after an alarm its cause is looked at again."""


@dataclass(frozen=True, slots=True)
class Renamed:
    """The alarm of this kind and signal that was raised at ``raised_row`` has another cause, as row ``row`` shows.

    ``cause`` is what its evidence says from now on; ``instead_of`` in it names the one before.
    """

    kind: Kind
    signal: str
    raised_row: int
    change_row: int
    row: int
    cause: dict[str, Any]

    def renamed(self, verdict: Verdict) -> Verdict:
        """An alarm with its other cause; as it is where it is none of this one."""
        if (self.kind, self.signal, self.raised_row) != (verdict.kind, verdict.signal, verdict.row):
            return verdict
        return replace(verdict, evidence=verdict.evidence | {CAUSE: self.cause})


def with_cause(verdict: Verdict, renamed: Iterable[Renamed]) -> Verdict:
    """An alarm with the last of its causes, of which those in ``renamed`` are known by now."""
    for one in renamed:
        verdict = one.renamed(verdict)
    return verdict


@dataclass(slots=True)
class _Open:
    """An open alarm, the row of its next look, and what it is taken for: name, breakage and signal of its cause."""

    raised_row: int
    change_row: int
    rise: float | None
    taken_for: tuple[str | None, ...]
    next_row: int | None
    looked_row: int = -1

    @property
    def is_broken(self) -> bool:
        """Whether it is put down to broken data."""
        return self.taken_for[0] == Cause.DATA_BROKEN

    def next_after(self, row: int) -> int | None:
        """The row of the first look behind ``row``, if there is one."""
        return next((due for due in (self.raised_row + age for age in AGES) if due > row), None)


Look = Callable[[Raised, int, int], Named]
"""Names the cause of what was raised, of a change at a row, by what had come before another row."""


class SecondLooks:
    """A model's open alarms. What comes of them depends on the rows, and not on when ``take`` is called."""

    def __init__(self) -> None:
        self._open: dict[tuple[Kind, str], _Open] = {}

    def take(self, verdicts: Iterable[Verdict], rows: int, look: Look) -> list[Renamed]:
        """What was found in the first ``rows`` rows, with its cause; answers the alarms that have another one now."""
        renamed: list[Renamed] = []
        for verdict in sorted(verdicts, key=lambda one: one.row):
            renamed += self._look(verdict.row, look)
            key = verdict.kind, verdict.signal
            if verdict.recovered:
                self._open.pop(key, None)
                self._settle(verdict.signal)
            elif key not in self._open and CAUSE in verdict.evidence:
                taken_for = _about(verdict.evidence[CAUSE])
                one = _Open(verdict.row, verdict.change_row, rise(verdict.evidence), taken_for, None)
                one.next_row = one.next_after(verdict.row)
                self._open[key] = one
        return renamed + self._look(rows, look)

    def _look(self, before: int, look: Look) -> list[Renamed]:
        """Take the looks at rows before this one, in their order."""
        renamed = []
        while due := self._due(before):
            row, kind, signal = min(due)
            one = self._open[kind, signal]
            one.next_row, one.looked_row = one.next_after(row), row
            named = look(Raised(kind, signal, one.rise), one.change_row, row)
            cause = named.to_evidence()
            if _is_found(named) and _about(cause) != one.taken_for:
                cause |= {"row": row, "instead_of": one.taken_for[0]}
                was_broken, one.taken_for = one.is_broken, _about(cause)
                if was_broken and not one.is_broken:
                    self._look_at_broken(row)
                renamed.append(Renamed(kind, signal, one.raised_row, one.change_row, row, cause))
        return renamed

    def _settle(self, signal: str) -> None:
        """A signal is whole again: what was put down to its broken rows stays so, as they become few beside others."""
        if any(one.is_broken for (_, mine), one in self._open.items() if mine == signal):
            return  # another alarm says that it is not
        for one in self._open.values():
            if one.is_broken and one.taken_for[-1] == signal:
                one.next_row = None

    def _look_at_broken(self, row: int) -> None:
        """What seemed broken is not: all that was put down to broken data is to be looked at as well."""
        for one in self._open.values():
            if one.is_broken and one.next_row is not None and one.looked_row < row:
                one.next_row = row

    def _due(self, before: int) -> list[tuple[int, Kind, str]]:
        return [
            (one.next_row, kind, signal)
            for (kind, signal), one in self._open.items()
            if one.next_row is not None and one.next_row < before
        ]

    def clear(self) -> None:
        """Another reference: what was raised was raised of the one before."""
        self._open = {}

    def state(self) -> list[Any]:
        """Values that msgpack can hold."""
        return [
            [kind, signal, one.raised_row, one.change_row, one.rise, one.taken_for, one.next_row]
            for (kind, signal), one in self._open.items()
        ]

    @classmethod
    def restored(cls, state: Iterable[Any]) -> Self:
        """The reverse of ``state``."""
        looks = cls()
        for kind, signal, raised_row, change_row, rose, taken_for, next_row in state:
            looks._open[Kind(kind), signal] = _Open(raised_row, change_row, rose, tuple(taken_for), next_row)
        return looks


def _is_found(named: Named) -> bool:
    """Whether rows tell a cause: that something is broken, nobody knows how, is no better than what was told before."""
    return named.cause is not Cause.UNKNOWN and (named.cause is not Cause.DATA_BROKEN or named.breakage is not None)


def _about(cause: dict[str, Any]) -> tuple[str | None, ...]:
    return cause.get("name"), cause.get("breakage"), cause.get("signal")
