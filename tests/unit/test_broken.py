"""Broken data and the errors that it can explain."""

from typing import Any

import pytest

from daemon.lifecycle.broken import BrokenData, explains_since


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
