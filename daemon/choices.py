"""The registry names that settings may choose from.

Those of the trainers and deployers are spelt out, because importing them costs what only a retrain should pay.
"""

from collections.abc import Mapping
from typing import Final

from detectors.registry import DETECTORS

TRAINERS: Final = ("command", "sklearn")
DEPLOYERS: Final = ("command", "none", "symlink", "webhook")

CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "detectors": (*DETECTORS, "default"),
    "retrain.trainer": TRAINERS,
    "deploy.deployer": DEPLOYERS,
}
