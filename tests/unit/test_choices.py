"""A setting can name every part that there is, and no other."""

import pytest

from daemon.choices import CHOICES, DEPLOYERS, TRAINERS
from daemon.settings import SettingsError, check_choices, load
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
        check_choices(load({variable: value}), CHOICES)
