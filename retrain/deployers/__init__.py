"""How a model reaches its service: one module per deployer."""

from pathlib import Path
from typing import Final, Protocol

from retrain.base import Deployed, Deployer, DeployError, DeployReason
from retrain.deployers.command import CommandDeployer
from retrain.deployers.nothing import NoDeployer
from retrain.deployers.settings import DeployerSettings
from retrain.deployers.symlink import SymlinkDeployer
from retrain.deployers.webhook import WebhookDeployer
from retrain.registry import RegistryError, verify


class DeployerFactory(Protocol):
    """A deployer's class. It raises DeployError for settings that it cannot work with."""

    def __call__(self, settings: DeployerSettings) -> Deployer:
        """The deployer for these settings."""
        ...


DEPLOYERS: Final[dict[str, DeployerFactory]] = {
    "command": CommandDeployer,
    "none": NoDeployer,
    "symlink": SymlinkDeployer,
    "webhook": WebhookDeployer,
}


def make_deployer(name: str, settings: DeployerSettings) -> Deployer:
    """The deployer of that registry name. Raises DeployError."""
    if name not in DEPLOYERS:
        message, hint = f"no deployer is called {name!r}", f"known are {', '.join(sorted(DEPLOYERS))}"
        raise DeployError(DeployReason.BAD_SETTING, message, hint)
    return DEPLOYERS[name](settings)


def deploy(deployer: Deployer, *, model: str, version: str, path: Path, model_hash: str | None = None) -> Deployed:
    """Bring the version in ``path`` into service if its files are those that were evaluated. Raises DeployError.

    Blocks, for as long as the deployer's settings allow. A rollback is this with the former version.
    """
    try:
        manifest = verify(path, model_hash)
    except RegistryError as error:
        hint = "do not serve these files: retrain, or roll back to a version that is whole"
        raise DeployError(DeployReason.TAMPERED, str(error), hint) from error
    except OSError as error:
        raise DeployError(DeployReason.TAMPERED, f"cannot read {path}: {error.strerror}", "check its owner") from error
    if (manifest.model, manifest.version) != (model, version):
        message = f"{path} holds version {manifest.version} of {manifest.model}, not {version} of {model}"
        raise DeployError(DeployReason.TAMPERED, message, "look the version up in the registry again")
    return deployer.deploy(model, version, path)
