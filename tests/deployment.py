"""The files of docs/deploy as data, and the settings that a worker finds there."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from daemon.settings import ModelSettings, Settings, load
from daemon.settings.names import Names

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "docs" / "deploy"
COMPOSE = DEPLOY / "compose" / "compose.yaml"
KUBERNETES = DEPLOY / "kubernetes"
DASHBOARD = DEPLOY / "grafana" / "driftd.json"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
DOCKERFILE = ROOT / "Dockerfile"

NAMES = Names(Settings, ModelSettings)


def document(path: Path) -> Any:
    """What a file of YAML or JSON holds."""
    return json.loads(path.read_text()) if path.suffix == ".json" else yaml.safe_load(path.read_text())


def documents(path: Path) -> list[Any]:
    """What a file of several YAML documents holds."""
    return list(yaml.safe_load_all(path.read_text()))


def instruction(name: str) -> str:
    """The last instruction of that name in the Dockerfile."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE.read_text().replace("\\\n", " "), re.MULTILINE)[-1]


def settings_of(environment: Mapping[str, Any], secrets: Path) -> Settings:
    """What a worker makes of an environment whose secrets lie in the folder ``secrets`` instead."""
    return load({name: _moved(name, str(value), secrets) for name, value in environment.items()})


def _moved(name: str, value: str, secrets: Path) -> str:
    if name == "CREDENTIALS_DIRECTORY":
        return str(secrets)
    return str(secrets / Path(value).name) if name.endswith("_FILE") else value


def unknown_variables(text: str) -> Iterator[str]:
    """The variables of ours that a text names and that are no setting."""
    for variable in sorted(set(re.findall(r"\bDRIFTD_[A-Z][A-Z0-9_]*[A-Z0-9]\b(?!_\*)", text))):
        name = NAMES.find(variable.removesuffix("_FILE"))
        if name is None or (variable.endswith("_FILE") and not name.secret):
            yield variable
