"""How much a law has moved, in figures that people know."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.base import Kind
from detectors.bins import FIRST_BIN, NEW, NumberBins
from detectors.reference import Reference

INDEX: Final = "psi"
PSI_GROUPS: Final = 10
"""Bins of a number are put together into this many for the stability index, as is the custom."""
CERTAIN: Final = 2.0
"""Standard errors beyond which an index is taken to be more than chance."""
SMOOTHING: Final = 0.5
"""Added to every count, so that an empty bin is unlikely and not impossible."""


@dataclass(frozen=True, slots=True)
class Effect:
    """A change from ``reference`` to ``current`` of what ``what`` names, and its size ``value`` with standard error.

    ``name`` says what the size is: ``psi``, ``error_rate`` (a difference) or ``relative_error`` (a share of the
    reference's mean); ``chance`` is its standard error had nothing changed.
    """

    name: str
    value: float
    error: float
    what: str
    reference: float
    current: float
    chance: float = 0.0


class Effects:
    """Sizes of changes of one stream against its reference."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self._groups = np.array([groups_of(reference, s) for s in range(len(reference.signals))], dtype=np.int64)
        self._grouped_reference = self._grouped(reference.counts)

    def of(self, s: int, kind: Kind, counts: NDArray[np.int64], before: NDArray[np.int64] | None = None) -> Effect:
        """What ``kind`` of change the counts (B bins) of signal s show, against the reference's or those ``before``."""
        reference = self._reference.counts[s] if before is None else before
        if kind is Kind.CONCEPT:
            return self._of_error(s, counts, reference)
        now = counts
        labels = self._reference.bins[s].labels()
        if kind is Kind.ANOMALY:
            highest = len(labels) - 1
            groups_before = np.array([reference[FIRST_BIN:highest].sum(), reference[NEW] + reference[highest]])
            groups_now = np.array([now[FIRST_BIN:highest].sum(), now[NEW] + now[highest]])
            b = NEW if now[NEW] else highest
        elif kind is Kind.QUALITY:
            groups_before = np.append(reference[:FIRST_BIN], reference[FIRST_BIN:].sum())
            groups_now = np.append(now[:FIRST_BIN], now[FIRST_BIN:].sum())
            growth = _shares(now)[:FIRST_BIN] - _shares(reference)[:FIRST_BIN]
            b = int(np.argmax(growth))
        else:
            groups_before = self._one_grouped(s, reference)[FIRST_BIN:]
            groups_now = self._one_grouped(s, now)[FIRST_BIN:]
            moved = np.abs(_shares(now) - _shares(reference))[: len(labels)]
            moved[:FIRST_BIN] = -1.0
            b = int(np.argmax(moved))
        temper = float(self._reference.temper[s])
        value, error = stability_index(groups_now, groups_before, temper)
        return Effect(
            INDEX,
            float(value),
            float(error),
            labels[b],
            float(_shares(reference)[b]),
            float(_shares(now)[b]),
            float(chance(groups_now, groups_before, temper)),
        )

    def ranking(self, counts: NDArray[np.int64], least: float = 0.0) -> tuple[tuple[str, float], ...]:
        """Signals by their stability index for ``counts`` (S signals, B bins), as shares of 1, most moved first.

        With ``least`` only those whose index is at least that, and more than chance makes it.
        """
        values, errors = self.sizes(counts)
        if least:
            values = np.where((values >= least) & (values > CERTAIN * errors), values, 0.0)
        total = float(values.sum()) or 1.0
        order = np.argsort(-values, kind="stable")[:10]
        return tuple((self._reference.signals[s], round(float(values[s]) / total, 4)) for s in order if values[s] > 0)

    def certain(self, counts: NDArray[np.int64], doubt: float, most: int = 10) -> list[tuple[int, float]]:
        """The signals whose stability index is ``doubt`` times what chance makes it, each with its index.

        Those that moved most for certain come first.
        """
        values, errors = self.sizes(counts)
        moved = values > doubt * chance(self._grouped(counts), self._grouped_reference, self._reference.temper)
        low = np.where(moved, values - CERTAIN * errors, -np.inf)
        order = np.argsort(-low, kind="stable")[:most]
        return [(int(s), round(float(values[s]), 4)) for s in order if moved[s]]

    def sizes(self, counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The stability index of each signal for ``counts`` (S signals, B bins), and its standard error."""
        return stability_index(self._grouped(counts), self._grouped_reference, self._reference.temper)

    def means(
        self, s: int, counts: NDArray[np.int64], before: NDArray[np.int64] | None = None
    ) -> tuple[float, float] | None:
        """Mean of the numbers in the reference (or ``before``) and in ``counts``, read off the bins.

        None where there are no numbers.
        """
        bins = self._reference.bins[s]
        if not isinstance(bins, NumberBins) or not len(bins.values):
            return None
        # what lies out of range is taken as the upper end of it: the best that counts can tell
        values = np.zeros(self._reference.width)
        values[FIRST_BIN : bins.width] = bins.values
        values[NEW] = bins.edges[-1]
        reference = (self._reference.counts[s] if before is None else before)[NEW:]
        now = counts[NEW:]
        if not reference.sum() or not now.sum():
            return None
        return float(reference @ values[NEW:] / reference.sum()), float(now @ values[NEW:] / now.sum())

    def _of_error(self, s: int, counts: NDArray[np.int64], reference: NDArray[np.int64]) -> Effect:
        bins = self._reference.bins[s]
        before, now = self.means(s, counts, reference) or (0.0, 0.0)
        temper = float(self._reference.temper[s])
        rows = max(float(counts.sum()) * temper, 1.0)
        reference_rows = max(float(reference.sum()) * temper, 1.0)
        if bins.width == FIRST_BIN + 2:
            spread = np.sqrt(max(now * (1 - now), 1 / rows))
            usual = np.sqrt(max((now * (1 - now) + before * (1 - before)) / 2, 1 / rows))
            name, size = "error_rate", 1.0
        else:
            spread, name, size = max(abs(now), abs(before)), "relative_error", abs(before) or 1.0
            usual = spread
        error, by_chance = (float(one * np.sqrt(1 / rows + 1 / reference_rows)) / size for one in (spread, usual))
        return Effect(name, (now - before) / size, error, "mean error", before, now, by_chance)

    def _one_grouped(self, s: int, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        grouped = np.zeros(self._grouped_reference.shape[1])
        np.add.at(grouped, self._groups[s], counts)
        return grouped

    def _grouped(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        grouped = np.zeros((len(counts), int(self._groups.max()) + 1))
        np.add.at(grouped, (np.arange(len(counts))[:, None], self._groups), counts)
        return grouped


def stability_index(
    now: NDArray[np.float64], before: NDArray[np.float64], temper: float | NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Population stability index of group counts (last axis) and its standard error, chance taken off.

    The index of two samples of one law is not zero: with k groups it is about (k - 1)(1/n + 1/N), because it is a sum
    of squared errors (Yurdakul and Naranjo 2020, "Statistical properties of the population stability index"). Samples
    of correlated rows count for as many independent ones as their evidence is tempered to (``temper``).
    """
    # groups that are empty on both sides neither move nor add chance
    used = (now + before) > 0
    q = np.where(used, now + SMOOTHING, 0.0)
    p = np.where(used, before + SMOOTHING, 0.0)
    q /= np.maximum(q.sum(axis=-1, keepdims=True), SMOOTHING)
    p /= np.maximum(p.sum(axis=-1, keepdims=True), SMOOTHING)
    raw = ((q - p) * np.log(np.where(used, q, 1.0) / np.where(used, p, 1.0))).sum(axis=-1)
    degrees, noise = _noise(now, before, temper)
    nothing = now.sum(axis=-1) == 0
    value = np.where(nothing, 0.0, np.maximum(raw - degrees * noise, 0.0))
    return value, np.sqrt(4 * value * noise + 2 * degrees * noise**2)


def chance(
    now: NDArray[np.float64], before: NDArray[np.float64], temper: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    """The standard error of the same index, had nothing changed."""
    degrees, noise = _noise(now, before, temper)
    return np.asarray(np.sqrt(2 * degrees) * noise)


def _noise(
    now: NDArray[np.float64], before: NDArray[np.float64], temper: float | NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    noise = 1 / np.maximum(now.sum(axis=-1) * temper, 1.0) + 1 / np.maximum(before.sum(axis=-1) * temper, 1.0)
    return np.maximum(((now + before) > 0).sum(axis=-1) - 1, 0), noise


def groups_of(reference: Reference, s: int) -> NDArray[np.int64]:
    """The group of each of the B bins of signal s: single values are their own, ranges of numbers share."""
    bins = reference.bins[s]
    groups = np.zeros(reference.width, dtype=np.int64)
    groups[: bins.width] = np.arange(bins.width)
    if isinstance(bins, NumberBins) and not bins.exact and bins.width > FIRST_BIN + PSI_GROUPS:
        own = reference.counts[s, FIRST_BIN : bins.width]
        middle = (np.cumsum(own) - own / 2) / max(own.sum(), 1)
        _, groups[FIRST_BIN : bins.width] = np.unique((middle * PSI_GROUPS).astype(np.int64), return_inverse=True)
        groups[FIRST_BIN : bins.width] += FIRST_BIN
    return groups


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(counts / max(int(counts.sum()), 1), dtype=np.float64)
