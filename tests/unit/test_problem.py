"""What the HTTP interface makes of bodies, errors and names, part by part."""

from __future__ import annotations

import gzip
import json
import zlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import metrics
from daemon.lifecycle.policy import Action, Reason, Trigger
from daemon.lifecycle.promotion import VersionState
from daemon.lifecycle.standing import ModelState
from daemon.metrics import TABLE, Metrics
from daemon.web import drawing, going_on, words
from daemon.web.body import Room, _decoder
from daemon.web.context import Access
from daemon.web.guard import is_loopback
from daemon.web.lines import lines
from daemon.web.openapi import document
from daemon.web.problem import Problem, ProblemKind
from daemon.web.routes import ROUTES
from daemon.web.schemas import SCHEMAS
from retrain.base import Outcome, Stage

if TYPE_CHECKING:
    from enum import StrEnum

JSON = "application/json"
EVENTS: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    st.dictionaries(st.text(max_size=8), st.none() | st.booleans() | st.integers() | st.text(), max_size=4),
    min_size=1,
    max_size=8,
)


def decoded(body: bytes) -> list[Any]:
    return [json.loads(line) for line in body.split(b"\n") if line.strip()]


class TestProblem:
    def test_says_what_is_wrong_and_what_to_type(self) -> None:
        response = Problem(HTTPStatus.CONFLICT, ProblemKind.REFUSED, "no", hint="say please", reason="held").response()
        assert response.content_type == "application/problem+json"
        assert json.loads(response.body) == {
            "type": "urn:driftd:problem:refused",
            "title": "Conflict",
            "status": 409,
            "detail": "no",
            "hint": "say please",
            "reason": "held",
        }

    def test_the_access_of_a_daemon_does_not_print_its_tokens(self) -> None:
        assert "secret" not in repr(Access(api_token="secret", ingest_token="secret", local_token="secret"))


class TestLines:
    def test_ndjson_passes_as_it_is(self) -> None:
        body = b'{"a": 1}\n\n{"b":  2}\r\n'
        assert lines(body, "application/x-ndjson", {}) is body

    @given(EVENTS)
    def test_an_array_and_its_lines_are_the_same_events(self, events: list[dict[str, Any]]) -> None:
        compact = lines(json.dumps(events).encode(), JSON, {})
        pretty = lines(json.dumps(events, indent=2).encode(), JSON, {})
        assert decoded(compact) == decoded(pretty) == events
        assert compact.count(b"\n") == pretty.count(b"\n") == len(events) - 1

    @given(st.dictionaries(st.text(min_size=1), st.integers() | st.text(), min_size=1))
    def test_an_object_over_several_lines_becomes_one(self, event: dict[str, Any]) -> None:
        line = lines(json.dumps(event, indent=4).encode(), JSON, {})
        assert b"\n" not in line
        assert json.loads(line) == event

    def test_a_broken_object_over_several_lines_is_one_bad_line(self) -> None:
        assert lines(b'{\n  "a": 1,\n  "b": \n}', JSON, {}).count(b"\n") == 0

    def test_ndjson_that_begins_badly_keeps_its_lines(self) -> None:
        assert lines(b'{"a": \n{"b": 2}\n{"c": 3}', JSON, {}).count(b"\n") == 2

    @pytest.mark.parametrize("body", [b"", b"  \n\t\r\n"])
    def test_nothing_is_answered_with_an_example(self, body: bytes) -> None:
        with pytest.raises(Problem) as error:
            lines(body, JSON, {})
        assert error.value.status == 400
        assert "prediction" in error.value.hint

    @pytest.mark.parametrize("body", [b"[", b'[{"a": 1}', b"[] []", b"[]"])
    def test_an_array_that_is_broken_or_empty_is_refused_as_a_whole(self, body: bytes) -> None:
        with pytest.raises(Problem) as error:
            lines(body, JSON, {})
        assert error.value.status == 400

    def test_what_cannot_be_events_is_refused_by_its_type(self) -> None:
        with pytest.raises(Problem) as error:
            lines(b"--x", "multipart/form-data", {})
        assert error.value.status == 415

    def test_a_cloud_event_in_binary_mode_becomes_an_envelope(self) -> None:
        headers = {"ce-specversion": "1.0", "Ce-Id": "8c1f", "ce-source": "/a%20b", "Host": "x"}
        assert json.loads(lines(b' {"a":\n 1}', JSON, headers)) == {
            "specversion": "1.0",
            "id": "8c1f",
            "source": "/a b",
            "datacontenttype": JSON,
            "data": {"a": 1},
        }


