"""Detectors by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from detectors.base import Detector
from detectors.columns import Stream
from detectors.e_detector import EDetector
from detectors.reference import Reference

DEFAULT: Final = ("e_detector",)
"""What runs unless the user names others."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a detector may be told beside its reference.

    ``events_per_false_alarm`` is the detector's own share of the model's budget, in rows of its stream; ``min_effect``
    and ``min_loss`` are the smallest changes worth raising.
    """

    events_per_false_alarm: float = 1_000_000.0
    min_effect: float = 0.1
    min_loss: float = 0.01


Factory = Callable[[Reference, Options], Detector]


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """A detector as it is offered: its name, the streams that it can watch, and how to make one."""

    name: str
    streams: frozenset[Stream]
    build: Factory


def _e_detector(reference: Reference, options: Options) -> Detector:
    return EDetector(reference, options.events_per_false_alarm, options.min_effect, options.min_loss)


_ALL: Final = (DetectorSpec("e_detector", frozenset(Stream), _e_detector),)

DETECTORS: Final[dict[str, DetectorSpec]] = {spec.name: spec for spec in _ALL}


def build(name: str, reference: Reference, options: Options) -> Detector | None:
    """Make the detector ``name`` for the stream of ``reference``; None where it does not watch such a stream.

    Raises KeyError for a name that is not registered.
    """
    spec = DETECTORS[name]
    return spec.build(reference, options) if reference.stream in spec.streams else None
