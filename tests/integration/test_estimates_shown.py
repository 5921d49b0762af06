"""Estimates as they are shown: by HTTP as the description says, as metrics, and in words on the model's page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from http_daemon import running
from page_server import serving
from seeded_estimates import report, seed_estimate
from test_page_text import fetch

from daemon.web.estimates import shown

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_model_and_the_metrics_say_what_was_estimated(tmp_path: Path) -> None:
    async with running(tmp_path, seeded=True) as daemon:
        _, model = await daemon.get("/v1/models/loans")
        assert model["estimate"] is None, "nothing is stored where it is switched off"
        found = report()
        await seed_estimate(daemon.store, "loans", found)
        _, model = await daemon.get("/v1/models/loans")
        assert model["estimate"] == found
        assert (model["estimate"]["value"], model["estimate"]["real"]) == (0.806, None)
        assert model["estimate"]["checked"]["real"] == pytest.approx(0.835)
        _, status = await daemon.get("/v1/status")
        assert [one["estimate"] for one in status["models"] if one["model"] == "loans"] == [found]
        _, points = await daemon.get("/v1/models/loans/signals?signal=estimate&limit=2")
        assert [one["row"] for one in points["items"]] == [24_999, 24_499]
        async with daemon.client.get("/metrics") as answer:
            told = await answer.text()
        for line in (
            'driftd_estimated_performance{metric="accuracy",model="loans"} 0.806',
            'driftd_estimated_performance_bound{bound="low",metric="accuracy",model="loans"} 0.776',
            'driftd_estimated_performance_bound{bound="high",metric="accuracy",model="loans"} 0.836',
            'driftd_estimate_trusted{model="loans"} 1.0',
        ):
            assert line in told


async def test_the_page_says_what_is_missing_what_is_estimated_and_what_is_not_to_be_trusted(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, store):
        assert "estimate-title" not in (await fetch(server, "/models/loans"))[1]
        await seed_estimate(store, "churn", report(learned=False))
        _, page = await fetch(server, "/models/churn")
        assert "Learning from labels: 312 of 2,000 so far." in page
        await seed_estimate(store, "loans", report())
        _, page = await fetch(server, "/models/loans")
        assert "Accuracy, estimated for rows 24,500 to 24,999" in page
        assert "77.6\N{EN DASH}83.6%" in page
        assert "Not to be trusted" not in page
        await seed_estimate(store, "fraud", report(distrusted=True))
        _, page = await fetch(server, "/models/fraud")
        assert "Not to be trusted since row 22,300" in page
        assert "Learning anew from later labels: 312 of 2,000 so far." in page


def test_what_the_labels_say_is_held_against_the_interval() -> None:
    found = report()
    words = shown(found)
    assert words is not None
    assert words.checked is not None
    assert (words.checked.real, words.checked.held) == ("83.5%", True)
    found["checked"]["real"] = 0.7
    words = shown(found)
    assert words is not None
    assert words.checked is not None
    assert not words.checked.held
    assert shown(None) is None
