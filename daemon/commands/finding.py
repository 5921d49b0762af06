"""What `driftd doctor` finds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``hint`` says what to type where it is not well, or doubtful: it works, but."""

    what: str
    well: bool
    detail: str
    hint: str = ""
    doubtful: bool = False
