"""The registry names that settings may choose from.

Those of the trainers and deployers are spelt out, because importing them costs what only a retrain should pay.
"""

from collections.abc import Mapping
from typing import Final

from daemon.settings import Problem, Settings, SettingsError, check_choices
from detectors.registry import DETECTORS

TRAINERS: Final = ("command", "sklearn")
DEPLOYERS: Final = ("command", "none", "symlink", "webhook")

CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "detectors": (*DETECTORS, "default"),
    "retrain.trainer": TRAINERS,
    "deploy.deployer": DEPLOYERS,
}


def check(settings: Settings) -> None:
    """Raise SettingsError where a setting names something that there is not."""
    check_choices(settings, CHOICES)
    chosen = {one for each in (settings, *settings.models.values()) for one in each.detectors}
    told = sorted(str(one) for one in chosen if one.options)
    if told:
        accepts = "names of detectors, without parameters"
        raise SettingsError(
            [Problem("DRIFTD_DETECTORS", one, accepts, "leave out what is in brackets") for one in told]
        )
