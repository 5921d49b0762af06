"""What docs/deploy and systemd/ hold can be started: the files are well-formed, and go with the code and each other."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from deployment import ALERTS, COMPOSE, DASHBOARD, DEPLOY, ROOT, document, instruction, settings_of, unknown_variables

from daemon.settings import Settings

STACK = document(COMPOSE)
SERVICES: dict[str, Any] = STACK["services"]
WORKERS = {name: one for name, one in SERVICES.items() if name.startswith("worker-")}
ASKED = document(COMPOSE.parent / "prometheus.yml")
SECRETS_FOLDER = "/run/secrets/"

ALONE, SEVERAL = ROOT / "systemd" / "driftd.service", ROOT / "systemd" / "driftd@.service"
PAGES = [*DEPLOY.rglob("*.md"), ROOT / "docs" / "several-workers.md", ROOT / "docs" / "sizing.md"]
FILES = [path for path in (*DEPLOY.rglob("*"), *(ROOT / "systemd").iterdir(), *PAGES[-2:]) if path.is_file()]


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def address(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url)
    return parts.hostname, parts.port


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """The files that the page says are to be made."""
    for name in STACK["secrets"]:
        (tmp_path / name).write_text(f"made up as {name}\n")
    return tmp_path


# all files


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_variable_of_ours_is_a_setting(path: Path) -> None:
    assert list(unknown_variables(path.read_text())) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_page_links_to_or_tells_to_run_is_there(page: Path) -> None:
    text = page.read_text()
    links = [page.parent / link for link in re.findall(r"\]\(([\w@./-]+)(?:#[\w-]+)?\)", text)]
    named = [ROOT / name for name in re.findall(r"\b((?:bench|tests|systemd|docs)/[\w@./-]+\w)", text)]
    assert [str(path) for path in links + named if not path.exists()] == []
    assert links


# Compose


def test_the_compose_file_is_one() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_every_image_is_pinned_to_a_release() -> None:
    images = [one["image"] for one in SERVICES.values() if "build" not in one]
    assert len(images) == 4
    assert [image for image in images if not re.search(r":v?\d+\.\d+(\.\d+)?$", image)] == []


def test_nothing_is_published_beyond_this_host() -> None:
    published = [port for one in SERVICES.values() for port in one.get("ports", [])]
    assert len(published) == len(set(published)) == 5
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_everything_starts_again_and_says_how_it_is() -> None:
    assert {one["restart"] for one in SERVICES.values()} == {"unless-stopped"}
    # the workers' check is the image's
    assert {name for name, one in SERVICES.items() if "healthcheck" not in one} == set(WORKERS)
    assert instruction("HEALTHCHECK")


def test_the_workers_wait_for_what_they_need() -> None:
    for worker in WORKERS.values():
        assert {name: one["condition"] for name, one in worker["depends_on"].items()} == {
            "kafka": "service_healthy",
            "postgres": "service_healthy",
        }


def test_the_workers_settings_are_those_of_several_that_share_the_work(secrets: Path) -> None:
    assert len(WORKERS) == 2
    for worker in WORKERS.values():
        settings = settings_of(worker["environment"], secrets)
        assert settings.archive_url is not None
        assert settings.kafka.partitions >= len(WORKERS)
        # whoever listens on every address asks for a token
        assert settings.api_token is not None
        assert settings.ingest_token is not None
        assert "made%20up%20as%20database_password" in settings.store_url


def test_addresses_are_those_of_the_services(secrets: Path) -> None:
    kafka, postgres = SERVICES["kafka"]["environment"], SERVICES["postgres"]["environment"]
    assert len(str(kafka["CLUSTER_ID"])) == 22  # 16 bytes
    for worker in WORKERS.values():
        settings = settings_of(worker["environment"], secrets)
        broker = "{}:{}".format(*address(settings.broker))
        assert f"INSIDE://{broker}" in kafka["KAFKA_ADVERTISED_LISTENERS"].split(",")
        assert broker.replace("kafka", "INSIDE://") in kafka["KAFKA_LISTENERS"].split(",")
        store = urlsplit(settings.store_url)
        assert (store.hostname, store.port) == ("postgres", 5432)
        assert (store.username, store.path) == (postgres["POSTGRES_USER"], f"/{postgres['POSTGRES_DB']}")
        assert [port.split(":")[-1] for port in worker["ports"]] == [str(settings.http_port)]
    assert f"HOST://{SERVICES['kafka']['ports'][0].rpartition(':')[0]}" in kafka["KAFKA_ADVERTISED_LISTENERS"]
    # the address in alerts is the one that is published
    public = address(settings.public_url or "")
    assert "{}:{}:{}".format(*public, settings.http_port) in WORKERS["worker-1"]["ports"]


def test_prometheus_asks_every_worker_and_grafana_asks_prometheus() -> None:
    (job,) = ASKED["scrape_configs"]
    assert "metrics_path" not in job  # the usual one, which is ours
    port = Settings().http_port
    assert job["static_configs"][0]["targets"] == [f"{name}:{port}" for name in WORKERS]
    (source,) = document(COMPOSE.parent / "grafana" / "datasource.yaml")["datasources"]
    assert address(source["url"]) == ("prometheus", 9090)
    assert SERVICES["prometheus"]["ports"] == ["127.0.0.1:9090:9090"]


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Where in the container what lies: by its path there."""
    return {place: source for source, place, *_ in (one.split(":") for one in service.get("volumes", []))}


