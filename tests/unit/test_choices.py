"""A setting can name every part that there is, and no other."""

import pytest

from daemon.choices import DEPLOYERS, TRAINERS, check
from daemon.settings import SettingsError, load
from retrain import deployers, trainers


def test_every_trainer_and_deployer_can_be_chosen() -> None:
    assert set(trainers.TRAINERS) == set(TRAINERS)
    assert set(deployers.DEPLOYERS) == set(DEPLOYERS)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("DRIFTD_DETECTORS", "adwim"), ("DRIFTD_RETRAIN__TRAINER", "sklaern"), ("DRIFTD_DEPLOY__DEPLOYER", "simlink")],
)
def test_a_name_that_no_registry_has_is_refused_with_the_nearest(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match="the nearest is"):
        check(load({variable: value}))


def test_parameters_that_no_detector_would_be_told_are_refused() -> None:
    with pytest.raises(SettingsError, match="without parameters"):
        check(load({"DRIFTD_DETECTORS": "default,adwin(delta=0.01)"}))
