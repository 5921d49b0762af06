"""river's drift detectors behind our interface: where they fire, and what is stored of them."""

import subprocess
import sys
from typing import Any

import msgspec
import numpy as np
import pytest
from seeded_rows import errors, learn, rows_of, text, watch

from detectors import river_drift
from detectors.base import StateMismatch
from detectors.columns import Columns, Stream
from detectors.reference import Reference
from detectors.registry import Options, build
from detectors.river_drift import RiverDrift
from detectors.river_state import freeze, thaw

OPTIONS = Options(events_per_false_alarm=100_000)


def failing(seed: int = 0) -> tuple[Reference, Columns]:
    """An error rate of a tenth that becomes a quarter at row 5,000."""
    rng = np.random.default_rng(seed)
    return learn(rows_of(Stream.OUTCOME, {"error": errors(rng, (5_000, 0.1), (3_000, 0.25))}))


def made(name: str, reference: Reference) -> RiverDrift:
    detector = build(name, reference, OPTIONS)
    assert isinstance(detector, RiverDrift)
    return detector


@pytest.mark.parametrize(
    ("name", "row"), [("adwin", 5_215), ("page_hinkley", 5_369), ("ddm", 5_370), ("hddm_w", 5_561)]
)
def test_golden_row_at_which_an_error_rate_of_a_quarter_is_raised(name: str, row: int) -> None:
    reference, live = failing()
    (verdict,) = watch(made(name, reference), reference, live)
    assert verdict.row == row


@pytest.mark.parametrize(
    ("name", "row"), [("adwin_features", 2_431), ("page_hinkley_features", 2_419), ("kswin_features", 2_410)]
)
def test_golden_row_at_which_a_shift_of_two_deviations_is_raised(name: str, row: int) -> None:
    # far from standard units on purpose: what river's defaults are made for is what they are given
    column = np.random.default_rng(0).normal(1_000, 50, 2_700)
    column[2_400:] += 100
    reference, live = learn(rows_of(Stream.FEATURES, {"feature:x": column}))
    assert watch(made(name, reference), reference, live)[0].row == row


def test_golden_row_at_which_kswin_raises_a_model_that_errs_nearly_always() -> None:
    rng = np.random.default_rng(0)
    reference, live = learn(rows_of(Stream.OUTCOME, {"error": errors(rng, (2_300, 0.1), (200, 0.9))}))
    assert watch(made("kswin", reference), reference, live)[0].row == 2_316


@pytest.mark.parametrize("name", ["adwin", "page_hinkley", "ddm", "hddm_w"])
def test_an_error_that_falls_is_no_alarm(name: str) -> None:
    rng = np.random.default_rng(1)
    reference, live = learn(rows_of(Stream.OUTCOME, {"error": errors(rng, (5_000, 0.4), (5_000, 0.1))}))
    assert watch(made(name, reference), reference, live) == []


def test_the_way_back_is_called_over_and_not_raised_as_another_change() -> None:
    rng = np.random.default_rng(2)
    rows = errors(rng, (5_000, 0.1), (5_000, 0.3), (10_000, 0.1))
    reference, live = learn(rows_of(Stream.OUTCOME, {"error": rows}))
    verdicts = watch(made("adwin", reference), reference, live)
    assert [verdict.recovered for verdict in verdicts] == [False, True]
    assert 10_000 <= verdicts[1].row <= 10_600


def test_what_is_made_for_right_and_wrong_leaves_numbers_alone() -> None:
    error = np.abs(np.random.default_rng(3).normal(size=6_000))
    error[4_000:] *= 5
    reference, live = learn(rows_of(Stream.OUTCOME, {"error": error}))
    assert watch(made("ddm", reference), reference, live) == []
    assert watch(made("hddm_w", reference), reference, live) == []
    assert watch(made("adwin", reference), reference, live)[0].signal == "error"


def test_text_and_gaps_are_skipped() -> None:
    rng = np.random.default_rng(4)
    column = rng.normal(size=5_000)
    column[2_100:2_200] = np.nan
    column[2_200:2_300] = np.inf
    reference, live = learn(rows_of(Stream.FEATURES, {"feature:x": column, "feature:c": text(rng, "ab", 5_000)}))
    assert watch(made("adwin_features", reference), reference, live) == []


@pytest.mark.parametrize("name", ["adwin", "page_hinkley", "ddm", "hddm_w", "kswin"])
def test_the_plain_values_are_all_there_is_to_a_detector_of_river(name: str) -> None:
    """A contract with this version of river: what ``freeze`` takes is enough to go on exactly."""
    reference, live = failing()
    make = made(name, reference)._make
    values = live.values["error"][: 250 if name == "kswin" else 2_500].tolist()
    one, other = make(), make()
    for value in values:
        one.update(value)
    thaw(other, msgspec.msgpack.decode(msgspec.msgpack.encode(freeze(one))))
    for value in values:
        one.update(value)
        other.update(value)
        assert one.drift_detected == other.drift_detected
    assert freeze(one) == freeze(other)


def test_the_state_of_another_version_of_river_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    reference, _ = failing()
    stored = made("adwin", reference).state()
    monkeypatch.setattr(river_drift, "version", lambda _: "0.99.0")
    with pytest.raises(StateMismatch, match="river"):
        made("adwin", reference).restore(stored)


def test_the_state_of_other_parameters_is_refused() -> None:
    from river.drift import ADWIN

    reference, _ = failing()
    told: dict[str, Any] = {"events_per_false_alarm": 1e5, "min_effect": 0.1, "min_loss": 0.01}
    strict = RiverDrift("adwin", lambda: ADWIN(delta=1e-6), reference, **told)
    with pytest.raises(StateMismatch):
        strict.restore(made("adwin", reference).state())


def test_river_is_not_imported_before_it_is_asked_for() -> None:
    """It takes two seconds and a hundred megabytes, and the idle daemon is to be light."""
    heavy = "{'river', 'scipy', 'pandas', 'sklearn', 'pyarrow', 'matplotlib'}"
    script = f"import sys, detectors.registry, detectors.half_space_trees; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
