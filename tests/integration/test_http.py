"""The HTTP interface over a socket, in front of a real store and a real log of events."""

# ruff: noqa: ARG002 (the recorder takes what the interface gives)

from __future__ import annotations

import asyncio
import gzip
import json
import re
import socket
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import pytest
from seeded_store import NOW, make_store
from sqlalchemy import insert

from daemon import event
from daemon.metrics import Metrics
from daemon.stores import tables
from daemon.transports.base import BacklogLimits
from daemon.transports.errors import LogFull
from daemon.transports.event_log import EventLog
from daemon.web import Access, CannotListen, Context, Limits, NoSuch, Refused, build, serve
from daemon.web.openapi import document
from daemon.web.routes import ROUTES
from daemon.web.schemas import SCHEMAS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from daemon.stores.engine import Store
    from daemon.web.server import Server

EVENT = {"model": "loans", "id": "8c1f", "features": {"age": 41}, "prediction": 1}
TOKEN = {"Authorization": "Bearer right"}
OPEN = Access(api_token="right")


@dataclass
class Recorder:
    """Does nothing, and remembers what was asked of it."""

    asked: list[tuple[Any, ...]] = field(default_factory=list)

    async def retrain(self, model: str, *, by: str, reason: str) -> Mapping[str, Any]:
        self.asked.append(("retrain", model, by, reason))
        return {"job": 7}

    async def rollback(self, model: str, *, by: str, reason: str) -> Mapping[str, Any]:
        raise Refused("already_running", "a retrain of this model is under way", "wait until it has ended")

    async def promote(self, model: str, version: str, *, by: str, reason: str) -> Mapping[str, Any]:
        if version != "3":
            raise NoSuch
        self.asked.append(("promote", model, version, by))
        return {"version": version}

    async def acknowledge(self, model: str, alarm: int, *, by: str) -> Mapping[str, Any]:
        self.asked.append(("acknowledge", model, alarm, by))
        return {"alarm": alarm}

    async def silence(self, model: str, *, signal: str | None, until: float, by: str, reason: str) -> Mapping[str, Any]:
        self.asked.append(("silence", model, signal, until))
        return {"silence": 1}

    async def approve(self, model: str, approval: str, *, approved: bool, by: str, reason: str) -> Mapping[str, Any]:
        self.asked.append(("approve", model, approval, approved))
        return {"version": approval}

    async def set_reference(self, model: str, task: str | None, references: Any, *, by: str) -> Mapping[str, Any]:
        self.asked.append(("reference", model, task, sorted(references)))
        return {"model": model}

    async def resend(self, letters: Any, *, by: str) -> Mapping[str, Any]:
        self.asked.append(("resend", letters))
        return {"resent": 1}


@dataclass
class Daemon:
    """A server with what is behind it."""

    client: aiohttp.ClientSession
    server: Server
    store: Store
    log: EventLog
    actions: Recorder
    metrics: Metrics

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        async with self.client.get(path, **options) as answer:
            return answer.status, await answer.json(content_type=None)

    async def post(self, path: str, body: Any = b"", **options: Any) -> tuple[int, Any]:
        data = body if isinstance(body, bytes | str) else json.dumps(body)
        async with self.client.post(path, data=data, **options) as answer:
            return answer.status, await answer.json(content_type=None)

    async def stored(self) -> list[tuple[bytes, int]]:
        return [(one.value, one.events) for one in await self.log.read("driftd.events", 0, 0, 100, 1 << 30)]


