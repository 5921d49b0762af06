"""What a detector can be told by name: which parameters it has, and what values each may take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

Value = bool | int | float


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter, of the type of its ``default``; a number lies between ``least`` and ``most``, both included."""

    name: str
    default: Value
    meaning: str
    least: float = 0
    most: float = 0

    @property
    def accepts(self) -> str:
        """What it may be, in words."""
        if isinstance(self.default, bool):
            return "true or false"
        kind = "a whole number" if isinstance(self.default, int) else "a number"
        return f"{kind} from {self.least} to {self.most}"

    def takes(self, value: object) -> bool:
        """Whether it may be ``value``."""
        if isinstance(self.default, bool) or isinstance(value, bool):
            return isinstance(self.default, bool) and isinstance(value, bool)
        whole = isinstance(self.default, int)
        return isinstance(value, int if whole else int | float) and self.least <= value <= self.most


class WrongParameter(ValueError):
    """A detector has no such parameter, or not with this value; ``accepts`` and ``hint`` say what to write instead."""

    def __init__(self, message: str, accepts: str, hint: str = "") -> None:
        super().__init__(message)
        self.accepts = accepts
        self.hint = hint


def read(detector: str, parameters: Sequence[Parameter], given: Mapping[str, object]) -> dict[str, Value]:
    """Every parameter with its value: that which is given, else its default. Raises WrongParameter."""
    known = {one.name: one for one in parameters}
    values = {one.name: one.default for one in parameters}
    for name, value in given.items():
        if name not in known:
            message = f"{detector} has no parameter {name}"
            if not known:
                raise WrongParameter(message, f"{detector} alone, which has no parameters")
            nearest = get_close_matches(name, known, n=1, cutoff=0.0)[0]
            accepts = f"{detector} with any of {', '.join(sorted(known))}"
            raise WrongParameter(message, accepts, f"the nearest to {name} is {nearest}")
        if not known[name].takes(value):
            raise WrongParameter(f"{name} cannot be {value}", f"{detector} with {name} as {known[name].accepts}")
        values[name] = float(value) if isinstance(known[name].default, float) else value  # type: ignore[arg-type, assignment]
    return values
