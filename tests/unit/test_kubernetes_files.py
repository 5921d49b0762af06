"""The manifests of docs/deploy/kubernetes are valid, and go with the image, the settings and the routes."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from deployment import DEPLOY, KUBERNETES, documents, instruction, settings_of

from daemon.fleet.workers import ALL_ROLES, Role
from daemon.settings import Settings
from daemon.web.routes import ROUTES

OLDEST = "1.30"
"""Its pods can sleep before they stop."""
OF_A_WORKER_MB = 1_024
NOT_OF_KUBERNETES = {"kustomization.yaml", "podmonitor.yaml"}
FILES = sorted(path for path in KUBERNETES.glob("*.yaml") if path.name not in NOT_OF_KUBERNETES)
DOCUMENTS = [(path, one) for path in FILES for one in documents(path)]
CREDENTIALS = ("database_password", "api_token", "ingest_token", "archive_access_key", "archive_secret_key")


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [one for _, one in DOCUMENTS if one["kind"] == kind]


DEPLOYMENTS = of_kind("Deployment")
PODS = [one["spec"]["template"] for one in DEPLOYMENTS]


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (one,) = pod["spec"]["containers"]
    return dict(one)


def variables(pod: dict[str, Any]) -> dict[str, str]:
    """What a pod's environment holds."""
    assert container(pod)["envFrom"] == [{"configMapRef": {"name": "driftd-settings"}}]
    text = (KUBERNETES / "settings.env").read_text()
    given = dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return given | {one["name"]: one["value"] for one in container(pod)["env"]}


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """The keys of the Secret, as Kubernetes mounts them: each a link into a folder that is exchanged as a whole."""
    (tmp_path / "..2026_11_20").mkdir()
    (tmp_path / "..data").symlink_to("..2026_11_20")
    for name in CREDENTIALS:
        (tmp_path / "..2026_11_20" / name).write_text(f"made up as {name}")
        (tmp_path / name).symlink_to(f"..data/{name}")
    return tmp_path


def settings(pod: dict[str, Any], secrets: Path) -> Settings:
    return settings_of(variables(pod), secrets)


# well-formed


