"""A folder that always holds the version in service: ``DIRECTORY/MODEL/current``."""

import os
import secrets
from pathlib import Path
from typing import Final

from retrain.base import Deployed, DeployError, DeployReason
from retrain.deployers.settings import DeployerSettings
from retrain.registry import safe_name

CURRENT: Final = "current"
PREVIOUS: Final = "previous"


class SymlinkDeployer:
    """Switches a symbolic link in one step, so that whoever opens it finds the old version or the new one.

    ``previous`` points to what ``current`` pointed to before.
    """

    name = "symlink"

    def __init__(self, settings: DeployerSettings) -> None:
        if settings.directory is None:
            message = "the deployer symlink has no folder to work in"
            raise DeployError(DeployReason.BAD_SETTING, message, "set DRIFTD_DEPLOY__DIRECTORY")
        self._directory = settings.directory

    def deploy(self, model: str, version: str, path: Path) -> Deployed:
        """See ``Deployer``."""
        folder = self._directory / safe_name(model)
        current, target = folder / CURRENT, path.resolve()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            served = _served(current)
            if served == target:
                return Deployed(model, version, str(current), changed=False)
            if served is not None:
                _point(folder / PREVIOUS, served)
            _point(current, target)
        except OSError as error:
            message = f"cannot switch {current}: {error.strerror or error}"
            hint = f"let the daemon's user write to {folder}"
            raise DeployError(DeployReason.NOT_WRITABLE, message, hint) from error
        return Deployed(model, version, str(current), changed=True, detail="" if served is None else f"was {served}")


def _served(current: Path) -> Path | None:
    if current.is_symlink():
        return current.parent / current.readlink()
    if current.exists():
        message = f"{current} is not a symbolic link"
        raise DeployError(DeployReason.NOT_WRITABLE, message, "move it away: the deployer keeps its link there")
    return None


def _point(link: Path, target: Path) -> None:
    """Let ``link`` point to ``target``, in one step and durably."""
    fresh = link.with_name(f".{link.name}-{secrets.token_hex(8)}")
    fresh.symlink_to(target, target_is_directory=True)
    try:
        fresh.replace(link)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    descriptor = os.open(link.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