class TestDecompression:
    @pytest.mark.parametrize(
        ("name", "compress"),
        [
            ("gzip", gzip.compress),
            ("deflate", zlib.compress),
            ("deflate", lambda data: (c := zlib.compressobj(wbits=-15)).compress(data) + c.flush()),
            ("gzip", lambda data: gzip.compress(data[:5]) + gzip.compress(data[5:])),
        ],
        ids=["gzip", "zlib", "raw deflate", "two members"],
    )
    def test_gives_back_what_was_sent(self, name: str, compress: Any) -> None:
        data = b'{"model": "loans"}\n' * 100
        assert _decoder(name)(compress(data), len(data)) == data

    @pytest.mark.parametrize("name", ["gzip", "deflate"])
    def test_stops_one_byte_after_the_limit(self, name: str) -> None:
        bomb = (gzip.compress if name == "gzip" else zlib.compress)(bytes(50_000_000))
        with pytest.raises(Problem) as error:
            _decoder(name)(bomb, 1_000_000)
        assert error.value.status == 413
        assert error.value.members["limit"] == 1_000_000

    @pytest.mark.parametrize(
        "body",
        [b"no gzip", gzip.compress(b"x" * 100)[:-9], gzip.compress(b"x") + b"rest"],
        ids=["none", "cut off", "rest"],
    )
    def test_says_that_damaged_data_is_damaged(self, body: bytes) -> None:
        with pytest.raises(Problem) as error:
            _decoder("gzip")(body, 1_000)
        assert error.value.status == 400

    def test_names_the_encodings_that_it_knows(self) -> None:
        with pytest.raises(Problem) as error:
            _decoder("br")
        assert error.value.status == 415
        assert "gzip" in error.value.headers["Accept-Encoding"]