@asynccontextmanager
async def running(
    folder: Path, *, seeded: bool = False, backlog: BacklogLimits | None = None, **settings: Any
) -> AsyncIterator[Daemon]:
    store = await make_store(folder, seeded=seeded)
    log = await EventLog.open(folder, backlog)
    actions, metrics = Recorder(), Metrics()

    async def append(topic: str, value: bytes, events: int) -> object:
        return await log.append(topic, value, events, timestamp=NOW)

    context = Context(store, append, event.check, actions, metrics, clock=lambda: NOW)
    server = await serve(build(replace(context, **settings)), "127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(server.url) as client:
            yield Daemon(client, server, store, log, actions, metrics)
    finally:
        await server.stop()
        await log.close()
        await store.close()


class TestEvents:
    @pytest.mark.parametrize(
        ("body", "headers", "accepted"),
        [
            (json.dumps(EVENT), {"Content-Type": "application/json"}, 1),
            (json.dumps(EVENT, indent=2), {"Content-Type": "application/json"}, 1),
            (json.dumps([EVENT] * 3), {"Content-Type": "application/json"}, 3),
            ("\n".join([json.dumps(EVENT)] * 4), {"Content-Type": "application/x-ndjson"}, 4),
            (json.dumps(EVENT), {"Content-Type": "application/x-www-form-urlencoded"}, 1),
            (gzip.compress(json.dumps(EVENT).encode()), {"Content-Encoding": "gzip"}, 1),
            (
                json.dumps({"specversion": "1.0", "id": "1", "source": "/a", "type": "prediction", "data": EVENT}),
                {"Content-Type": "application/cloudevents+json"},
                1,
            ),
            (
                json.dumps(EVENT),
                {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/a", "ce-type": "prediction"},
                1,
            ),
        ],
        ids=["object", "pretty object", "array", "ndjson", "curl -d", "gzip", "cloud event", "binary cloud event"],
    )
    async def test_are_taken_and_stored_before_the_answer(
        self, tmp_path: Path, body: Any, headers: dict[str, str], accepted: int
    ) -> None:
        async with running(tmp_path) as daemon:
            status, answer = await daemon.post("/v1/events", body, headers=headers)
            assert (status, answer) == (202, {"accepted": accepted, "rejected": 0, "errors": []})
            [(value, events)] = await daemon.stored()
            assert events == accepted
            assert event.check(value).accepted == accepted

    async def test_bad_lines_are_stored_with_the_good_ones_and_named(self, tmp_path: Path) -> None:
        body = b'{"model": "loans", "prediction": 1}\noops\n{"type": "label", "label": 1}\n'
        async with running(tmp_path) as daemon:
            status, answer = await daemon.post("/v1/events", body)
            assert status == 202
            assert (answer["accepted"], answer["rejected"]) == (1, 2)
            assert [error["line"] for error in answer["errors"]] == [1, 2]
            assert await daemon.stored() == [(body, 3)]

    async def test_at_most_twenty_errors_are_named(self, tmp_path: Path) -> None:
        async with running(tmp_path) as daemon:
            _, answer = await daemon.post("/v1/events", b"oops\n" * 300)
            assert (answer["rejected"], len(answer["errors"])) == (300, 20)

    async def test_nothing_is_a_bad_request_with_an_example(self, tmp_path: Path) -> None:
        async with running(tmp_path) as daemon:
            status, problem = await daemon.post("/v1/events", b" \n")
            assert (status, problem["type"]) == (400, "urn:driftd:problem:empty-body")
            assert event.check(json.dumps(problem["example"]).encode()).accepted == 1
            assert await daemon.stored() == []

    async def test_too_much_is_refused_as_sent_and_once_decompressed(self, tmp_path: Path) -> None:
        limits = Limits(body_bytes=10_000, decompressed_bytes=50_000)
        async with running(tmp_path, limits=limits) as daemon:
            status, problem = await daemon.post("/v1/events", b"x" * 10_001)
            assert (status, problem["limit"]) == (413, 10_000)

            async def slowly() -> AsyncIterator[bytes]:
                for _ in range(11):
                    yield b"x" * 1_000

            async with daemon.client.post("/v1/events", data=slowly()) as answer:
                assert answer.status == 413
            bomb = gzip.compress(bytes(5_000_000))
            status, problem = await daemon.post("/v1/events", bomb, headers={"Content-Encoding": "gzip"})
            assert (status, problem["limit"]) == (413, 50_000)
            assert await daemon.stored() == []

    async def test_a_body_that_never_ends_is_given_up(self, tmp_path: Path) -> None:
        async with running(tmp_path, limits=Limits(body_seconds=0.05)) as daemon:
            reader, writer = await asyncio.open_connection("127.0.0.1", daemon.server.port)
            writer.write(b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            assert b" 408 " in await reader.readline()
            writer.close()

    async def test_senders_are_told_to_slow_down(self, tmp_path: Path) -> None:
        async with running(tmp_path, backlog=BacklogLimits(events=3)) as daemon:
            lines = b'{"prediction": 1}\n' * 2
            assert (await daemon.post("/v1/events", lines))[0] == 202
            assert (await daemon.post("/v1/events", lines))[0] == 202
            async with daemon.client.post("/v1/events", data=lines) as answer:
                assert answer.status == 429
                assert int(answer.headers["Retry-After"]) >= 1
                assert (await answer.json(content_type=None))["type"] == "urn:driftd:problem:slow-down"

    async def test_a_full_disk_and_a_stopping_daemon_say_try_again(self, tmp_path: Path) -> None:
        async def full(topic: str, value: bytes, events: int) -> object:
            raise LogFull("the disk is full")

        async with (
            running(tmp_path, append=full) as daemon,
            daemon.client.post("/v1/events", data=json.dumps(EVENT)) as answer,
        ):
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        async with running(tmp_path, stopping=lambda: True) as daemon:
            status, problem = await daemon.post("/v1/events", EVENT)
            assert (status, problem["type"]) == (503, "urn:driftd:problem:stopping")
            assert (await daemon.get("/readyz"))[0] == 503

    async def test_need_the_ingest_token_where_one_is_set(self, tmp_path: Path) -> None:
        async with running(tmp_path, access=Access(api_token="right", ingest_token="in")) as daemon:
            assert (await daemon.post("/v1/events", EVENT))[0] == 401
            assert (await daemon.post("/v1/events", EVENT, headers=TOKEN))[0] == 401
            assert (await daemon.post("/v1/events", EVENT, headers={"Authorization": "Bearer in"}))[0] == 202


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
        import numpy as np

        from detectors.columns import Columns, Stream
        from detectors.reference import Reference

        columns = Columns(Stream.FEATURES, np.arange(50), np.arange(50.0), {"feature:age": np.arange(50.0)})
        law = Reference.learn(columns).to_dict()
        async with running(tmp_path, access=OPEN) as daemon:
            for streams, status in (({"features": law}, 200), ({"features": {"version": 0}}, 400), ({}, 400)):
                body = msgspec.msgpack.encode({"task": "binary", "streams": streams})
                headers = {**TOKEN, "Content-Type": "application/msgpack"}
                async with daemon.client.put("/v1/models/new/reference", data=body, headers=headers) as answer:
                    assert answer.status == status
            assert daemon.actions.asked == [("reference", "new", "binary", ["features"])]


class TestGuard:
    @pytest.mark.parametrize("host", ["evil.example", "evil.example:6066", "[::", "127.0.0.1.evil.example", ""])
    async def test_another_name_for_this_machine_is_turned_away(self, tmp_path: Path, host: str) -> None:
        async with running(tmp_path) as daemon:
            status, problem = await daemon.get("/v1/status", headers={"Host": host})
            assert (status, problem["type"]) == (421, "urn:driftd:problem:wrong-host")

    async def test_its_own_names_and_the_public_one_are_let_in(self, tmp_path: Path) -> None:
        async with running(tmp_path, access=Access(public_url="https://drift.example/")) as daemon:
            for host in ("localhost", "LOCALHOST:6066", "127.0.0.1:1", "[::1]:6066", "drift.example"):
                assert (await daemon.get("/livez", headers={"Host": host}))[0] == 200

    @pytest.mark.parametrize(
        "headers",
        [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
    )
    async def test_a_page_of_another_site_cannot_send_events(self, tmp_path: Path, headers: dict[str, str]) -> None:
        async with running(tmp_path) as daemon:
            status, problem = await daemon.post("/v1/events", EVENT, headers=headers)
            assert (status, problem["type"]) == (403, "urn:driftd:problem:cross-site")
            assert await daemon.stored() == []

    async def test_every_answer_is_hardened(self, tmp_path: Path) -> None:
        async with running(tmp_path) as daemon:
            for path in ("/", "/v1/status", "/nothing", "/static/live.js"):
                async with daemon.client.get(path) as answer:
                    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
                    assert "unsafe" not in answer.headers["Content-Security-Policy"]
                    assert answer.headers["X-Content-Type-Options"] == "nosniff"
                    assert "Access-Control-Allow-Origin" not in answer.headers


class TestReading:
    async def test_the_status_of_a_model_is_that_of_the_store(self, tmp_path: Path) -> None:
        async with running(tmp_path, seeded=True, lag=lambda: 42) as daemon:
            _, one = await daemon.get("/v1/models/loans")
            assert (one["state"], one["version"], one["lag"]) == ("retraining", "3", 42)
            assert one["events"] == {"prediction": 26_000, "features": 0, "label": 13_000}
            assert (one["joined"], one["waiting"], one["dead_letters"]) == (12_990, 13_000, 2)
            assert (one["alarms"], one["retrains"]) == ({"open": 3, "total": 4}, {"running": 1, "total": 3})
            _, everything = await daemon.get("/v1/status")
            assert one in everything["models"]
            _, learning = await daemon.get("/v1/models/uplift%20%3Cb%3Etest%3C%2Fb%3E")
            assert (learning["state"], learning["performance"]) == ("learning", None)

    @pytest.mark.parametrize(
        ("path", "total"),
        [
            ("/v1/models", 5),
            ("/v1/models/loans/signals?signal=error", 48),
            ("/v1/models/loans/alarms", 4),
            ("/v1/models/loans/decisions", 3),
            ("/v1/models/loans/retrains", 3),
            ("/v1/models/loans/versions", 3),
            ("/v1/dead-letters", 7),
        ],
    )
    async def test_pages_hold_every_item_once_in_either_order(self, tmp_path: Path, path: str, total: int) -> None:
        async with running(tmp_path, seeded=True) as daemon:
            join = "&" if "?" in path else "?"
            found: dict[str, list[str]] = {}
            for order in ("asc", "desc"):
                cursor, items = "", []
                while True:
                    _, page = await daemon.get(f"{path}{join}limit=2&order={order}{cursor}")
                    assert page["total"] == total
                    items += [json.dumps(item) for item in page["items"]]
                    if page["next"] is None:
                        break
                    cursor = f"&cursor={page['next']}"
                found[order] = items
            assert len(set(found["asc"])) == total
            assert found["asc"] == found["desc"][::-1]

    async def test_a_page_goes_on_where_it_ended_while_more_arrives(self, tmp_path: Path) -> None:
        async with running(tmp_path, seeded=True) as daemon:
            _, first = await daemon.get("/v1/dead-letters?limit=3")
            async with daemon.store.begin() as connection:
                await connection.execute(
                    insert(tables.dead_letters).values(
                        topic="t", partition=1, offset=1, line=0, reason="new", detail="", body=b"\xff", at=NOW
                    )
                )
            _, second = await daemon.get(f"/v1/dead-letters?limit=3&cursor={first['next']}")
            assert [item["id"] for item in first["items"] + second["items"]] == [7, 6, 5, 4, 3, 2]

    @pytest.mark.parametrize(
        ("query", "total"),
        [
            ("alarms?state=open", 3),
            ("alarms?state=open&kind=drift", 1),
            ("alarms?severity=critical", 1),
            ("signals?signal=score&since_row=20000&until_row=21000", 2),
            ("retrains?outcome=promote", 1),
            ("versions?state=champion", 1),
            ("decisions?reason=error_rose", 1),
        ],
    )
    async def test_filters_narrow(self, tmp_path: Path, query: str, total: int) -> None:
        async with running(tmp_path, seeded=True) as daemon:
            _, page = await daemon.get(f"/v1/models/loans/{query}")
            assert page["total"] == total == len(page["items"])

    @pytest.mark.parametrize(
        "query",
        ["limit=0", "limit=1001", "limit=x", "order=up", "cursor=x", "cursor=%FF", "stat=open", "state=ajar"],
    )
    async def test_a_query_that_makes_no_sense_says_what_would(self, tmp_path: Path, query: str) -> None:
        async with running(tmp_path, seeded=True) as daemon:
            status, problem = await daemon.get(f"/v1/models/loans/alarms?{query}")
            assert status == 400
            assert problem["hint"]

    async def test_a_cursor_is_good_for_its_own_list_only(self, tmp_path: Path) -> None:
        async with running(tmp_path, seeded=True) as daemon:
            _, page = await daemon.get("/v1/models/loans/alarms?limit=1")
            for path in ("loans/decisions?", "churn/alarms?", "loans/alarms?state=open&"):
                status, problem = await daemon.get(f"/v1/models/{path}limit=1&cursor={page['next']}")
                assert (status, problem["type"]) == (400, "urn:driftd:problem:bad-cursor")

    async def test_what_is_not_there_names_what_is_near(self, tmp_path: Path) -> None:
        async with running(tmp_path, seeded=True) as daemon:
            assert "loans" in (await daemon.get("/v1/models/loan"))[1]["hint"]
            assert "/v1/models" in (await daemon.get("/v1/model"))[1]["hint"]
            async with daemon.client.delete("/v1/status") as answer:
                assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
                assert answer.content_type == "application/problem+json"

    async def test_health_says_what_it_waits_for(self, tmp_path: Path) -> None:
        async with running(tmp_path, not_ready=lambda: "loading state", not_alive=lambda: "no progress") as daemon:
            assert (await daemon.get("/readyz"))[1]["detail"] == "loading state"
            assert (await daemon.get("/livez"))[1]["detail"] == "no progress"

    async def test_metrics_count_requests_by_template(self, tmp_path: Path) -> None:
        async with running(tmp_path, seeded=True) as daemon:
            for name in ("loans", "churn", "nobody"):
                await daemon.get(f"/v1/models/{name}")
            await daemon.get("/anything/at/all")
            async with daemon.client.get("/metrics") as answer:
                text = await answer.text()
            for labels, value in (
                ('route="/v1/models/{model}",status="200"', "2.0"),
                ('route="/v1/models/{model}",status="404"', "1.0"),
                ('route="unmatched",status="404"', "1.0"),
            ):
                assert f'driftd_http_requests_total{{method="GET",{labels}}} {value}' in text
            assert "anything" not in text

    async def test_a_store_that_is_gone_is_no_internal_error(self, tmp_path: Path) -> None:
        async with running(tmp_path) as daemon:
            async with daemon.store.begin() as connection:
                await connection.run_sync(tables.counters.drop)
            status, problem = await daemon.get("/v1/status")
            assert (status, problem["type"]) == (503, "urn:driftd:problem:store-unavailable")


class TestDescription:
    async def test_the_document_has_every_route_and_no_other(self, tmp_path: Path) -> None:
        async with running(tmp_path) as daemon:
            app = daemon.server._runner.app
            served = {
                (route.method.lower(), resource.canonical)
                for resource in app.router.resources()
                for route in resource
                if route.method != "HEAD"
            }
            _, described = await daemon.get("/openapi.json")
            assert described["openapi"] == "3.1.0"
            assert {(method, path) for path, one in described["paths"].items() for method in one} == served

    async def test_what_is_answered_is_what_is_described(self, tmp_path: Path) -> None:
        async with running(tmp_path, seeded=True) as daemon:
            for route in ROUTES:
                if route.method != "GET" or "/" in route.answers or route.name == "openapi":
                    continue
                path = route.path.replace("{model}", "loans")
                status, answer = await daemon.get(path)
                assert status == 200
                assert list(faults(answer, SCHEMAS[route.answers], path)) == []
            _, problem = await daemon.get("/nothing")
            assert list(faults(problem, SCHEMAS["Problem"], "problem")) == []

    def test_the_examples_are_what_they_show(self) -> None:
        def check(node: Any) -> None:
            if isinstance(node, dict):
                if "example" in node and "$ref" in node.get("schema", {}):
                    assert list(faults(node["example"], node["schema"], "example")) == []
                for value in node.values():
                    check(value)
            elif isinstance(node, list):
                for value in node:
                    check(value)

        check(document(ROUTES, "1")["paths"])


TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": int | float,
    "boolean": bool,
    "null": type(None),
}


def faults(value: Any, schema: dict[str, Any], where: str) -> Any:
    """Where ``value`` is not what ``schema`` says, for the few words that our schemas use."""
    if "$ref" in schema:
        yield from faults(value, SCHEMAS[schema["$ref"].rsplit("/", 1)[1]], where)
        return
    allowed = schema.get("type", list(TYPES))
    allowed = [allowed] if isinstance(allowed, str) else allowed
    if not any(
        isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool)) for kind in allowed
    ):
        yield f"{where}: {value!r} is no {allowed}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is none of {schema['enum']}"
    if isinstance(value, dict) and "properties" in schema:
        yield from (f"{where}: {name} is missing" for name in schema.get("required", ()) if name not in value)
        for name, one in value.items():
            if name in schema["properties"]:
                yield from faults(one, schema["properties"][name], f"{where}.{name}")
            elif where != "problem":
                yield f"{where}: {name} is not described"
    if isinstance(value, list) and "items" in schema:
        for i, one in enumerate(value):
            yield from faults(one, schema["items"], f"{where}[{i}]")


class TestServing:
    async def test_a_port_in_use_says_what_to_type(self, tmp_path: Path) -> None:
        async with running(tmp_path) as daemon:
            port = daemon.server.port
            with pytest.raises(CannotListen, match=f"DRIFTD_HTTP_PORT={port + 1}"):
                await serve(aiohttp.web.Application(), "127.0.0.1", port)
        with pytest.raises(CannotListen, match="DRIFTD_HTTP_HOST"):
            await serve(aiohttp.web.Application(), "192.0.2.1", 0)

    async def test_stopping_takes_no_longer_than_it_may(self, tmp_path: Path) -> None:
        async with running(tmp_path) as daemon:
            with socket.create_connection(("127.0.0.1", daemon.server.port)) as idle:
                idle.sendall(b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
                await asyncio.sleep(0)
                started = time.monotonic()
                await daemon.server.stop(0.2)
                assert time.monotonic() - started < 1

    async def test_files_are_kept_by_browsers_until_they_change(self, tmp_path: Path) -> None:
        async with running(tmp_path) as daemon:
            async with daemon.client.get("/") as answer:
                page = await answer.text()
            links = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
            assert len(links) >= 5
            for link in links:
                async with daemon.client.get(link) as answer:
                    assert answer.status == 200
                    assert "immutable" in answer.headers["Cache-Control"]
                async with daemon.client.get(link, headers={"If-None-Match": answer.headers["ETag"]}) as again:
                    assert again.status == 304
                async with daemon.client.get(link.split("?")[0]) as answer:
                    assert answer.headers["Cache-Control"] == "no-cache"
            for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/none.js"):
                async with daemon.client.get(path) as answer:
                    assert answer.status == 404
