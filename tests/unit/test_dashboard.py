"""The dashboard and the alerts ask for metrics that there are, by labels that they have."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
from deployment import ALERTS, COMPOSE, DASHBOARD, document
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from daemon.metrics import TABLE, Kind, Metrics

BOARD = document(DASHBOARD)
PANELS = [one for one in BOARD["panels"] if one["type"] != "row"]
RULES = [rule for group in document(ALERTS)["groups"] for rule in group["rules"]]

OF_PROMETHEUS = {"job", "instance"}
"""Labels that every series is given."""


def of_the_process() -> set[str]:
    """What the Prometheus client tells of the process by itself."""
    text = Metrics().exposition("text/plain")[0].decode()
    return {name for name in re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE) if not name.startswith("driftd_")}


def series() -> dict[str, set[str]]:
    """The labels of each series, by its name."""
    found = {name: set() for name in {"up", *of_the_process()}}
    for metric in TABLE:
        labels = set(metric.labels)
        if metric.kind is Kind.HISTOGRAM:
            found |= {f"{metric.name}_{part}": labels for part in ("sum", "count")}
            found[f"{metric.name}_bucket"] = {*labels, "le"}
        else:
            found[metric.name] = labels
    return {name: labels | OF_PROMETHEUS for name, labels in found.items()}


SERIES = series()


def queries() -> Iterator[tuple[str, str, str]]:
    """Of each query where it stands, its text, and how its lines are called."""
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target.get("legendFormat", "")
    for rule in RULES:
        yield rule["alert"], rule["expr"], " ".join(rule["annotations"].values())


QUERIES = list(queries())


def parsed(query: str) -> Any:
    return promql_parser.parse(query.replace("$__rate_interval", "5m").replace("$model", ".*"))


def selectors(part: Any) -> Iterator[tuple[str, set[str]]]:
    """Name and labels of everything that a query asks for."""
    for name, matchers in re.findall(r"\b([a-z_:]+)(?:\{([^}]*)\})?(?=[\[\s),]|$)", part):
        if name in SERIES or name.startswith(("driftd_", "process_")):
            yield name, set(re.findall(r"(\w+)\s*[=!]~?", matchers))


@pytest.mark.parametrize(("place", "query", "legend"), QUERIES, ids=[f"{one[0]}: {one[1][:60]}" for one in QUERIES])
def test_a_query_asks_for_what_there_is(place: str, query: str, legend: str) -> None:
    parsed(query)
    asked = list(selectors(query))
    assert asked, place
    for name, labels in asked:
        assert name in SERIES
        assert labels <= SERIES[name]
    grouped = {label for found in re.findall(r"\bby \(([^)]*)\)", query) for label in re.split(r",\s*", found)}
    had = set.intersection(*(SERIES[name] for name, _ in asked))
    assert grouped <= had
    # a line is called by what is left of the labels
    left = grouped - {"le"} if re.search(r"\b(sum|max)\b", query) else had
    assert set(re.findall(r"\{\{ ?(?:\$labels\.)?(\w+) ?\}\}", legend)) <= left


def test_the_dashboard_is_what_grafana_takes() -> None:
    """Read and written again by the types of Grafana nothing is lost: it holds no field that Grafana does not know."""
    register_default_plugins()
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(BOARD)))
    assert list(lost(BOARD, again)) == []


def lost(ours: Any, theirs: Any, place: str = "") -> Iterator[str]:
    """The places at which something is not as it was."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name, value in ours.items():
            yield from lost(value, theirs.get(name, "nothing"), f"{place}/{name}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from lost(one, other, f"{place}/{number}")
    elif ours != theirs:
        yield f"{place}: {ours!r} became {theirs!r}"


def test_panels_lie_beside_and_below_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not taken & cells, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_every_metric_of_a_model_can_be_narrowed_down_to_some_models() -> None:
    of_models = [
        (query, labels)
        for panel in PANELS
        for query in (target["expr"] for target in panel["targets"])
        for name, labels in selectors(query)
        if "model" in SERIES[name]
    ]
    assert of_models
    assert [query for query, labels in of_models if "model" not in labels] == []


def test_what_is_rare_is_drawn_as_it_stands() -> None:
    """The first alarm makes the series, at 1: to Prometheus that is no increase, and a rate would show nothing."""
    rare = {"driftd_alarms_total", "driftd_decisions_total", "driftd_retrains_total", "driftd_promotions_total"}
    drawn = [target["expr"] for panel in PANELS for target in panel["targets"]]
    found = [query for query in drawn if rare & {name for name, _ in selectors(query)}]
    assert len(found) == len(rare)
    assert [query for query in found if re.search(r"rate|increase", query)] == []


def test_the_dashboard_asks_the_source_that_is_chosen_first_ours() -> None:
    variables = {one["name"]: one for one in BOARD["templating"]["list"]}
    assert set(variables) == {"datasource", "model"}
    (source,) = document(COMPOSE.parent / "grafana" / "datasource.yaml")["datasources"]
    assert variables["datasource"]["current"]["value"] == source["uid"]
    assert variables["datasource"]["query"] == source["type"]
    assert list(selectors(variables["model"]["query"])) == [("driftd_events_total", set())]
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${datasource}"}
    assert {target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]} == {"${datasource}"}


def test_an_alert_has_what_an_alert_may_have() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert set(rule) - {"for"} == {"alert", "expr", "labels", "annotations"}, rule["alert"]
        assert re.fullmatch(r"\d+m", rule.get("for", "0m"))
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not on this machine")
def test_prometheus_takes_the_alerts() -> None:
    checked = subprocess.run(["promtool", "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
