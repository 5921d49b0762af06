"""The registry names that settings may choose from.

Those of the trainers and deployers are spelt out, because importing them costs what only a retrain should pay.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from daemon.settings import DetectorChoice, Problem, Settings, SettingsError, check_choices
from detectors.parameters import WrongParameter, read
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
    problems = [*_wrong_parameters("DRIFTD_DETECTORS", settings.detectors, ())]
    for key, model in settings.models.items():
        problems += _wrong_parameters(f"DRIFTD_MODELS__{key.upper()}__DETECTORS", model.detectors, settings.detectors)
    if problems:
        raise SettingsError(problems)


def _wrong_parameters(
    variable: str, chosen: Sequence[DetectorChoice], told: Sequence[DetectorChoice]
) -> Iterator[Problem]:
    """What is wrong in what detectors are told; of those ``told`` already it has been said."""
    for name, times in Counter(one.name for one in set(chosen)).items():
        if times > 1:
            yield Problem(variable, None, f"a list that names {name} once", "it is there with different parameters")
    for one in chosen:
        parameters = DETECTORS[one.name].parameters if one.name in DETECTORS else ()
        try:
            read(one.name, parameters, dict(one.options))
        except WrongParameter as wrong:
            if one not in told:
                yield Problem(variable, str(one), wrong.accepts, wrong.hint)
