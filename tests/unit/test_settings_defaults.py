"""The parts have the same defaults as the settings, so that a part tried alone behaves like the daemon."""

from dataclasses import MISSING, fields
from typing import Any

import msgspec
import pytest

from daemon.events.event_rules import EventLimits
from daemon.lifecycle.policy import Rules
from daemon.monitoring.options import MonitorOptions
from daemon.settings import ModelSettings, Settings
from daemon.web.context import Limits
from detectors.registry import Options
from retrain.deployers.settings import DeployerSettings
from retrain.job import GateSettings, TrainerSettings
from retrain.job import Limits as TrainingLimits

MODEL = ModelSettings()


def defaults(part: type) -> dict[str, Any]:
    """A part's own defaults by name."""
    if issubclass(part, msgspec.Struct):
        return {one.name: one.default for one in msgspec.structs.fields(part) if one.default is not msgspec.NODEFAULT}
    return {one.name: one.default for one in fields(part) if one.default is not MISSING}


def alike(value: object) -> object:
    """Values that mean the same: nothing chosen, and sequences of any kind."""
    return sorted(value) or None if isinstance(value, tuple | frozenset) else value


@pytest.mark.parametrize(
    ("part", "settings", "renamed"),
    [
        (
            Rules,
            MODEL.retrain,
            {
                "mode": MODEL.mode,
                "rollback": MODEL.watch.rollback,
                "watch_rows": MODEL.watch.rows,
                "judged_share": MODEL.gate.evaluation_share,
                "judged_rows": MODEL.gate.minimum_rows,
            },
        ),
        (GateSettings, MODEL.gate, {}),
        (TrainerSettings, MODEL.retrain, {"name": MODEL.retrain.trainer}),
        (TrainingLimits, MODEL.retrain, {"seconds": MODEL.retrain.timeout_seconds}),
        (DeployerSettings, MODEL.deploy, {"work": None}),
        (Options, MODEL, {"alibi": None}),
        (
            MonitorOptions,
            MODEL,
            {
                "bins": MODEL.reference_bins,
                "max_waiting": MODEL.labels.max_waiting,
                "most_features": Settings().limits.features,
                "task": None,
                "limits": EventLimits(),
                "estimates": None,  # which has settings of its own
            },
        ),
    ],
)
def test_a_part_has_the_defaults_of_the_settings(part: type, settings: object, renamed: dict[str, object]) -> None:
    own = defaults(part)
    expected = {name: renamed[name] if name in renamed else getattr(settings, name) for name in own}
    assert {name: alike(value) for name, value in own.items()} == {n: alike(v) for n, v in expected.items()}


def test_bodies_have_the_limits_of_the_settings() -> None:
    limits = Settings().limits
    assert Limits().body_bytes == limits.body_mb << 20
    assert Limits().decompressed_bytes == limits.decompressed_mb << 20
