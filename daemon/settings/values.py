"""The kinds of value a setting may have, and how each reads its text."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from daemon.lifecycle import cron
from retrain.storage.address import ACCEPTED, read_address


@dataclass(frozen=True)
class Accepts:
    """Says in words what a setting accepts, where its type does not."""

    text: str


@dataclass(frozen=True)
class Unset:
    """Says in words what happens while a setting has no value."""

    text: str


class Group(BaseModel):
    """Settings that belong together: one ``DRIFTD_GROUP__`` prefix. The docstring below a field is its description."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        validate_default=False,
    )

    @model_validator(mode="before")
    @classmethod
    def _none_in_words(cls, values: Any) -> Any:
        """``none`` switches off a setting whose default or global value is something."""
        if not isinstance(values, dict):
            return values
        switched_off = {
            name
            for name, value in values.items()
            if isinstance(value, str) and value.lower() == "none" and _optional(cls.model_fields.get(name))
        }
        return {name: None if name in switched_off else value for name, value in values.items()}


def _optional(field: Any) -> bool:
    return field is not None and type(None) in getattr(field.annotation, "__args__", ())


class DetectorChoice(NamedTuple):
    """A detector by its registry name, with the parameters that differ from its own defaults."""

    name: str
    options: tuple[tuple[str, bool | int | float | str], ...] = ()

    def __str__(self) -> str:
        inside = ",".join(f"{key}={str(value).lower()}" for key, value in self.options)
        return f"{self.name}({inside})" if inside else self.name


_CHOICE = re.compile(r"\s*([A-Za-z_][\w-]*)\s*(?:\(([^()]*)\))?\s*(?:,|$)")


def _choices(text: str) -> Iterator[DetectorChoice]:
    position = 0
    while position < len(text):
        found = _CHOICE.match(text, position)
        if found is None:
            raise ValueError(f"cannot read {text[position:].strip()!r}")
        position = found.end()
        options = (part.partition("=") for part in (found[2] or "").split(",") if part.strip())
        yield DetectorChoice(found[1].lower(), tuple((key.strip(), _literal(value)) for key, _, value in options))


def _literal(text: str) -> bool | int | float | str:
    text = text.strip()
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    if not text:
        raise ValueError("a parameter without a value")
    return text


def _detectors(value: Any) -> Any:
    chosen = list(_choices(value)) if isinstance(value, str) else value
    if not chosen:
        raise ValueError("an empty list")
    return tuple(DetectorChoice(one) if isinstance(one, str) else one for one in chosen)


def _split(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    parts = tuple(part.strip() for part in value.split(",") if part.strip())
    if not parts:
        raise ValueError("an empty list")
    return parts


MOST_SEGMENT_FIELDS: Final = 5


def _segments(value: Any) -> Any:
    if isinstance(value, str):
        value = () if value.strip().lower() in ("", "none") else _split(value)
    if len(dict.fromkeys(value)) > MOST_SEGMENT_FIELDS:
        raise ValueError(f"more than {MOST_SEGMENT_FIELDS} fields")
    if any(not one.removeprefix("feature:") for one in value):
        raise ValueError("a feature without a name")
    return tuple(dict.fromkeys(value))


def _whole(value: Any) -> Any:
    """``1e6`` is a whole number too."""
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?[eE]\+?\d{1,2}", value.strip()):
        return float(value)
    return value


def _arguments(value: Any) -> Any:
    return tuple(shlex.split(value)) if isinstance(value, str) else value


def _cron(value: str) -> str:
    cron.parse(value)
    return value


def _web_address(value: SecretStr) -> SecretStr:
    if not re.match(r"https?://[^\s/]+", value.get_secret_value()):
        raise ValueError("not a web address")
    return value


def _database(value: SecretStr) -> SecretStr:
    if not re.match(r"(postgresql|sqlite)(\+\w+)?://.", value.get_secret_value()):
        raise ValueError("not a database that is supported")
    return value


def _storage(value: str) -> str:
    read_address(value)
    return value


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (OSError, KeyError, ValueError) as unknown:
        raise ValueError(f"no time zone called {value}") from unknown
    return value


Count = Annotated[int, BeforeValidator(_whole), Field(ge=1)]
Megabytes = Annotated[int, BeforeValidator(_whole), Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]
Days = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Confidence = Annotated[float, Field(ge=0.5, lt=1)]
Secret = SecretStr
Url = Annotated[str, Field(pattern=r"^https?://[^\s/]+"), Accepts("a URL that begins with http:// or https://")]
SecretUrl = Annotated[SecretStr, AfterValidator(_web_address), Accepts("a URL that begins with http:// or https://")]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database), Accepts("sqlite:///FILE or postgresql://...")]
StorageUrl = Annotated[str, AfterValidator(_storage), Accepts(ACCEPTED)]
Commas = BeforeValidator(_split)
Names = Annotated[tuple[str, ...], Commas, Accepts("names, separated by commas")]
Segments = Annotated[
    tuple[str, ...],
    BeforeValidator(_segments),
    Accepts("up to 5 of carried, a field of segment, feature:NAME, separated by commas; or none"),
]
Arguments = Annotated[
    tuple[str, ...],
    BeforeValidator(_arguments),
    Field(min_length=1),
    Accepts("a command and its arguments, quoted as in a shell (none is started)"),
]
Cron = Annotated[str, AfterValidator(_cron), Accepts('five cron fields, such as "0 3 * * *"')]
Timezone = Annotated[str, AfterValidator(_timezone), Accepts("a time zone, such as UTC or Europe/Berlin")]
Detectors = Annotated[
    tuple[DetectorChoice, ...],
    BeforeValidator(_detectors),
    Accepts("registry names, separated by commas, each with parameters where wanted: default,adwin(delta=0.002)"),
]
