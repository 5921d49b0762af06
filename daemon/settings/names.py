"""Which variables there are, and where in the settings each belongs."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from daemon.settings.errors import is_secret

PREFIX: Final = "DRIFTD_"
DELIMITER: Final = "__"
MODELS: Final = "models"


def model_key(model: str) -> str:
    """A model's name as variables spell it: ``Credit-Risk.v2`` is ``credit_risk_v2``."""
    return re.sub(r"[\W_]+", "_", model.casefold()).strip("_")


@dataclass(frozen=True)
class Name:
    """One setting: its variable, its place (``("retrain", "cron")``, ``("models", "loans", "retrain", "cron")``)."""

    variable: str
    path: tuple[str, ...]
    field: FieldInfo

    @property
    def secret(self) -> bool:
        """Whether its value must never be shown."""
        return is_secret(self.field.annotation)

    def value(self, settings: BaseModel) -> Any:
        """What it is set to."""
        found: Any = settings
        for part in self.path:
            found = found[part] if isinstance(found, dict) else getattr(found, part)
        return found

    def of_model(self, model: str) -> "Name":
        """The same setting of one model."""
        key = model_key(model)
        own = DELIMITER.join([PREFIX + MODELS.upper(), key.upper(), self.variable.removeprefix(PREFIX)])
        return Name(own, (MODELS, key, *self.path), self.field)


@lru_cache
def leaves(settings: type[BaseModel]) -> tuple[Name, ...]:
    """Every single setting of a class of settings, in the order in which they are declared, groups last."""
    return tuple(_leaves(settings, ()))


def _leaves(settings: type[BaseModel], path: tuple[str, ...]) -> Iterator[Name]:
    groups = []
    for name, field in settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            groups.append((name, field.annotation))
        elif (*path, name) != (MODELS,):
            yield Name(PREFIX + DELIMITER.join((*path, name)).upper(), (*path, name), field)
    for name, group in groups:
        yield from _leaves(group, (*path, name))


class Names:
    """The variables that ``settings`` has, and those that ``model_settings`` has for each model."""

    def __init__(self, settings: type[BaseModel], model_settings: type[BaseModel]) -> None:
        self._all = {name.variable: name for name in leaves(settings)}
        self._of_models = {name.variable: name for name in leaves(model_settings)}

    def find(self, variable: str) -> Name | None:
        """The setting of a variable, in whatever case it is written."""
        variable = variable.upper()
        if variable in self._all:
            return self._all[variable]
        model, own = self._split(variable)
        name = self._of_models.get(own)
        return name.of_model(model) if name is not None and model_key(model) else None

    def daemon_wide(self, variable: str) -> str | None:
        """The setting that was meant, where one of the whole daemon was given for one model."""
        _, own = self._split(variable.upper())
        return own if own in self._all else None

    def candidates(self, variable: str) -> list[str]:
        """The variables that a misspelt one may have meant."""
        model, _ = self._split(variable.upper())
        names = [*self._all.values()]
        if model_key(model):
            names += [name.of_model(model) for name in self._of_models.values()]
        return [name.variable for name in names] + [f"{name.variable}_FILE" for name in names if name.secret]

    def _split(self, variable: str) -> tuple[str, str]:
        """``DRIFTD_MODELS__LOANS__MIN_EFFECT`` is ``LOANS`` and ``DRIFTD_MIN_EFFECT``; of others, two empty texts."""
        start = PREFIX + MODELS.upper() + DELIMITER
        if not variable.startswith(start):
            return "", ""
        model, _, own = variable.removeprefix(start).partition(DELIMITER)
        return model, PREFIX + own
