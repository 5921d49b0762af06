"""The user's own way to deploy: any command."""

import tempfile
from pathlib import Path

from retrain import command
from retrain.base import Deployed, DeployError, DeployReason
from retrain.deployers.settings import DeployerSettings


class CommandDeployer:
    """Runs a command with ``DRIFTD_MODEL``, ``DRIFTD_VERSION`` and ``DRIFTD_PATH`` in its environment.

    Exit code 0 says that the version is in service. The command may be run again for a version that already is, and
    must then succeed too. To go back to a version that was not made here it is run with that version's name, with
    ``DRIFTD_ORIGIN=external``, and with a path at which there is nothing.
    """

    name = "command"

    def __init__(self, settings: DeployerSettings) -> None:
        if not settings.command:
            message = "the deployer command has no command to run"
            raise DeployError(DeployReason.BAD_SETTING, message, "set DRIFTD_DEPLOY__COMMAND, such as ./deploy.sh")
        self._arguments = settings.command
        self._seconds = settings.timeout_seconds
        self._work = settings.work

    def deploy(self, model: str, version: str, path: Path) -> Deployed:
        """See ``Deployer``."""
        return self._run(model, version, path.resolve(), "trained")

    def given(self, model: str) -> None:
        """See ``Deployer``."""
        del model

    def restore(self, model: str, version: str, given: str | None) -> Deployed:
        """See ``Deployer``."""
        del given
        return self._run(model, version, None, "external")

    def _run(self, model: str, version: str, path: Path | None, origin: str) -> Deployed:
        with tempfile.TemporaryDirectory(dir=self._work, prefix="deploy-") as folder:
            # a script that would copy from there fails, where an empty text might mean the root of everything
            files = Path(folder) / "not-made-here" if path is None else path
            environment = {"DRIFTD_MODEL": model, "DRIFTD_VERSION": version, "DRIFTD_PATH": str(files)}
            try:
                done = command.run(
                    self._arguments,
                    environment={**environment, "DRIFTD_ORIGIN": origin},
                    seconds=self._seconds,
                    log=Path(folder) / "log",
                )
            except OSError as error:
                message = f"cannot run {self._arguments[0]}: {error.strerror or error}"
                raise DeployError(DeployReason.COMMAND_FAILED, message, "check DRIFTD_DEPLOY__COMMAND") from error
        if done.by is command.Ended.TIME:
            message = f"{self._arguments[0]} took longer than {self._seconds:g} s and was killed\n{done.log}".rstrip()
            raise DeployError(DeployReason.TIMED_OUT, message, "raise DRIFTD_DEPLOY__TIMEOUT_SECONDS if it needs that")
        if done.code:
            how = f"exit code {done.code}" if done.code > 0 else f"signal {-done.code}"
            message = f"{self._arguments[0]} failed with {how}\n{done.log}".rstrip()
            raise DeployError(DeployReason.COMMAND_FAILED, message, "run it by hand with the same three variables")
        return Deployed(model, version, self._arguments[0], changed=True, detail=done.log)
