"""What is said about a setting that is wrong."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from daemon.settings.values import Accepts

HIDDEN = "***"


@dataclass(frozen=True)
class Problem:
    """One setting that is wrong.

    ``value`` is None where nothing was given or where it must not be shown, and ``hint`` says what to do where
    ``accepts`` does not say it already.
    """

    variable: str
    value: str | None
    accepts: str
    hint: str = ""

    def __str__(self) -> str:
        given = self.variable if self.value is None else f"{self.variable}={self.value}"
        said = [f"must be {self.accepts}" if self.accepts else "", self.hint]
        return f"{given}: {'; '.join(part for part in said if part)}"


class SettingsError(ValueError):
    """The settings cannot be used: correct the variables that are named. Every problem found is in ``problems``."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def is_secret(annotation: Any) -> bool:
    """Whether values of this type must never be shown."""
    return annotation is SecretStr or any(is_secret(part) for part in get_args(annotation))


def notes(field: FieldInfo) -> list[Any]:
    """The annotations of a field, those inside an optional type too."""
    return [*_flat(field.metadata), *_inner(field.annotation)]


def _flat(metadata: Iterable[Any]) -> Iterator[Any]:
    for one in metadata:
        if isinstance(one, FieldInfo):
            yield from one.metadata
        else:
            yield one


def _inner(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        inside, *metadata = get_args(annotation)
        yield from _flat(metadata)
        yield from _inner(inside)
    elif get_origin(annotation) not in (Literal, tuple):
        for part in get_args(annotation):
            yield from _inner(part)


def accepts(field: FieldInfo) -> str:
    """What a setting accepts, in words."""
    found = notes(field)
    for note in found:
        if isinstance(note, Accepts):
            return note.text
    kind = _plain(field.annotation)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _any_of(str(member.value) for member in kind)
    if get_origin(kind) is Literal:
        return _any_of(str(value) for value in get_args(kind))
    if kind is bool:
        return "true or false"
    if kind in (int, float):
        return ("a whole number" if kind is int else "a number") + _bounds(found)
    return "a path" if isinstance(kind, type) and kind.__name__ == "Path" else "text"


def _plain(annotation: Any) -> Any:
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    parts = [part for part in get_args(annotation) if part is not NoneType]
    return _plain(parts[0]) if NoneType in get_args(annotation) and len(parts) == 1 else annotation


def _bounds(found: list[Any]) -> str:
    least = max([note.ge for note in found if isinstance(note, Ge)], default=None, key=_as_number)
    most = min([note.le for note in found if isinstance(note, Le)], default=None, key=_as_number)
    above = next((note.gt for note in found if isinstance(note, Gt)), None)
    below = next((note.lt for note in found if isinstance(note, Lt)), None)
    if least is not None and most is not None:
        return f" from {least} to {most}"
    bounds = (("of at least", least), ("above", above), ("of at most", most), ("below", below))
    said = " and ".join(f"{words} {bound}" for words, bound in bounds if bound is not None)
    return f" {said}" if said else ""


def _as_number(bound: Any) -> float:
    return float(bound)


def _any_of(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last
