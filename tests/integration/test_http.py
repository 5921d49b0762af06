"""Events by HTTP, who is let in, and a server that starts and stops as it should."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import socket
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from http_daemon import EVENT, TOKEN, running

from daemon.events import event
from daemon.transports.base import BacklogLimits
from daemon.transports.errors import LogFull
from daemon.web import Access, CannotListen, Limits, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


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
