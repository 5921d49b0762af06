"""Causes are looked at again as rows come, whenever that is asked for."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.monitoring.second_looks import AGES, Renamed, SecondLooks
from detectors.base import Kind, Severity, Verdict
from detectors.breakage import Breakage
from detectors.cause import CAUSE, Cause, Named, Raised

CHANGE = 1_000
INCOME, AGE = "feature:income", "feature:age"


def raised(row: int, signal: str = INCOME, cause: Cause = Cause.DATA_BROKEN, *, recovered: bool = False) -> Verdict:
    evidence: dict[str, Any] = {CAUSE: Named(cause, 0.9, "as it seems").to_evidence()}
    if recovered:
        evidence = {}
    return Verdict(
        Kind.DRIFT, signal, "e_detector", Severity.WARNING, row, 0.0, CHANGE, 0.0, evidence, recovered=recovered
    )


class Truth:
    """Says what rows tell, and keeps what it was asked."""

    def __init__(self, cause: Cause) -> None:
        self.cause = cause
        self.asked: list[tuple[str, int]] = []

    def look(self, raised: Raised, change_row: int, row: int) -> Named:
        assert change_row <= row
        self.asked.append((raised.signal, row))
        return Named(self.cause, 0.9, f"as row {row} tells")


@pytest.mark.parametrize(("row", "ages"), [(1_009, AGES), (1_900, AGES[:4])])
def test_a_cause_is_looked_at_again_so_many_rows_after_the_alarm(row: int, ages: Sequence[int]) -> None:
    truth = Truth(Cause.DATA_BROKEN)
    assert not SecondLooks().take([raised(row)], 2_100, truth.look)
    assert truth.asked == [(INCOME, row + age) for age in ages]


def test_another_cause_is_told_once_with_what_was_thought_before() -> None:
    truth = Truth(Cause.COVARIATE_SHIFT)
    (found,) = SecondLooks().take([raised(1_009)], 10_000, truth.look)
    assert (found.kind, found.signal, found.raised_row, found.change_row) == (Kind.DRIFT, INCOME, 1_009, CHANGE)
    assert (found.row, found.cause["row"]) == (1_029, 1_029)
    assert (found.cause["name"], found.cause["instead_of"]) == ("covariate_shift", "data_broken")
    alarm = raised(1_009)
    assert found.renamed(alarm).evidence[CAUSE]["text"] == "as row 1029 tells"
    for other in (raised(1_010), raised(1_009, AGE)):
        assert found.renamed(other) is other


def test_a_cause_that_is_known_is_not_given_up_for_none() -> None:
    assert not SecondLooks().take([raised(1_009)], 10_000, Truth(Cause.UNKNOWN).look)


def test_what_was_put_down_to_broken_data_is_looked_at_as_soon_as_some_of_it_is_none() -> None:
    """Its own turn would come later."""
    truth = Truth(Cause.CONCEPT_DRIFT)
    broken = Named(Cause.DATA_BROKEN, 0.9, "in another unit", Breakage.UNIT_CHANGE, INCOME).to_evidence()
    income = replace(raised(1_009), evidence={CAUSE: broken})
    error = replace(income, signal="error", row=1_012)
    other = raised(1_012, AGE, Cause.COVARIATE_SHIFT)
    found = SecondLooks().take([income, error, other], 1_030, truth.look)
    assert [(one.signal, one.row) for one in found] == [(INCOME, 1_029), ("error", 1_029)]


def test_what_was_put_down_to_broken_rows_stays_so_once_they_are_whole() -> None:
    """Later they would be few among the others, and the errors in them would seem to be the world's."""
    truth = Truth(Cause.CONCEPT_DRIFT)
    broken = Named(Cause.DATA_BROKEN, 0.9, "is stuck", Breakage.STOPPED_FEED, INCOME).to_evidence()
    income = replace(raised(1_009), evidence={CAUSE: broken})
    error, other = replace(income, signal="error", row=1_012), raised(1_013, AGE)
    found = SecondLooks().take([income, error, other, raised(1_025, recovered=True)], 5_000, truth.look)
    assert [one.signal for one in found] == [AGE]
    assert {signal for signal, _ in truth.asked} == {AGE}


def test_a_signal_is_whole_only_once_no_alarm_of_its_own_says_otherwise() -> None:
    truth = Truth(Cause.COVARIATE_SHIFT)
    broken = Named(Cause.DATA_BROKEN, 0.9, "is out of range", Breakage.OUT_OF_RANGE, INCOME).to_evidence()
    drift = replace(raised(1_009), evidence={CAUSE: broken})
    quality = replace(drift, kind=Kind.QUALITY)
    over = replace(quality, row=1_015, recovered=True, evidence={})
    assert [one.kind for one in SecondLooks().take([drift, quality, over], 5_000, truth.look)] == [Kind.DRIFT]


def test_that_something_is_broken_and_nobody_knows_how_is_no_news() -> None:
    alarm = raised(1_009, cause=Cause.CONCEPT_DRIFT)
    assert not SecondLooks().take([alarm], 5_000, Truth(Cause.DATA_BROKEN).look)


def test_what_is_over_and_what_was_raised_of_another_reference_is_not_looked_at() -> None:
    truth, looks = Truth(Cause.COVARIATE_SHIFT), SecondLooks()
    looks.take([raised(1_009), raised(1_015, recovered=True)], 10_000, truth.look)
    looks.take([raised(1_009)], 1_015, truth.look)
    looks.clear()
    looks.take([], 10_000, truth.look)
    assert truth.asked == []


@given(st.lists(st.integers(0, 2_000), max_size=8), st.integers(0, 700), st.booleans())
def test_when_it_is_asked_for_changes_nothing(cuts: list[int], over: int, stored: bool) -> None:
    verdicts = [
        raised(1_009),
        raised(1_030, AGE, Cause.CONCEPT_DRIFT),
        raised(1_040 + over, recovered=True),
        raised(1_041 + over),
    ]

    def run(at: list[int]) -> tuple[list[Renamed], list[tuple[str, int]]]:
        truth, looks, start = Truth(Cause.COVARIATE_SHIFT), SecondLooks(), 0
        found = []
        for rows in (*sorted(at), 2_000):
            found += looks.take([one for one in verdicts if start <= one.row < rows], rows, truth.look)
            start = max(start, rows)
            if stored:
                looks = SecondLooks.restored(msgspec.msgpack.decode(msgspec.msgpack.encode(looks.state())))
        return found, truth.asked

    assert run(cuts) == run([])