def test_what_is_mounted_is_there() -> None:
    named = {source for one in SERVICES.values() for source in mounts(one).values() if not source.startswith(".")}
    assert named == set(STACK["volumes"])
    files = [source for one in SERVICES.values() for source in mounts(one).values() if source.startswith(".")]
    assert [file for file in files if not (COMPOSE.parent / file).exists()] == []


def test_what_prometheus_and_grafana_look_for_is_mounted_there() -> None:
    rules = mounts(SERVICES["prometheus"])["/etc/prometheus/rules"]
    assert ASKED["rule_files"] == [f"rules/{ALERTS.name}"]
    assert (COMPOSE.parent / rules / ALERTS.name).resolve() == ALERTS
    (provider,) = document(COMPOSE.parent / "grafana" / "dashboards.yaml")["providers"]
    boards = mounts(SERVICES["grafana"])[provider["options"]["path"]]
    assert (COMPOSE.parent / boards / DASHBOARD.name).resolve() == DASHBOARD
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/{DASHBOARD.name}"


def test_each_worker_has_a_data_folder_of_its_own_and_all_share_the_archive() -> None:
    data = [mounts(worker)["/data"] for worker in WORKERS.values()]
    assert len(set(data)) == len(WORKERS)
    assert "DRIFTD_DATA_DIR=/data" in instruction("ENV")
    for worker in WORKERS.values():
        assert mounts(worker)[worker["environment"]["DRIFTD_ARCHIVE_URL"]] == "archive"
        # nothing else can be written to
        assert worker["read_only"]
        assert worker["tmpfs"] == ["/tmp"]  # noqa: S108 (of the container)


def test_a_new_volume_belongs_to_the_user_of_the_image() -> None:
    folders = re.findall(r"install -d -o driftd -g driftd -m 0750 (.*?)(?: &&|$)", instruction("RUN"))
    assert folders == ["/data /archive"]
    assert {worker["environment"]["DRIFTD_ARCHIVE_URL"] for worker in WORKERS.values()} == {"/archive"}


def test_a_stop_gives_each_worker_longer_than_it_gives_itself(secrets: Path) -> None:
    for worker in WORKERS.values():
        assert seconds(worker["stop_grace_period"]) > settings_of(worker["environment"], secrets).shutdown_seconds


def test_every_secret_is_a_file_that_git_does_not_see_and_that_the_page_says_how_to_make() -> None:
    page = (DEPLOY / "README.md").read_text()
    used = {name for one in SERVICES.values() for name in one.get("secrets", [])}
    assert used == set(STACK["secrets"])
    for name, one in STACK["secrets"].items():
        assert one == {"file": f"./secrets/{name}"}
        assert name in page
    for service in SERVICES.values():
        files = [value for key, value in service.get("environment", {}).items() if key.endswith("_FILE")]
        assert {Path(file).name for file in files} == set(service.get("secrets", []))
        assert all(file.startswith(SECRETS_FOLDER) for file in files)


@pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="this is no clone")
def test_git_does_not_see_secrets() -> None:
    path = COMPOSE.parent / "secrets" / "api_token"
    assert subprocess.run(["git", "check-ignore", "--quiet", path], cwd=ROOT, check=False).returncode == 0


# systemd


def lines(unit: Path) -> set[str]:
    return {line for line in unit.read_text().splitlines() if line and not line.startswith("#")}


def test_the_unit_of_several_workers_differs_where_it_has_to_and_is_hardened_alike() -> None:
    alone, several = lines(ALONE), lines(SEVERAL)
    assert {line.partition("=")[0] for line in alone - several} == {
        "Description",
        "EnvironmentFile",
        "Environment",
        "StateDirectory",
        "WorkingDirectory",
    }
    assert {line.partition("=")[0] for line in several - alone} == {
        "Description",
        "EnvironmentFile",
        "Environment",
        "StateDirectory",
        "WorkingDirectory",
        "User",
    }


def test_each_instance_has_its_own_settings_and_its_own_folder() -> None:
    unit = SEVERAL.read_text()
    files = re.findall(r"^EnvironmentFile=(.*)$", unit, re.MULTILINE)
    assert files == ["/etc/driftd/driftd.env", "/etc/driftd/%i.env"]  # the last one counts
    (folders,) = re.findall(r"^StateDirectory=(.*)$", unit, re.MULTILINE)
    own, shared = folders.split()
    assert "%i" in own
    assert "%i" not in shared
    (environment,) = re.findall(r"^Environment=(.*)$", unit, re.MULTILINE)
    assert environment.split() == [f"DRIFTD_DATA_DIR=%S/{own}", f"HOME=%S/{own}", f"DRIFTD_ARCHIVE_URL=%S/{shared}"]
    assert re.findall(r"^WorkingDirectory=(.*)$", unit, re.MULTILINE) == [f"%S/{own}"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
def test_systemd_understands_an_instance(tmp_path: Path) -> None:
    (tmp_path / "driftd@.service").write_text(SEVERAL.read_text().replace("/opt/driftd/bin/python", sys.executable))
    command = ["systemd-analyze", "verify", str(tmp_path / "driftd@2.service")]
    verified = subprocess.run(command, capture_output=True, text=True, check=False)
    ours = [line for line in verified.stderr.splitlines() if "driftd" in line]
    assert (verified.returncode, ours) == (0, [])
