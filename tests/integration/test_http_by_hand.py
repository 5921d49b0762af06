"""What people can change by HTTP, with the right token only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from http_daemon import OPEN, TOKEN, running
from seeded_store import NOW

from daemon.web import Access
from daemon.web.routes import ROUTES
from detectors.columns import Columns, Stream
from detectors.reference import Reference

if TYPE_CHECKING:
    from pathlib import Path


class TestByHand:
    CALLS = (
        ("/v1/models/loans/retrain", {"by": "ana", "reason": "why not"}, 202, ("retrain", "loans", "ana", "why not")),
        ("/v1/models/loans/versions/3/promote", None, 200, ("promote", "loans", "3", "api")),
        ("/v1/models/loans/alarms/2/ack", {}, 200, ("acknowledge", "loans", 2, "api")),
        ("/v1/models/loans/silences", {"hours": 2, "signal": "score"}, 201, ("silence", "loans", "score", NOW + 7_200)),
        ("/v1/models/loans/approvals/4", {"approved": False}, 200, ("approve", "loans", "4", False)),
        ("/v1/dead-letters/resend", None, 202, ("resend", None)),
        ("/v1/dead-letters/resend", {"ids": [1, 2]}, 202, ("resend", [1, 2])),
        ("/v1/dead-letters/5/resend", None, 202, ("resend", [5])),
    )

    async def test_what_is_asked_reaches_the_daemon(self, tmp_path: Path) -> None:
        async with running(tmp_path, seeded=True, access=OPEN) as daemon:
            for path, body, expected, asked in self.CALLS:
                status, _ = await daemon.post(path, b"" if body is None else body, headers=TOKEN)
                assert (path, status, daemon.actions.asked[-1]) == (path, expected, asked)

    async def test_without_a_configured_token_nothing_can_be_changed(self, tmp_path: Path) -> None:
        async with running(tmp_path, seeded=True) as daemon:
            for route in ROUTES:
                if route.method == "GET" or route.path == "/v1/events":
                    continue
                path = re.sub(r"\{\w+\}", "1", route.path)
                async with daemon.client.request(route.method, path, headers=TOKEN) as answer:
                    problem = await answer.json(content_type=None)
                assert (path, answer.status) == (path, 403)
                assert "DRIFTD_API_TOKEN" in problem["hint"]
            assert daemon.actions.asked == []

    @pytest.mark.parametrize(
        "header", [None, "right", "Basic right", "Bearer wrong", "Bearer", "Bearer rightx", "Bearer \xff"]
    )
    async def test_a_wrong_token_is_no_token(self, tmp_path: Path, header: str | None) -> None:
        async with running(tmp_path, seeded=True, access=OPEN) as daemon:
            headers = {} if header is None else {"Authorization": header}
            async with daemon.client.post("/v1/models/loans/retrain", headers=headers) as answer:
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert daemon.actions.asked == []

    async def test_the_token_in_the_data_folder_is_as_good(self, tmp_path: Path) -> None:
        async with running(tmp_path, seeded=True, access=Access(local_token="right")) as daemon:
            assert (await daemon.post("/v1/models/loans/retrain", headers=TOKEN))[0] == 202
            assert (await daemon.post("/v1/models/loans/retrain", headers={"Authorization": "Bearer x"}))[0] == 403

    @pytest.mark.parametrize(
        ("path", "body", "status"),
        [
            ("/v1/models/loans/rollback", None, 409),
            ("/v1/models/loan/retrain", None, 404),
            ("/v1/models/loans/versions/9/promote", None, 404),
            ("/v1/models/loans/alarms/x/ack", None, 404),
            ("/v1/models/loans/silences", {}, 400),
            ("/v1/models/loans/silences", {"hours": -1}, 400),
            ("/v1/models/loans/silences", {"until": 5}, 400),
            ("/v1/models/loans/retrain", b"[1", 400),
            ("/v1/models/loans/retrain", {"who": "ana"}, 400),
        ],
    )
    async def test_what_cannot_be_done_says_why_and_what_to_type(
        self, tmp_path: Path, path: str, body: Any, status: int
    ) -> None:
        async with running(tmp_path, seeded=True, access=OPEN) as daemon:
            found, problem = await daemon.post(path, b"" if body is None else body, headers=TOKEN)
            assert found == status
            assert problem["detail"]
            assert problem["hint"]

    async def test_a_reference_can_be_set_before_the_first_event(self, tmp_path: Path) -> None:
        columns = Columns(Stream.FEATURES, np.arange(50), np.arange(50.0), {"feature:age": np.arange(50.0)})
        law = Reference.learn(columns).to_dict()
        async with running(tmp_path, access=OPEN) as daemon:
            for streams, status in (({"features": law}, 200), ({"features": {"version": 0}}, 400), ({}, 400)):
                body = msgspec.msgpack.encode({"task": "binary", "streams": streams})
                headers = {**TOKEN, "Content-Type": "application/msgpack"}
                async with daemon.client.put("/v1/models/new/reference", data=body, headers=headers) as answer:
                    assert answer.status == status
            assert daemon.actions.asked == [("reference", "new", "binary", ["features"])]