@pytest.mark.parametrize("release", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize(("path", "one"), DOCUMENTS, ids=[f"{path.stem}-{one['kind']}" for path, one in DOCUMENTS])
def test_a_manifest_is_one(path: Path, one: dict[str, Any], release: str) -> None:
    kubernetes_validate.validate(one, release, strict=True)


def test_every_manifest_is_applied_but_those_for_an_operator() -> None:
    (kustomization,) = documents(KUBERNETES / "kustomization.yaml")
    assert sorted(kustomization["resources"]) == [path.name for path in FILES]
    assert kustomization["configMapGenerator"] == [{"name": "driftd-settings", "envs": ["settings.env"]}]
    assert kustomization["namespace"] == of_kind("Namespace")[0]["metadata"]["name"]
    assert {container(pod)["image"] for pod in PODS} == {one["name"] for one in kustomization["images"]}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on this machine")
def test_kustomize_puts_them_together() -> None:
    built = subprocess.run(["kubectl", "kustomize", str(KUBERNETES)], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    made = list(yaml.safe_load_all(built.stdout))
    for one in made:
        kubernetes_validate.validate(one, OLDEST, strict=True)
    (config,) = [one["metadata"]["name"] for one in made if one["kind"] == "ConfigMap"]
    for one in made:
        if one["kind"] == "Deployment":
            assert container(one["spec"]["template"])["envFrom"] == [{"configMapRef": {"name": config}}]
            assert ":" in container(one["spec"]["template"])["image"]


# settings


def test_the_settings_are_those_of_several_that_share_the_work(secrets: Path) -> None:
    for pod in PODS:
        found = settings(pod, secrets)
        assert found.broker.startswith("kafka")
        assert found.store_url.startswith("postgresql://driftd:made%20up%20as%20database_password@")
        assert (found.archive_url or "").startswith("s3://")
        assert found.kafka.partitions >= DEPLOYMENTS[0]["spec"]["replicas"]
        assert found.deploy.deployer != "symlink"  # its folder would be that of one pod


def test_every_role_has_somebody(secrets: Path) -> None:
    roles = [settings(pod, secrets).role for pod in PODS]
    assert set().union(*roles) == ALL_ROLES
    # what may not be missing while one is started again
    for one in DEPLOYMENTS:
        if {Role.INGEST, Role.DETECT} & settings(one["spec"]["template"], secrets).role:
            assert one["spec"]["replicas"] > 1


def test_every_key_that_the_page_puts_into_the_secret_is_taken_for_a_setting(secrets: Path) -> None:
    page = (DEPLOY / "README.md").read_text()
    assert tuple(re.findall(r"--from-\w+=(\w+)", page)) == CREDENTIALS
    for pod in PODS:
        found = settings(pod, secrets)
        for name in CREDENTIALS:
            assert getattr(found, name).get_secret_value() == f"made up as {name}"
        (mount,) = [one for one in container(pod)["volumeMounts"] if one["name"] == "secrets"]
        assert mount["mountPath"] == variables(pod)["CREDENTIALS_DIRECTORY"]


def test_kubernetes_adds_no_variable_of_its_own_that_looks_like_ours() -> None:
    # a Service called driftd would be DRIFTD_PORT and more in each pod, which driftd refuses as unknown settings
    assert {one["metadata"]["name"].upper().split("-")[0] for one in of_kind("Service")} == {"DRIFTD"}
    assert [pod["spec"]["enableServiceLinks"] for pod in PODS] == [False] * len(PODS)


# ports and routes


def test_a_probe_asks_for_a_route_that_needs_no_token(secrets: Path) -> None:
    open_to_all = {route.path for route in ROUTES if route.method == "GET" and route.needs == "nothing"}
    for pod in PODS:
        one = container(pod)
        assert one["ports"] == [{"name": "http", "containerPort": settings(pod, secrets).http_port}]
        probes = {name: one[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
        assert {probe["port"] for probe in probes.values()} == {"http"}
        assert {name: probe["path"] for name, probe in probes.items()} == {
            "startup": "/livez",
            "liveness": "/livez",  # not /readyz, which fails while the store is away: starting again would not help
            "readiness": "/readyz",
        }
        assert {probe["path"] for probe in probes.values()} <= open_to_all


def chosen_by(selector: dict[str, str]) -> list[dict[str, Any]]:
    return [pod for pod in PODS if selector.items() <= pod["metadata"]["labels"].items()]


def test_services_and_budget_are_of_pods_that_there_are() -> None:
    services = {one["metadata"]["name"]: one["spec"] for one in of_kind("Service")}
    for spec in services.values():
        (pod,) = chosen_by(spec["selector"])
        assert [port["targetPort"] for port in spec["ports"]] == [one["name"] for one in container(pod)["ports"]]
    # events are taken while the store is away, and then no pod is ready
    assert {name for name, spec in services.items() if spec.get("publishNotReadyAddresses")} == {"driftd-events"}
    (budget,) = of_kind("PodDisruptionBudget")
    (pod,) = chosen_by(budget["spec"]["selector"]["matchLabels"])
    (deployment,) = [one for one in DEPLOYMENTS if one["spec"]["template"] is pod]
    assert deployment["spec"]["replicas"] > budget["spec"]["maxUnavailable"]
    for one in DEPLOYMENTS:
        assert chosen_by(one["spec"]["selector"]["matchLabels"]) == [one["spec"]["template"]]


def test_prometheus_asks_every_pod() -> None:
    (monitor,) = documents(KUBERNETES / "podmonitor.yaml")
    assert chosen_by(monitor["spec"]["selector"]["matchLabels"]) == PODS
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["path"] in {route.path for route in ROUTES}
    assert all(endpoint["port"] in [port["name"] for port in container(pod)["ports"]] for pod in PODS)


# limits


def test_a_stop_gives_each_worker_longer_than_it_gives_itself(secrets: Path) -> None:
    for pod in PODS:
        before = container(pod)["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pod["spec"]["terminationGracePeriodSeconds"] > before + settings(pod, secrets).shutdown_seconds


def test_a_pod_that_trains_may_take_what_a_training_may(secrets: Path) -> None:
    for pod in PODS:
        found = settings(pod, secrets)
        limit = container(pod)["resources"]["limits"]["memory"]
        assert limit.endswith("Gi")
        training = found.retrain.memory_mb if Role.TRAIN in found.role else 0
        assert int(limit[:-2]) * 1024 > training + OF_A_WORKER_MB


def test_a_pod_may_do_no_more_than_it_has_to(secrets: Path) -> None:
    user, group = (int(one) for one in instruction("USER").split(":"))
    for pod in PODS:
        of_pod, of_container = pod["spec"]["securityContext"], container(pod)["securityContext"]
        assert (of_pod["runAsNonRoot"], of_pod["runAsUser"], of_pod["runAsGroup"]) == (True, user, group)
        assert of_pod["fsGroup"] == group  # or it could not write to its data folder
        assert of_container == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        places = {one["mountPath"] for one in container(pod)["volumeMounts"] if not one.get("readOnly")}
        assert places == {"/data", "/tmp"}  # noqa: S108 (of the container)
        assert pod["spec"]["automountServiceAccountToken"] is False
