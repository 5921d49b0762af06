"""What a stream has been like, and what is to be said of a change in it."""

from dataclasses import replace
from functools import cached_property
from typing import Any, Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from detectors.alternatives import build_alternatives, retilt
from detectors.base import Kind, Severity, Verdict
from detectors.change_point import ChangePoint, change_point
from detectors.effect import INDEX, Effect, Effects
from detectors.history import History
from detectors.reference import Reference

CRITICAL: Final = {Kind.DRIFT: 2.5, Kind.QUALITY: 10.0, Kind.CONCEPT: 5.0, Kind.ANOMALY: 20.0}
"""An effect of this many times what is worth raising is critical."""


class Judge:
    """Finds where a change began and how large it is, and puts it into words.

    Detectors that decide when to raise something share it: ``m`` below is the index of one of ``bets.monitors``, that
    is, of one kind of change of one signal.
    """

    def __init__(
        self, reference: Reference, detector: str, min_effect: float, min_loss: float, doubt: float = 0.0
    ) -> None:
        self.reference = reference
        self.detector = detector
        self.min_effect = min_effect
        self.min_loss = min_loss
        self.doubt = doubt
        self.bets = build_alternatives(reference, min_effect=min_effect, min_loss=min_loss)
        self.history = History(len(reference.signals), reference.width)
        self._tilts = [tilt.copy() for tilt in self.bets.tilts]
        self._settled: dict[int, tuple[NDArray[np.int64], int]] = {}
        self._effects = Effects(reference)

    @cached_property
    def fingerprint(self) -> int:
        """Of what evidence rests on: reference and bets. Thresholds are left out: evidence stays what it is."""
        reference = self.reference
        bins = [one.to_dict() for one in reference.bins]
        text = repr((reference.signals, bins, self.min_effect, self.min_loss, len(self.bets.weights)))
        return crc32(reference.counts.tobytes(), crc32(text.encode()))

    def columns(self, m: int) -> slice:
        """Which of all bets belong to monitor m."""
        monitor = self.bets.monitors[m]
        return slice(monitor.start, monitor.stop)

    def tilts(self, m: int) -> NDArray[np.float64]:
        """What a row in each bin adds to the logarithm of each bet of monitor m: B bins, K bets."""
        return self._tilts[self.bets.monitors[m].s][:, self._part(m)]

    def signal_tilts(self, s: int) -> NDArray[np.float64]:
        """The same for all bets of signal s."""
        return self._tilts[s]

    def settle(self, m: int, counts: NDArray[np.int64], prior_rows: int = 0) -> None:
        """From now on monitor m's bets are against the law of ``counts``: it is known and no news.

        So it is with a change that is too small to be raised, which in a lucky stretch would look large enough sooner
        or later, and with one that has been raised and may be followed by another. Effects are still measured against
        the reference. Where the counts were picked for being odd, ``prior_rows`` of the reference's law temper them.
        """
        s = self.bets.monitors[m].s
        self._settled[m] = (counts, prior_rows)
        part = self._part(m)
        self._tilts[s][:, part] = retilt(self.reference, s, self.bets.chosen[s][part], counts, prior_rows)

    def is_settled(self, m: int) -> bool:
        """Whether monitor m's bets are against another law than the reference's."""
        return m in self._settled

    def unsettle(self, m: int) -> None:
        """Monitor m's bets are against the reference's law again."""
        if self._settled.pop(m, None) is not None:
            s, part = self.bets.monitors[m].s, self._part(m)
            self._tilts[s][:, part] = self.bets.tilts[s][:, part]

    def to_dict(self) -> dict[str, Any]:
        """What was settled, and the past, as values that msgpack can hold."""
        settled = [[m, counts.tolist(), prior_rows] for m, (counts, prior_rows) in self._settled.items()]
        return {"settled": settled, "history": self.history.to_dict()}

    def restore(self, data: dict[str, Any]) -> None:
        """Go on from what ``to_dict`` gave."""
        for m in list(self._settled):
            self.unsettle(m)
        for m, counts, prior_rows in data["settled"]:
            self.settle(m, np.array(counts, dtype=np.int64), prior_rows)
        self.history.restore(data["history"])

    def _reference_tilts(self, m: int) -> NDArray[np.float64]:
        return self.bets.tilts[self.bets.monitors[m].s][:, self._part(m)]

    def _part(self, m: int) -> slice:
        monitor = self.bets.monitors[m]
        offset = self.bets.offsets[monitor.s]
        return slice(monitor.start - offset, monitor.stop - offset)

    def tilt_back(self, m: int, bet: int) -> NDArray[np.float64]:
        """What a row in each bin adds to the bet that the reference's law is back, after ``bet`` of monitor m."""
        # the square root of p/q, because q is only the nearest of a few laws: fair for any law at least halfway to it.
        # The margin was taken off the bet on the change, and is to be taken off the bet on its end as well
        tilt = self._reference_tilts(m)[:, bet]
        return np.asarray(-tilt / 2 - self.bets.margins[self.columns(m)][bet])

    def least(self, m: int) -> float:
        """The smallest effect that is raised."""
        return self.min_loss if self.bets.monitors[m].kind is Kind.CONCEPT else self.min_effect

    def change(self, m: int, *, not_before: int) -> tuple[ChangePoint, Effect]:
        """Where the change that monitor m sees began, ``not_before`` rows into the stream or later, and its size."""
        columns = self.columns(m)
        prior = np.log(self.bets.weights[columns])
        s = self.bets.monitors[m].s
        sizes = self.bets.margins[columns]
        change, effect = self._sized(
            m, change_point(self.history, s, self.tilts(m), prior, sizes, not_before=not_before)
        )
        if effect.name == INDEX and m not in self._settled:
            # the symmetric divergence is about twice the likelihood gained a row: in few rows the better estimate,
            # because it looks along one direction, and the index into every group
            index = 2 * change.steepness / float(self.reference.temper[s])
            effect = replace(effect, value=max(effect.value, index))
        return change, effect

    def change_from_reference(self, m: int, *, not_before: int) -> ChangePoint:
        """The same against the reference's law, whatever monitor m's bets are against."""
        columns = self.columns(m)
        prior, sizes = np.log(self.bets.weights[columns]), self.bets.margins[columns]
        s = self.bets.monitors[m].s
        return change_point(self.history, s, self._reference_tilts(m), prior, sizes, not_before=not_before)

    def news(self, m: int, change: ChangePoint) -> Effect:
        """The size of ``change`` beside the law that monitor m's bets are against."""
        monitor = self.bets.monitors[m]
        before = self._settled[m][0] if m in self._settled else None
        return self._effects.of(monitor.s, monitor.kind, change.counts[monitor.s], before)

    def change_back(self, m: int, bet: int, raised: int) -> tuple[ChangePoint, Effect]:
        """Where, from ``raised`` rows on, the reference's law seems to be back, and what effect is left since then."""
        tilt = self.tilt_back(m, bet)[:, None]
        s, one = self.bets.monitors[m].s, np.zeros(1)
        return self._sized(m, change_point(self.history, s, tilt, one, one, not_before=raised))

    def ranking_since(self, row: int) -> tuple[tuple[str, float], ...]:
        """Signals that moved by ``min_effect`` or more from ``row`` on, for certain, most moved first."""
        return self._effects.ranking(self.history.since(self.history.start_of(row)), self.min_effect)

    def verdict(
        self,
        m: int,
        change: ChangePoint,
        effect: Effect,
        *,
        row: int,
        ts: float,
        evidence: dict[str, Any],
        recovered: bool = False,
    ) -> Verdict:
        """Put the change into words; ``evidence`` goes before the figures of its size."""
        monitor = self.bets.monitors[m]
        counts = change.counts[monitor.s]
        figures: dict[str, Any] = {
            **evidence,
            "effect": round(effect.value, 4),
            "effect_name": effect.name,
            "bin": effect.what,
            "reference": round(effect.reference, 6),
            "current": round(effect.current, 6),
            "rows_since_change": int(counts.sum()),
        }
        means = self._effects.means(monitor.s, counts)
        if means is not None and monitor.kind is Kind.DRIFT:
            figures["reference_mean"], figures["current_mean"] = (float(f"{mean:.6g}") for mean in means)
        loud = not recovered and effect.value >= CRITICAL[monitor.kind] * self.least(m)
        return Verdict(
            kind=monitor.kind,
            signal=self.reference.signals[monitor.s],
            detector=self.detector,
            severity=Severity.CRITICAL if loud else Severity.WARNING,
            row=row,
            ts=ts,
            change_row=change.row,
            change_ts=change.ts,
            evidence=figures,
            ranking=() if recovered else self._ranking(change.counts),
            recovered=recovered,
        )

    def _ranking(self, counts: NDArray[np.int64]) -> tuple[tuple[str, float], ...]:
        if not self.doubt:
            return self._effects.ranking(counts)
        return tuple((self.reference.signals[s], value) for s, value in self._effects.certain(counts, self.doubt))

    def _sized(self, m: int, change: ChangePoint) -> tuple[ChangePoint, Effect]:
        monitor = self.bets.monitors[m]
        return change, self._effects.of(monitor.s, monitor.kind, change.counts[monitor.s])
