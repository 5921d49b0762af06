"""Every setting of the daemon: ``load(os.environ)`` reads, checks and explains them.

``tunables`` and ``service`` have what can be set and ``values`` the kinds of value; ``names`` and ``environment`` find
what was given; ``loading`` and ``conflicts`` check it; ``errors`` and ``report`` are what a person is told.
"""

from daemon.settings.conflicts import warnings
from daemon.settings.errors import Problem, SettingsError
from daemon.settings.loading import check_choices, load
from daemon.settings.names import model_key
from daemon.settings.report import Row, describe
from daemon.settings.service import LogFormat, LogLevel, Settings
from daemon.settings.tunables import Mode, ModelSettings, Task
from daemon.settings.values import DetectorChoice

__all__ = [
    "DetectorChoice",
    "LogFormat",
    "LogLevel",
    "Mode",
    "ModelSettings",
    "Problem",
    "Row",
    "Settings",
    "SettingsError",
    "Task",
    "check_choices",
    "describe",
    "load",
    "model_key",
    "warnings",
]
