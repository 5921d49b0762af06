"""river's drift detectors on their defaults, a value at a time."""

from collections.abc import Iterator
from typing import Any

from bench.quality.streams import Values

NAMES = ("ADWIN", "DDM", "HDDM_W", "PageHinkley", "KSWIN")
ON_ERRORS_ONLY = ("DDM", "HDDM_W")
FEWER = {"KSWIN": 20, "HDDM_W": 4}
"""Detectors that are slow and get so many times fewer rows, or runs."""


def make(name: str) -> Any:
    """A new one."""
    from river import drift
    from river.drift import binary

    if name == "KSWIN":
        return drift.KSWIN(seed=1)
    return {"ADWIN": drift.ADWIN, "DDM": binary.DDM, "HDDM_W": binary.HDDMW, "PageHinkley": drift.PageHinkley}[name]()


def watches(name: str, values: Values) -> bool:
    """Whether the detector is made for such values."""
    return name not in ON_ERRORS_ONLY or "error" in values


def fires(name: str, values: Values) -> Iterator[int]:
    """Rows at which it fires on a stream of one signal, from the first row on."""
    (column,) = values.values()
    detector = make(name)
    for row, value in enumerate(column.tolist()):
        detector.update(value)
        if detector.drift_detected:
            yield row
