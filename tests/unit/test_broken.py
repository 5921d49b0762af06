"""Broken data and the errors that it can explain."""

from dataclasses import replace
from typing import Any

import pytest

from daemon.lifecycle.broken import BrokenData, explains_since
from daemon.monitoring.second_looks import Renamed
from daemon.replay import WouldTrain
from daemon.settings import load
from detectors.base import Kind, Severity, Verdict
from detectors.cause import CAUSE

INCOME = "feature:income"


def error(rose: float, name: str = "error_rate") -> dict[str, Any]:
    return {"effect_name": name, "effect": rose}


NULLS = BrokenData.of(700, {"current": 0.2, "bin": "missing"})
CENTS = BrokenData.of(900, {"current": 1.0, "bin": "new"})
SILENCE = BrokenData.of(800, {"silent_seconds": 300.0})


@pytest.mark.parametrize(
    ("broken", "alarm", "since"),
    [
        ([], error(0.3), None),
        # a fifth of the rows can be wrong because of it, and no more
        ([NULLS], error(0.15), 700),
        ([NULLS], error(0.24), 700),
        ([NULLS], error(0.3), None),
        ([NULLS, CENTS], error(0.3), 700),
        ([SILENCE], error(0.9), 800),
        # an error that is a number may rise by anything in a few rows
        ([NULLS], error(3.0, "relative_error"), 700),
        ([NULLS], {"effect_name": "psi", "effect": 3.0}, 700),
        ([NULLS], None, 700),
    ],
)
def test_broken_rows_explain_no_more_errors_than_there_are_such_rows(
    broken: list[BrokenData], alarm: dict[str, Any] | None, since: int | None
) -> None:
    assert explains_since(broken, alarm) == since


def verdict(kind: Kind, signal: str, cause: str, *, recovered: bool = False) -> Verdict:
    evidence: dict[str, Any] = {CAUSE: {"name": cause, "text": "so it seems", "signal": INCOME}}
    return Verdict(kind, signal, "e_detector", Severity.CRITICAL, 1_012, 0.0, 1_000, 0.0, evidence, recovered=recovered)


def test_a_replay_asks_again_about_what_broken_data_explained_once_it_is_none() -> None:
    would_train = WouldTrain(load({}))
    income, error = verdict(Kind.DRIFT, INCOME, "data_broken"), verdict(Kind.CONCEPT, "error", "unknown")
    over = verdict(Kind.PERFORMANCE, "accuracy", "unknown")
    assert [would_train("loans", one) for one in (income, error, over, replace(over, recovered=True))] == [False] * 4
    renamed = Renamed(Kind.DRIFT, INCOME, 1_012, 1_000, 1_040, {"name": "covariate_shift", "text": "it has moved"})
    assert would_train.rename("others", renamed) == 0
    assert would_train.rename("loans", renamed) == 1, "the error's, and not that of what is over"
    assert would_train.rename("loans", renamed) == 0, "it is asked for once"


def test_a_replay_does_not_train_on_what_turns_out_to_be_broken() -> None:
    would_train = WouldTrain(load({}))
    would_train("loans", verdict(Kind.DRIFT, INCOME, "covariate_shift"))
    broken = {"name": "data_broken", "text": "in another unit", "signal": INCOME}
    would_train.rename("loans", Renamed(Kind.DRIFT, INCOME, 1_012, 1_000, 1_040, broken))
    assert not would_train("loans", verdict(Kind.CONCEPT, "error", "unknown"))
