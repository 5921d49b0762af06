"""Detectors by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

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
    """A detector as it is offered: its name, the streams that it watches, and how to make one."""

    name: str
    streams: frozenset[Stream]
    build: Factory


class UnknownDetector(KeyError):
    """No detector has that name."""


def build(name: str, reference: Reference, options: Options) -> Detector | None:
    """Make the detector ``name`` for the stream of ``reference``; None where it does not watch such a stream.

    Raises UnknownDetector for a name that is not registered.
    """
    spec = DETECTORS.get(name)
    if spec is None:
        raise UnknownDetector(f"no detector is called {name!r}; there are {', '.join(DETECTORS)}")
    return spec.build(reference, options) if reference.stream in spec.streams else None


def _e_detector(reference: Reference, options: Options) -> Detector:
    return EDetector(reference, options.events_per_false_alarm, options.min_effect, options.min_loss)


def _river(name: str, make: Callable[[], Any], warm_up_rows: int = 2_000, *, flags_only: bool = False) -> Factory:
    def factory(reference: Reference, options: Options) -> Detector:
        from detectors.river_drift import RiverDrift

        return RiverDrift(
            name,
            make,
            reference,
            events_per_false_alarm=options.events_per_false_alarm,
            min_effect=options.min_effect,
            min_loss=options.min_loss,
            warm_up_rows=warm_up_rows,
            flags_only=flags_only,
        )

    return factory


def _half_space_trees(reference: Reference, options: Options) -> Detector:
    from detectors.half_space_trees import HalfSpaceTrees

    return HalfSpaceTrees(reference, options.events_per_false_alarm, options.min_effect)


# river has no types, and takes two seconds and a hundred megabytes to import: only who asks for it pays


def _adwin() -> Any:
    from river.drift import ADWIN

    return ADWIN()  # type: ignore[no-untyped-call]


def _page_hinkley() -> Any:
    from river.drift import PageHinkley

    return PageHinkley()


def _ddm() -> Any:
    from river.drift.binary import DDM

    return DDM()


def _hddm_w() -> Any:
    from river.drift.binary import HDDMW

    return HDDMW()  # type: ignore[no-untyped-call]


def _kswin() -> Any:
    from river.drift import KSWIN

    return KSWIN(seed=0)


_OUTCOME: Final = frozenset({Stream.OUTCOME})
_FEATURES: Final = frozenset({Stream.FEATURES})

_ALL: Final = (
    DetectorSpec("e_detector", frozenset(Stream), _e_detector),
    DetectorSpec("half_space_trees", _FEATURES, _half_space_trees),
    DetectorSpec("adwin", _OUTCOME, _river("adwin", _adwin)),
    DetectorSpec("page_hinkley", _OUTCOME, _river("page_hinkley", _page_hinkley)),
    DetectorSpec("ddm", _OUTCOME, _river("ddm", _ddm, flags_only=True)),
    DetectorSpec("hddm_w", _OUTCOME, _river("hddm_w", _hddm_w, flags_only=True)),
    DetectorSpec("kswin", _OUTCOME, _river("kswin", _kswin, 100)),
    DetectorSpec("adwin_features", _FEATURES, _river("adwin_features", _adwin)),
    DetectorSpec("page_hinkley_features", _FEATURES, _river("page_hinkley_features", _page_hinkley)),
    DetectorSpec("kswin_features", _FEATURES, _river("kswin_features", _kswin, 100)),
)

DETECTORS: Final[dict[str, DetectorSpec]] = {spec.name: spec for spec in _ALL}
