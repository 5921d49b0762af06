"""Reads the settings out of an environment and checks them."""

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from daemon.settings.conflicts import conflicts
from daemon.settings.environment import Given, read
from daemon.settings.errors import HIDDEN, Problem, SettingsError, accepts
from daemon.settings.names import MODELS, Name, Names, leaves
from daemon.settings.service import Settings
from daemon.settings.tunables import ModelSettings
from daemon.settings.values import DetectorChoice

ROLE_OPTION: Final = "--role"


class _Texts(EnvSettingsSource):
    """pydantic-settings' own reading of variables, of those that were given and not of the process's."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = {variable.lower(): text for variable, text in texts.items()}
        super().__init__(Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return self._texts


def load(environ: Mapping[str, str], *, role: str | None = None) -> Settings:
    """The settings that ``environ`` gives, checked one by one and together.

    ``role`` is what the command line says in place of DRIFTD_ROLE. Reads nothing but its arguments, the secret files
    and the credentials folder that they name. Raises SettingsError with every setting that is wrong, or, where each is
    right for itself, with those that do not go together.
    """
    names = Names(Settings, ModelSettings)
    given = read(environ, names)
    if role is not None:
        # an empty variable is one that is not set; an empty option is a list of nothing
        given.texts["DRIFTD_ROLE"], given.sources["DRIFTD_ROLE"] = role.strip() or ",", ROLE_OPTION
    try:
        settings = Settings(**_Texts(given.texts)())
    except ValidationError as failure:
        given.problems += _problems(failure, given)
        # from None: the original names the values it refused, secrets too
        raise SettingsError(given.problems) from None
    given.problems += conflicts(settings)
    if given.problems:
        raise SettingsError(given.problems)
    settings.remember_sources(given.sources)
    return settings


def _problems(failure: ValidationError, given: Given) -> Iterator[Problem]:
    told = set()
    for error in failure.errors(include_url=False, include_context=False, include_input=False):
        name = _name(error["loc"], given)
        if name.variable in told:
            continue
        told.add(name.variable)
        text = HIDDEN if name.secret else given.texts.get(name.variable)
        hint = f"{ROLE_OPTION} says so" if given.sources.get(name.variable) == ROLE_OPTION else ""
        yield Problem(name.variable, text and _without_passwords(text), accepts(name.field), hint)


def _without_passwords(text: str) -> str:
    """An address may hold a password, even where none belongs: before an ``@``, or behind a ``?``."""
    return re.sub(r"(://[^?]*)\?.*", rf"\1?{HIDDEN}", re.sub(r"(?s)//.*@", f"//{HIDDEN}@", text))


def _name(location: tuple[Any, ...], given: Given) -> Name:
    """The setting at a place in the settings; that of all models, where a model has its value from there."""
    path = tuple(str(part) for part in location)
    own = path[2:] if path[0] == MODELS else path
    name = next(name for name in leaves(Settings) if own[: len(name.path)] == name.path)
    of_model = name.of_model(path[1]) if path[0] == MODELS else name
    return of_model if of_model.variable in given.texts else name


def check_choices(settings: Settings, known: Mapping[str, Collection[str]]) -> None:
    """Raise SettingsError where a setting names something that no registry has.

    ``known`` has the names to choose from by setting: ``{"detectors": ..., "retrain.trainer": ...}``.
    """
    problems = []
    for place, names in known.items():
        of_all = next(name for name in leaves(ModelSettings) if name.path == tuple(place.split(".")))
        everywhere = _chosen(of_all.value(settings))
        problems += [_no_such(of_all, one, names) for one in everywhere if one not in names]
        for key in settings.models:
            own = of_all.of_model(key)
            chosen = [one for one in _chosen(own.value(settings)) if one not in everywhere]
            problems += [_no_such(own, one, names) for one in chosen if one not in names]
    if problems:
        raise SettingsError(problems)


def _chosen(value: str | tuple[DetectorChoice, ...]) -> list[str]:
    return [value] if isinstance(value, str) else [one.name for one in value]


def _no_such(name: Name, chosen: str, names: Collection[str]) -> Problem:
    hint = f"the nearest is {get_close_matches(chosen, sorted(names), n=1, cutoff=0.0)[0]}"
    return Problem(name.variable, chosen, f"any of {', '.join(sorted(names))}", hint)
