"""Performance in words: every figure has its name, and says of what it is or why there is none."""

from typing import Any

from daemon.web.schemas import MODEL
from daemon.web.shown import MEANS, NAMES, Figure, shown

LEADING = {"metric": "accuracy", "value": 0.81, "low": 0.79, "high": 0.83, "reference": None, "rows": 900}


def others(*figures: dict[str, Any], positive: str | None = None) -> tuple[Figure, ...]:
    found = shown(LEADING | {"positive": positive, "metrics": [LEADING, *figures]})
    assert found is not None
    return found.others


def figure(metric: str, value: float | None, **more: Any) -> dict[str, Any]:
    ends = {"low": None, "high": None} if value is None else {"low": value - 0.1, "high": value + 0.1}
    return {"metric": metric, "value": value, "rows": 900, "classes": None, "why_not": None} | ends | more


def test_a_mean_over_classes_says_so_and_f1_of_one_class_says_of_which() -> None:
    mean, one = others(figure("f1", 0.5, classes=3))[0], others(figure("f1", 0.5), positive="yes")[0]
    assert (mean.name, mean.of, mean.value, mean.interval) == (
        "F1",
        "mean of 3 classes",
        "0.500",
        "0.400\N{EN DASH}0.600",
    )
    assert one.of == "of yes"


def test_a_figure_that_is_missing_says_why() -> None:
    [found] = others(figure("auc", None, why_not="not enough data: 3 rows of one of the two classes, it takes 10"))
    assert (found.value, found.interval, found.why_not) == ("", "", "3 rows of one of the two classes, it takes 10")


def test_errors_are_written_as_large_as_they_are() -> None:
    [found] = others(figure("rmse", 20_031.4))
    assert found.value == "20,031"


def test_what_an_older_release_stored_has_no_more_than_the_leading_figure() -> None:
    found = shown(LEADING)
    assert found is not None
    assert found.others == ()


def test_every_metric_has_a_name_and_all_but_the_leading_ones_an_explanation() -> None:
    metrics = MODEL["properties"]["performance"]["properties"]["metrics"]["items"]["properties"]["metric"]["enum"]
    assert set(metrics) == NAMES.keys()
    assert NAMES.keys() - MEANS.keys() == {"accuracy", "mae"}
