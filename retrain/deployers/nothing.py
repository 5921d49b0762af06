"""No deployment: the registry is where the service, or a person, finds the new version."""

from pathlib import Path

from retrain.base import Deployed
from retrain.deployers.settings import DeployerSettings


class NoDeployer:
    """Changes nothing."""

    name = "none"

    def __init__(self, settings: DeployerSettings) -> None:
        """Needs no setting."""
        del settings

    def deploy(self, model: str, version: str, path: Path) -> Deployed:
        """See ``Deployer``."""
        return Deployed(model, version, str(path), changed=False, detail="left in the registry")

    def given(self, model: str) -> None:
        """See ``Deployer``."""
        del model

    def restore(self, model: str, version: str, given: str | None) -> Deployed:
        """See ``Deployer``."""
        return Deployed(model, version, given or "", changed=False, detail="left to the service")
