"""What every detector promises, whichever it is. One without a case here fails."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from seeded_rows import count, errors, learn, rows_of, text, watch

from detectors.alibi import Alibi
from detectors.alibi_drift import AlibiDrift
from detectors.alibi_scores import AlibiScores
from detectors.base import Detector, Kind, StateMismatch, Verdict
from detectors.columns import Columns, Stream
from detectors.e_detector import EDetector
from detectors.half_space_trees import HalfSpaceTrees
from detectors.joint_drift import JointDrift
from detectors.reference import Reference
from detectors.registry import DEFAULT, DETECTORS, Options, UnknownDetector, build
from detectors.river_drift import RiverDrift
from detectors.series_scores import SeriesScores
from detectors.tail_scores import TailScores

OPTIONS: Final = Options(events_per_false_alarm=100_000)
WINDOW: Final = 5

Make = Callable[[np.random.Generator, int, bool], dict[str, NDArray[Any]]]


@dataclass(frozen=True)
class Case:
    """A stream that the detector watches, what it has to call the change in it, and within how many rows.

    Rows 0 to 1,999 are the reference; the change is at row ``change`` and the stream ends at row ``end``.
    """

    stream: Stream
    make: Make
    kind: Kind
    signal: str
    within: int
    change: int = 4_000
    end: int = 6_000
    told: Mapping[str, object] = field(default_factory=dict)


def features(rng: np.random.Generator, n: int, changed: bool) -> dict[str, NDArray[Any]]:
    shift = 2.0 if changed else 0.0
    return {"feature:a": rng.normal(size=n), "feature:b": rng.normal(size=n) + shift, "feature:c": text(rng, "aab", n)}


def strange(rng: np.random.Generator, n: int, changed: bool) -> dict[str, NDArray[Any]]:
    # far out in a direction that no feature shows by itself as clearly
    return {f"feature:{i}": rng.normal(size=n) * (3.0 if changed else 1.0) for i in range(6)}


def far_out(rng: np.random.Generator, n: int, changed: bool) -> dict[str, NDArray[Any]]:
    return {f"feature:{i}": rng.normal(size=n) * (4.0 if changed else 1.0) for i in range(3)}


def series(rng: np.random.Generator, n: int, changed: bool) -> dict[str, NDArray[Any]]:
    spikes = np.where(rng.random(n) < 0.5, 8.0, 0.0) if changed else 0.0
    return {"feature:a": rng.normal(size=n) + spikes}


def apart(rng: np.random.Generator, n: int, changed: bool) -> dict[str, NDArray[Any]]:
    # two features that go together, until they do not; neither changes by itself
    values = {f"feature:{i}": rng.normal(size=n) for i in range(6)}
    return values if changed else values | {"feature:1": values["feature:0"] + 0.3 * values["feature:1"]}


def outcome(rng: np.random.Generator, n: int, changed: bool) -> dict[str, NDArray[Any]]:
    return {"label": text(rng, "01", n), "error": errors(rng, (n, 0.4 if changed else 0.1))}


def collapse(rng: np.random.Generator, n: int, changed: bool) -> dict[str, NDArray[Any]]:
    return {"error": errors(rng, (n, 0.9 if changed else 0.1))}


CONCEPT: Final = Case(Stream.OUTCOME, outcome, Kind.CONCEPT, "error", within=150)
DRIFT: Final = Case(Stream.FEATURES, features, Kind.DRIFT, "feature:b", within=100)
STRANGE: Final = Case(Stream.FEATURES, strange, Kind.ANOMALY, "features", within=50)
QUICK: Final = {"window_size": 20, "most_ert": 100}
JOINT: Final = {"window_size": 10}

CASES: Final = {
    "e_detector": DRIFT,
    "joint_drift": Case(Stream.FEATURES, apart, Kind.DRIFT, "features", within=150),
    "half_space_trees": STRANGE,
    "tail_scores": Case(Stream.FEATURES, far_out, Kind.ANOMALY, "features", within=50),
    "series_scores": Case(Stream.FEATURES, series, Kind.ANOMALY, "features", within=50),
    "adwin": CONCEPT,
    "page_hinkley": Case(Stream.OUTCOME, outcome, Kind.CONCEPT, "error", within=400),
    "ddm": Case(Stream.OUTCOME, outcome, Kind.CONCEPT, "error", within=400),
    "hddm_w": CONCEPT,
    # 0.2 ms a value: fewer of them
    "kswin": Case(Stream.OUTCOME, collapse, Kind.CONCEPT, "error", within=100, change=2_300, end=2_500),
    "adwin_features": DRIFT,
    "page_hinkley_features": DRIFT,
    "kswin_features": Case(Stream.FEATURES, features, Kind.DRIFT, "feature:b", within=100, change=2_300, end=2_500),
    # calibrated to a small expected run time, which takes less long, and on fewer rows: up to some ms a value
    "alibi_cvm": Case(Stream.FEATURES, features, Kind.DRIFT, "feature:b", 100, 2_300, 2_500, QUICK),
    "alibi_fet": Case(Stream.OUTCOME, collapse, Kind.CONCEPT, "error", 100, 2_300, 2_500, QUICK),
    "alibi_mmd": Case(Stream.FEATURES, features, Kind.DRIFT, "features", 150, 2_150, 2_350, JOINT),
    "alibi_lsdd": Case(Stream.FEATURES, features, Kind.DRIFT, "features", 150, 2_150, 2_350, JOINT),
    "alibi_isolation_forest": replace(STRANGE, change=2_300, end=2_500),
    "alibi_mahalanobis": replace(STRANGE, change=2_300, end=2_500),
}

ALL: Final[tuple[Callable[..., Detector], ...]] = (
    EDetector,
    JointDrift,
    HalfSpaceTrees,
    RiverDrift,
    AlibiDrift,
    AlibiScores,
    SeriesScores,
    TailScores,
)
"""Not run: here mypy sees that each implementation fits the Protocol."""


RUNNING: Final[list[Alibi]] = []
"""The way to alibi-detect, once it has been asked for."""
SLOW: Final = ("kswin", "alibi")


@pytest.fixture(params=sorted(DETECTORS))
def name(request: pytest.FixtureRequest) -> str:
    chosen = str(request.param)
    assert chosen in CASES, f"{chosen} is in the registry and has no case in the conformance tests"
    if chosen.startswith("alibi_"):
        RUNNING[:] = [request.getfixturevalue("alibi")]
    return chosen


@pytest.fixture
def case(name: str) -> Case:
    return CASES[name]


def stream_of(case: Case, *, changed: bool, seed: int = 5) -> tuple[Reference, Columns]:
    """The reference, and live rows from row 2,000 on, which change where the case says if ``changed``."""
    rng = np.random.default_rng(seed)
    before = case.make(rng, case.change, False)  # noqa: FBT003 (read it as: unchanged)
    after = case.make(rng, case.end - case.change, changed)
    return learn(rows_of(case.stream, {key: np.concatenate((before[key], after[key])) for key in before}))


def made(name: str, reference: Reference) -> Detector:
    alibi = RUNNING[0] if RUNNING else None
    detector = build(name, reference, replace(OPTIONS, alibi=alibi), CASES[name].told)
    assert detector is not None
    return detector


def packed(detector: Detector) -> bytes:
    return msgspec.msgpack.encode(detector.state())


def test_every_case_is_of_a_detector() -> None:
    assert set(CASES) == set(DETECTORS)
    assert set(DEFAULT) <= set(DETECTORS)


def test_it_has_the_name_it_is_registered_under(name: str, case: Case) -> None:
    reference, _ = stream_of(case, changed=False)
    assert made(name, reference).name == name == DETECTORS[name].name


def test_it_raises_a_large_change_soon_and_calls_it_what_it_is(name: str, case: Case) -> None:
    reference, live = stream_of(case, changed=True)
    verdicts = watch(made(name, reference), reference, live, window=WINDOW)
    assert verdicts, "nothing was raised"
    first = verdicts[0]
    assert (first.kind, first.signal, first.detector) == (case.kind, case.signal, name)
    assert case.change <= first.row < case.change + case.within
    assert first.change_row <= first.row
    assert (first.row + 1) % WINDOW == 0
    assert first.ts == first.row


def test_it_raises_nothing_while_nothing_changes(name: str, case: Case) -> None:
    reference, live = stream_of(case, changed=False)
    assert watch(made(name, reference), reference, live, window=WINDOW) == []


def test_what_it_says_can_be_stored(name: str, case: Case) -> None:
    reference, live = stream_of(case, changed=True)
    for verdict in watch(made(name, reference), reference, live, window=WINDOW):
        assert msgspec.json.decode(msgspec.json.encode(verdict.evidence)) == verdict.evidence
        assert all(isinstance(share, float) and 0 <= share <= 1 for _, share in verdict.ranking)


def test_it_changes_nothing_it_is_given(name: str, case: Case) -> None:
    reference, live = stream_of(case, changed=True)
    detector = made(name, reference)
    summary = count(reference, live, WINDOW)
    counts, rows = summary.counts.copy(), live.rows.copy()
    columns = {key: column.copy() for key, column in live.values.items()}
    detector.update(summary, live)
    assert (summary.counts == counts).all()
    assert (live.rows == rows).all()
    for key, column in columns.items():
        assert (live.values[key] == column).all()


@pytest.mark.parametrize("batch", [WINDOW, 35, 1_715])
def test_it_says_the_same_however_the_rows_are_batched(name: str, case: Case, batch: int) -> None:
    reference, live = stream_of(case, changed=True)
    at_once = watch(made(name, reference), reference, live, window=WINDOW, batch=100_000)
    assert watch(made(name, reference), reference, live, window=WINDOW, batch=batch) == at_once


@pytest.mark.parametrize("shift", [-100, 20], ids=["before the change", "within it"])
def test_it_goes_on_from_its_stored_state_as_if_nothing_had_happened(name: str, case: Case, shift: int) -> None:
    reference, live = stream_of(case, changed=True)
    cut = case.change - 2_000 + shift
    unbroken = made(name, reference)
    before = watch(unbroken, reference, live.slice(0, cut), window=WINDOW)
    stored = packed(unbroken)
    restored = made(name, Reference.from_dict(reference.to_dict()))
    restored.restore(msgspec.msgpack.decode(stored))
    rest = live.slice(cut, len(live))
    after = watch(unbroken, reference, rest, window=WINDOW)
    assert watch(restored, reference, rest, window=WINDOW) == after
    assert before + after, "nothing was raised on either side"
    assert packed(restored) == packed(unbroken)


def test_it_refuses_the_state_of_another_reference(name: str, case: Case) -> None:
    reference, _ = stream_of(case, changed=False, seed=5)
    other, _ = stream_of(case, changed=False, seed=6)
    with pytest.raises(StateMismatch):
        made(name, other).restore(made(name, reference).state())


def test_it_refuses_the_state_of_another_detector(name: str, case: Case) -> None:
    reference, _ = stream_of(case, changed=False)
    for other in DETECTORS:
        if other != name and reference.stream in DETECTORS[other].streams:
            with pytest.raises(StateMismatch):
                made(name, reference).restore(made(other, reference).state())


def test_its_state_stops_growing(name: str, case: Case) -> None:
    reference, live = stream_of(case, changed=False)
    detector = made(name, reference)
    part = live.slice(0, 400 if name.startswith(SLOW) else 2_000)
    repeats = 4 if name.startswith(SLOW) else 40
    sizes = []
    for _ in range(repeats):
        watch(detector, reference, part, window=WINDOW)
        sizes.append(len(packed(detector)))
    # buckets of a history, and of ADWIN, grow with the logarithm of the rows
    assert sizes[-1] <= 1.35 * sizes[repeats // 2]
    assert sizes[-1] < 100_000


def test_rows_with_nothing_in_them_do_no_harm(name: str, case: Case) -> None:
    reference, live = stream_of(case, changed=False)
    detector = made(name, reference)
    empty = rows_of(case.stream, {key: np.full(50, np.nan) for key in live.values}, first=2_000)
    odd = rows_of(
        case.stream, {key: np.array([np.inf, -np.inf, 1e308, -1e308, 0.0] * 10) for key in live.values}, first=2_050
    )
    verdicts: list[Verdict] = []
    for part in (empty, odd):
        verdicts += detector.update(count(reference, part, WINDOW), part)
    assert all(verdict.kind in {Kind.QUALITY, Kind.ANOMALY, Kind.DRIFT, Kind.CONCEPT} for verdict in verdicts)
    assert watch(detector, reference, live.slice(100, 600), window=WINDOW) is not None


def test_a_reference_of_a_few_rows_is_no_error(name: str, case: Case) -> None:
    _, live = stream_of(case, changed=False)
    few = Reference.learn(live.slice(0, 20))
    detector = made(name, few)
    watch(detector, few, live.slice(20, 220), window=WINDOW)
    detector.restore(msgspec.msgpack.decode(packed(detector)))


@pytest.mark.parametrize("name", ["half_space_trees", "tail_scores", "series_scores", "joint_drift"])
def test_what_looks_at_whole_rows_raises_nothing_of_a_reference_too_small_to_learn_from(name: str) -> None:
    reference, live = stream_of(CASES[name], changed=True)
    few = Reference.learn(live.slice(0, 50))
    assert watch(made(name, reference), reference, live, window=WINDOW)
    detector = made(name, few)
    assert watch(detector, few, live, window=WINDOW) == []
    if isinstance(detector, HalfSpaceTrees | TailScores):
        assert (detector.scores(live) == 0).all()


def test_a_detector_does_not_watch_a_stream_that_is_not_its_own(name: str, case: Case) -> None:
    reference, _ = stream_of(case, changed=False)
    for stream in Stream:
        moved = Reference.from_dict({**reference.to_dict(), "stream": str(stream)})
        assert (build(name, moved, OPTIONS) is None) == (stream not in DETECTORS[name].streams)


def test_a_name_that_is_not_there_is_answered_with_those_that_are() -> None:
    reference, _ = stream_of(CONCEPT, changed=False)
    with pytest.raises(UnknownDetector, match="adwin"):
        build("adwim", reference, OPTIONS)