async def test_room_for_bodies_is_given_back_and_never_refuses_the_only_one() -> None:
    room = Room(100)
    async with room.hold(5_000):
        assert room.held == 5_000
    assert room.held == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_is_recognised(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.2", "::", "example.org", ""])  # noqa: S104
def test_what_others_can_reach_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


class TestOpenAPI:
    def test_every_reference_leads_somewhere(self) -> None:
        made = json.dumps(document(ROUTES, "1"))
        named = {part.split('"')[0] for part in made.split("#/components/schemas/")[1:]}
        assert named <= set(SCHEMAS)
        assert set(SCHEMAS) - named <= {"Event"}, "a schema that nothing uses"

    def test_names_are_unique_and_paths_declare_their_parameters(self) -> None:
        assert len({route.name for route in ROUTES}) == len(ROUTES)
        for path, operations in document(ROUTES, "1")["paths"].items():
            for operation in operations.values():
                declared = [one["name"] for one in operation["parameters"] if one["in"] == "path"]
                assert declared == [part.split("}")[0] for part in path.split("{")[1:]]
                assert len({one["name"] for one in operation["parameters"]}) == len(operation["parameters"])

    def test_is_valid_by_the_specification(self) -> None:
        validator = pytest.importorskip("openapi_spec_validator", reason="no openapi-spec-validator")
        validator.validate(json.loads(json.dumps(document(ROUTES, "1"))))


class TestMetrics:
    def test_names_follow_the_conventions(self) -> None:
        for metric in TABLE:
            assert metric.name.startswith("driftd_")
            assert metric.name.endswith("_total") == (metric.kind is metrics.Kind.COUNTER), metric.name
            assert metric.help.endswith("."), metric.name
        assert len({metric.name for metric in TABLE}) == len(TABLE)

    def test_models_beyond_the_most_are_counted_together(self) -> None:
        made = Metrics(most_models=2)
        for name in ("a", "b", "c", "d", "a"):
            made.add(metrics.EVENTS, 10, name, "prediction")
        shown = made.exposition("")[0].decode()
        assert 'driftd_events_total{model="a",type="prediction"} 20.0' in shown
        assert 'driftd_events_total{model="other",type="prediction"} 20.0' in shown
        assert 'model="c"' not in shown

    def test_all_of_them_can_be_used_as_the_table_says(self) -> None:
        made = Metrics()
        use = {metrics.Kind.COUNTER: made.add, metrics.Kind.GAUGE: made.set, metrics.Kind.HISTOGRAM: made.observe}
        for metric in TABLE:
            use[metric.kind](metric, 1, *("x" for _ in metric.labels))
        shown = made.exposition("")[0].decode()
        assert all(metric.name in shown for metric in TABLE)


class TestWords:
    @pytest.mark.parametrize(
        ("seconds", "said"),
        [(0, "just now"), (12, "12 s ago"), (200, "3 min ago"), (7_300, "2 h ago"), (400_000, "5 days ago")],
    )
    def test_how_long_ago(self, seconds: float, said: str) -> None:
        assert words.ago(1e9 - seconds, 1e9) == said

    def test_bins_of_numbers_are_named_shortly(self) -> None:
        assert words.shorter("-0.249887 to 0.00746309") == "-0.25 to 0.0075"
        assert words.shorter("1.2e-05 to 1234.567") == "1.2e-05 to 1,235"
        assert words.shorter("missing") == "missing"

    def test_times_out_of_all_bounds_do_not_break_the_page(self) -> None:
        for ts in (-1e18, 1e18, 0.0, 4_102_444_800.0):
            assert words.moment(ts, 1e9)

    @pytest.mark.parametrize(
        ("names", "said"),
        [
            (ModelState, words.STATES),
            (Action, words.ACTIONS),
            (Reason, words.REASONS),
            (Trigger, words.TRIGGERS),
            (Outcome, words.OUTCOMES),
            (VersionState, words.VERSIONS),
            (Stage, going_on.STAGES),
        ],
    )
    def test_everything_that_is_stored_has_its_words(self, names: type[StrEnum], said: dict[str, Any]) -> None:
        assert set(said) == {name.value for name in names}

    def test_a_decision_is_a_sentence_even_with_a_reason_not_known_here(self) -> None:
        assert words.decided("wait", "moon_phase", {}) == "Retrain, but not yet: moon phase."
        fields = {"version": "4", "previous": "3", "text": "gain 0.1"}
        assert words.decided("promote", "gain_proven", fields) == "Version 4 passed the gate: gain 0.1."
        assert words.decided("promoted", "passed", fields) == "Version 4 is in service instead of 3."
        assert words.decided("retrain", "error_rose", {}) == "Retrain: the model errs more than its reference."


class TestDrawing:
    @given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1e3), st.floats(0, 1e3)), min_size=2, max_size=30))
    def test_a_line_stays_within_its_picture(self, values: list[tuple[float, float, float]]) -> None:
        points = [drawing.Point(i, v, v - below, v + above) for i, (v, below, above) in enumerate(values)]
        made = drawing.spark(points, None, [(0, "alarm", ""), (99, "alarm", "")])
        assert made is not None
        numbers = [
            float(n) for n in (made.line + made.band).replace("M", " ").replace("L", " ").replace("Z", "").split()
        ]
        assert all(-0.1 <= x <= drawing.SPARK_WIDTH + 0.1 for x in numbers[::2])
        assert all(-0.1 <= y <= drawing.SPARK_HEIGHT + 0.1 for y in numbers[1::2])
        assert len(made.marks) == 1

    @given(st.lists(st.integers(0, 1_000), min_size=3, max_size=12))
    def test_bars_are_shares_and_fill_the_width(self, counts: list[int]) -> None:
        made = drawing.bars(counts, counts[::-1], [str(i) for i in range(len(counts))])
        assert all(0 <= bar.before <= drawing.BARS_HEIGHT and 0 <= bar.now <= drawing.BARS_HEIGHT for bar in made)
        if made:
            assert made[-1].x + made[-1].width == pytest.approx(drawing.BARS_WIDTH, abs=0.2)
            assert max(max(bar.before, bar.now) for bar in made) == pytest.approx(drawing.BARS_HEIGHT, abs=0.01)
