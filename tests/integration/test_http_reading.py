"""What can be read by HTTP, and whether it is what the description says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from http_daemon import running
from seeded_fleet import seed_fleet
from seeded_store import NOW
from sqlalchemy import insert

from daemon.stores import tables
from daemon.web.openapi import document
from daemon.web.routes import ROUTES
from daemon.web.schemas import SCHEMAS

if TYPE_CHECKING:
    from pathlib import Path


class TestReading:
    async def test_the_status_of_a_model_is_that_of_the_store(self, tmp_path: Path) -> None:
        async with running(tmp_path, seeded=True, lag=lambda: 42) as daemon:
            _, one = await daemon.get("/v1/models/loans")
            assert (one["state"], one["version"], one["lag"]) == ("retraining", "3", 42)
            assert one["events"] == {"prediction": 26_000, "features": 0, "label": 13_000}
            assert (one["joined"], one["waiting"], one["dead_letters"]) == (12_990, 13_000, 2)
            assert (one["alarms"], one["retrains"]) == ({"open": 3, "total": 4}, {"running": 1, "total": 3})
            names = [figure["metric"] for figure in one["performance"]["metrics"]]
            assert names == ["accuracy", "f1", "auc", "log_loss", "rms_calibration_error"]
            assert (one["performance"]["positive"], one["performance"]["metrics"][2]["low"]) == ("1", 0.856)
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
            await seed_fleet(daemon.store)
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
