"""What deployers are told."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DeployerSettings:
    """Settings of all deployers; each takes what it needs."""

    directory: Path | None = None
    """Where ``symlink`` keeps ``MODEL/current``."""
    command: tuple[str, ...] | None = None
    """What ``command`` runs."""
    url: str | None = None
    """Where ``webhook`` posts; may hold a token and so is never shown."""
    token: str | None = None
    """What ``webhook`` proves itself with."""
    work: Path | None = None
    """A folder for the output of commands; the system's temporary folder otherwise."""
    timeout_seconds: float = 120.0
    """A deployment that takes longer has failed."""
