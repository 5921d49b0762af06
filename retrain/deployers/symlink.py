"""A folder that always holds the version in service: ``DIRECTORY/MODEL/current``."""

import secrets
from pathlib import Path
from typing import Final

from retrain.base import Deployed, DeployError, DeployReason
from retrain.deployers.settings import DeployerSettings
from retrain.registry import MANIFEST_FILE, safe_name
from retrain.syncing import sync

CURRENT: Final = "current"
PREVIOUS: Final = "previous"
NOTHING: Final = ""
"""What was given to a service that had no link: it served a version of its own."""


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
        return self._switch(model, version, path.resolve())

    def given(self, model: str) -> str | None:
        """The target of the link, or NOTHING where there is none."""
        current = self._directory / safe_name(model) / CURRENT
        try:
            if not current.is_symlink():
                return None if current.exists() else NOTHING
            target = current.parent / current.readlink()
            return None if (target / MANIFEST_FILE).exists() else str(target.absolute())
        except OSError:
            return None  # and what comes next says why

    def restore(self, model: str, version: str, given: str | None) -> Deployed:
        """See ``Deployer``. Where there was no link before, there is none afterwards."""
        folder = self._directory / safe_name(model)
        if given is None:
            message = f"version {version} was not made here, and {folder / CURRENT} never pointed to it"
            hint = f"point {folder / CURRENT} to its files yourself: the daemon sees it in the events"
            raise DeployError(DeployReason.NOT_OURS, message, hint)
        if given == NOTHING:
            return self._switch(model, version, None)
        if not Path(given).exists():
            message = f"version {version} was in {given}, which is gone"
            hint = f"put it there again, then driftd promote {model} {version}"
            raise DeployError(DeployReason.TAMPERED, message, hint)
        return self._switch(model, version, Path(given))

    def _switch(self, model: str, version: str, target: Path | None) -> Deployed:
        folder = self._directory / safe_name(model)
        current = folder / CURRENT
        try:
            folder.mkdir(parents=True, exist_ok=True)
            served = _served(current)
            if served == target:
                return Deployed(model, version, str(current), changed=False)
            if served is not None:
                _point(folder / PREVIOUS, served)
            if target is None:
                current.unlink()
                sync(folder)
            else:
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
    sync(link.parent)
