"""A setting can name every part that there is, and no other."""

from dataclasses import replace

import numpy as np
import pytest

from daemon.choices import DEPLOYERS, TRAINERS, check
from daemon.monitoring.monitors import make_monitor
from daemon.monitoring.window import Window
from daemon.settings import SettingsError, load
from detectors.columns import Columns, Stream
from detectors.reference import Reference
from detectors.registry import DETECTORS
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


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("adwin(delt=0.01)", "adwin with any of clock, delta, .*; the nearest to delt is delta"),
        ("adwin(delta=2)", r"adwin\(delta=2\): must be adwin with delta as a number from 1e-12 to 0.5"),
        ("adwin(clock=1.5)", "clock as a whole number from 1 to 10000"),
        ("adwin(clock=true)", "clock as a whole number"),
        ("adwin(delta=small)", "delta as a number"),
        ("hddm_w(two_sided_test=1)", "two_sided_test as true or false"),
        ("e_detector(delta=0.1)", "e_detector alone, which has no parameters"),
        ("adwin,adwin(delta=0.1)", "names adwin once"),
    ],
)
def test_a_parameter_that_a_detector_cannot_be_told_is_refused_with_what_it_takes(value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=f"DRIFTD_DETECTORS.*{said}"):
        check(load({"DRIFTD_DETECTORS": value}))
    with pytest.raises(SettingsError, match=f"^DRIFTD_MODELS__LOANS__DETECTORS.*{said}"):
        check(load({"DRIFTD_MODELS__LOANS__DETECTORS": value}))


def test_what_is_wrong_for_all_models_is_said_once() -> None:
    with pytest.raises(SettingsError) as refused:
        check(load({"DRIFTD_DETECTORS": "adwin(delta=2)", "DRIFTD_MODELS__LOANS__MIN_EFFECT": "1"}))
    assert len(refused.value.problems) == 1


@pytest.mark.parametrize("name", [name for name, spec in DETECTORS.items() if spec.parameters])
def test_every_parameter_of_every_detector_can_be_given_up_to_its_limits(name: str) -> None:
    rows = Columns(Stream.OUTCOME, np.arange(200), np.arange(200.0), {"error": np.arange(200) % 2.0})
    for parameter in DETECTORS[name].parameters:
        flag = isinstance(parameter.default, bool)
        for value in (True, False) if flag else (parameter.least, parameter.most, parameter.default):
            told = str(value).lower()
            settings = load({"DRIFTD_DETECTORS": f"{name}({parameter.name}={told})"})
            check(settings)
            monitor = make_monitor("loans", settings)
            for stream in DETECTORS[name].streams:
                window = monitor.windows[stream]
                window.adopt(Reference.learn(replace(rows, stream=stream)))
                assert [detector.name for detector in window.detectors] == [name]
                window.take(replace(rows, stream=stream))
                window.judge()


def test_a_detector_with_other_parameters_starts_afresh_and_one_with_the_same_goes_on() -> None:
    rows = Columns(Stream.OUTCOME, np.arange(200), np.arange(200.0), {"error": np.arange(200) % 2.0})
    reference = Reference.learn(rows)

    def window(value: str) -> Window:
        made = make_monitor("loans", load({"DRIFTD_DETECTORS": value})).windows[Stream.OUTCOME]
        made.adopt(reference)
        return made

    before = window("adwin(delta=0.01),ddm")
    before.take(rows)
    before.judge()
    assert window("adwin(delta=0.010),ddm").restore(reference, before.state()) == []
    assert window("adwin(delta=0.02),ddm").restore(reference, before.state()) == ["adwin"]
    assert window("adwin,ddm").restore(reference, before.state()) == ["adwin"]
