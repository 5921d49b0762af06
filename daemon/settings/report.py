"""The settings as a person reads them: for ``driftd check-config`` and for the README's table."""

import re
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from daemon.fleet.workers import Role
from daemon.settings.errors import HIDDEN, accepts, notes
from daemon.settings.names import Name, leaves
from daemon.settings.service import Settings
from daemon.settings.tunables import ModelSettings
from daemon.settings.values import Unset


@dataclass(frozen=True)
class Row:
    """One setting: secrets are hidden in ``value``, ``source`` says where that came from."""

    variable: str
    value: str
    default: str
    source: str
    accepts: str
    description: str
    secret: bool
    per_model: bool


def describe(settings: Settings) -> list[Row]:
    """Every setting, then what single models have of their own."""
    tunable = {name.variable for name in leaves(ModelSettings)}
    rows = [_row(settings, name, per_model=name.variable in tunable) for name in leaves(Settings)]
    for key in settings.models:
        own = (name.of_model(key) for name in leaves(ModelSettings))
        rows += [_row(settings, name, per_model=True) for name in own if settings.source(name.variable) != "default"]
    return rows


def _row(settings: Settings, name: Name, *, per_model: bool) -> Row:
    unset = next((note.text for note in notes(name.field) if isinstance(note, Unset)), "none")
    return Row(
        variable=name.variable,
        value=shown(name.value(settings), unset),
        default=shown(name.field.default, unset),
        source=settings.source(name.variable),
        accepts=accepts(name.field),
        description=" ".join((name.field.description or "").split()),
        secret=name.secret,
        per_model=per_model,
    )


def shown(value: Any, unset: str = "none") -> str:
    """A setting's value as text, with what is secret in it hidden."""
    if value is None:
        return unset
    if isinstance(value, SecretStr):
        return _without_secret(value.get_secret_value())
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | frozenset):
        parts = (one for one in Role if one in value) if isinstance(value, frozenset) else value
        return ",".join(str(part) for part in parts)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


_DATABASE = re.compile(
    r"(?P<scheme>(postgresql|sqlite)(\+\w+)?://)((?P<user>[\w.-]+)(:[^@/?#]*)?@)?"
    r"(?P<place>(\[[0-9a-fA-F:]+\]|[\w.-]*)(:\d+)?(/[\w./ -]*)?)(?P<query>\?.*)?",
    re.DOTALL,
)


def _without_secret(text: str) -> str:
    """A database's address is of use without its password; of every other secret nothing is shown.

    What is not plainly such an address is hidden as a whole: a password may hold any sign.
    """
    found = _DATABASE.fullmatch(text)
    if found is None:
        return HIDDEN
    who = f"{found['user']}:{HIDDEN}@" if found["user"] else ""
    return f"{found['scheme']}{who}{found['place']}" + (f"?{HIDDEN}" if found["query"] else "")
