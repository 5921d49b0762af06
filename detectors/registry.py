"""Detectors by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from detectors.alibi import Alibi
from detectors.base import Detector
from detectors.columns import Stream
from detectors.e_detector import EDetector
from detectors.half_space_trees import HalfSpaceTrees
from detectors.joint_drift import JointDrift
from detectors.parameters import Parameter, Value, read
from detectors.reference import Reference
from detectors.series_scores import SeriesScores
from detectors.tail_scores import TailScores

DEFAULT: Final = ("e_detector",)
"""What runs unless the user names others."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a detector may be told beside its reference.

    ``events_per_false_alarm`` is the detector's own share of the model's budget, in rows of its stream; ``min_effect``
    and ``min_loss`` are the smallest changes worth raising. ``alibi`` is the way to where alibi-detect runs: without
    one its detectors say nothing.
    """

    events_per_false_alarm: float = 1_000_000.0
    min_effect: float = 0.1
    min_loss: float = 0.01
    alibi: Alibi | None = None


Parameters = Mapping[str, Value]
Factory = Callable[[Reference, Options, Parameters], Detector]


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """A detector as it is offered: its name, the streams that it watches, its parameters, and how to make one."""

    name: str
    streams: frozenset[Stream]
    build: Factory
    parameters: tuple[Parameter, ...] = ()


class UnknownDetector(KeyError):
    """No detector has that name."""


def build(
    name: str, reference: Reference, options: Options, given: Mapping[str, object] | None = None
) -> Detector | None:
    """Make the detector ``name`` for the stream of ``reference``; None where it does not watch such a stream.

    ``given`` has the parameters that are not to be as by default. Raises UnknownDetector for a name that is not
    registered, WrongParameter.
    """
    spec = DETECTORS.get(name)
    if spec is None:
        raise UnknownDetector(f"no detector is called {name!r}; there are {', '.join(DETECTORS)}")
    parameters = read(name, spec.parameters, given or {})
    return spec.build(reference, options, parameters) if reference.stream in spec.streams else None


def _e_detector(reference: Reference, options: Options, _: Parameters) -> Detector:
    return EDetector(reference, options.events_per_false_alarm, options.min_effect, options.min_loss)


def _of_rows(make: Callable[[Reference, float, float], Detector]) -> Factory:
    """Detectors that look at whole rows, and are told no more than what is worth raising."""
    return lambda reference, options, _: make(reference, options.events_per_false_alarm, options.min_effect)


def _river(name: str, make: Callable[..., Any], *, flags_only: bool = False) -> Factory:
    def factory(reference: Reference, options: Options, parameters: Parameters) -> Detector:
        from detectors.river_drift import WARM_UP_ROWS, RiverDrift

        return RiverDrift(
            name,
            lambda: make(**parameters),
            reference,
            events_per_false_alarm=options.events_per_false_alarm,
            min_effect=options.min_effect,
            min_loss=options.min_loss,
            warm_up_rows=int(parameters.get("window_size", WARM_UP_ROWS)),
            flags_only=flags_only,
        )

    return factory


def _alibi_drift(kind: str) -> Factory:
    def factory(reference: Reference, options: Options, parameters: Parameters) -> Detector:
        from detectors.alibi_drift import AlibiDrift

        return AlibiDrift(
            kind,
            reference,
            options.alibi,
            dict(parameters),
            events_per_false_alarm=options.events_per_false_alarm,
            min_effect=options.min_effect,
            min_loss=options.min_loss,
        )

    return factory


def _alibi_scores(kind: str) -> Factory:
    def factory(reference: Reference, options: Options, parameters: Parameters) -> Detector:
        from detectors.alibi_scores import AlibiScores

        return AlibiScores(
            kind,
            reference,
            options.alibi,
            dict(parameters),
            events_per_false_alarm=options.events_per_false_alarm,
            min_effect=options.min_effect,
        )

    return factory


# river has no types, and takes two seconds and a hundred megabytes to import: only who asks for it pays


def _adwin(**parameters: Value) -> Any:
    from river.drift import ADWIN

    return ADWIN(**parameters)  # type: ignore[no-untyped-call]


def _page_hinkley(**parameters: Any) -> Any:
    from river.drift import PageHinkley

    return PageHinkley(**parameters)


def _ddm(**parameters: Any) -> Any:
    from river.drift.binary import DDM

    return DDM(**parameters)


def _hddm_w(**parameters: Value) -> Any:
    from river.drift.binary import HDDMW

    return HDDMW(**parameters)  # type: ignore[no-untyped-call]


def _kswin(**parameters: Any) -> Any:
    from river.drift import KSWIN

    return KSWIN(**parameters, seed=0)


_OUTCOME: Final = frozenset({Stream.OUTCOME})
_FEATURES: Final = frozenset({Stream.FEATURES})

_ADWIN: Final = (
    Parameter("delta", 0.002, "chance of a false cut at each look; smaller is slower to fire", 1e-12, 0.5),
    Parameter("clock", 32, "values between two looks", 1, 10_000),
    Parameter("max_buckets", 5, "buckets of each size that are kept", 2, 100),
    Parameter("min_window_length", 5, "least values on either side of a cut", 1, 10_000),
    Parameter("grace_period", 10, "values before the first look", 1, 1_000_000),
)
_PAGE_HINKLEY: Final = (
    Parameter("min_instances", 30, "values before it may fire", 1, 1_000_000),
    Parameter("delta", 0.005, "deviation from the mean that is nothing", 0, 10),
    Parameter("threshold", 50.0, "sum of deviations at which it fires", 0.001, 1_000_000),
    Parameter("alpha", 0.9999, "how much of the sum is kept at each value", 0.5, 1),
)
_DDM: Final = (
    Parameter("warm_start", 30, "values before it may fire", 1, 1_000_000),
    Parameter("drift_threshold", 3.0, "standard deviations above the least error rate at which it fires", 0.1, 100),
)
_HDDM_W: Final = (
    Parameter("drift_confidence", 0.001, "chance of a false alarm; smaller is slower to fire", 1e-12, 0.5),
    Parameter("lambda_val", 0.05, "weight of the latest value in the mean", 0.0001, 1),
    Parameter("two_sided_test", default=False, meaning="whether an error that falls makes it begin anew as well"),
)
_KSWIN: Final = (
    Parameter("alpha", 0.005, "level of the test at each value; smaller is slower to fire", 1e-12, 0.5),
    Parameter("window_size", 100, "values that are kept", 100, 10_000),
    Parameter("stat_size", 30, "latest values that are compared with those before", 5, 50),
)
_ERT_MEANING: Final = "rows until a flag though nothing changed, at most; window_size at least"
_ALIBI_CVM: Final = (
    Parameter("window_size", 80, "rows of the longer of two windows; the other is a quarter", 8, 400),
    Parameter("most_ert", 1_000, _ERT_MEANING, 10, 10_000),
)
_ALIBI_FET: Final = (
    Parameter("window_size", 200, "rows of the longer of two windows; the other is a quarter", 8, 1_000),
    Parameter("most_ert", 1_000, _ERT_MEANING, 10, 10_000),
)
_ALIBI_JOINT: Final = (Parameter("window_size", 25, "latest rows that are compared with the reference", 5, 50),)
_ALIBI_FOREST: Final = (Parameter("n_estimators", 100, "trees", 10, 1_000),)
_ALIBI_MAHALANOBIS: Final = (Parameter("n_components", 3, "principal components", 1, 100),)

_ALL: Final = (
    DetectorSpec("e_detector", frozenset(Stream), _e_detector),
    DetectorSpec("joint_drift", _FEATURES, _of_rows(JointDrift)),
    DetectorSpec("half_space_trees", _FEATURES, _of_rows(HalfSpaceTrees)),
    DetectorSpec("tail_scores", _FEATURES, _of_rows(TailScores)),
    DetectorSpec("series_scores", _FEATURES, _of_rows(SeriesScores)),
    DetectorSpec("adwin", _OUTCOME, _river("adwin", _adwin), _ADWIN),
    DetectorSpec("page_hinkley", _OUTCOME, _river("page_hinkley", _page_hinkley), _PAGE_HINKLEY),
    DetectorSpec("ddm", _OUTCOME, _river("ddm", _ddm, flags_only=True), _DDM),
    DetectorSpec("hddm_w", _OUTCOME, _river("hddm_w", _hddm_w, flags_only=True), _HDDM_W),
    DetectorSpec("kswin", _OUTCOME, _river("kswin", _kswin), _KSWIN),
    DetectorSpec("adwin_features", _FEATURES, _river("adwin_features", _adwin), _ADWIN),
    DetectorSpec("page_hinkley_features", _FEATURES, _river("page_hinkley_features", _page_hinkley), _PAGE_HINKLEY),
    DetectorSpec("kswin_features", _FEATURES, _river("kswin_features", _kswin), _KSWIN),
    DetectorSpec("alibi_cvm", _FEATURES, _alibi_drift("cvm"), _ALIBI_CVM),
    DetectorSpec("alibi_fet", _OUTCOME, _alibi_drift("fet"), _ALIBI_FET),
    DetectorSpec("alibi_mmd", _FEATURES, _alibi_scores("mmd"), _ALIBI_JOINT),
    DetectorSpec("alibi_lsdd", _FEATURES, _alibi_scores("lsdd"), _ALIBI_JOINT),
    DetectorSpec("alibi_isolation_forest", _FEATURES, _alibi_scores("isolation_forest"), _ALIBI_FOREST),
    DetectorSpec("alibi_mahalanobis", _FEATURES, _alibi_scores("mahalanobis"), _ALIBI_MAHALANOBIS),
)

DETECTORS: Final[dict[str, DetectorSpec]] = {spec.name: spec for spec in _ALL}
