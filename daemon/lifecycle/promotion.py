"""The way of a version from the gate into service and out of it, pure.

                 passed, auto            deployed            replaced
    (trained) ---------------> deploying ---------> champion ---------> retired
        |                       ^  ^   |                |  ^               |
        | passed, recommend     |  |   | gave up        |  +-- deploying <-+ (rollback)
        +-----> awaiting -------+  |   v                |
        |          | declined      | awaiting,          | taken back
        +------> rejected ---------+ retired            +-----------> withdrawn
          held or rejected  (by hand)

``daemon.lifecycle.versions`` takes these steps in the store.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class VersionState(StrEnum):
    """Where a version stands."""

    SEEN = "seen"
    """Events name it; it was not made here and is not known to be in service."""
    AWAITING = "awaiting"
    """It passed the gate and waits for a person."""
    DEPLOYING = "deploying"
    CHAMPION = "champion"
    """In service."""
    RETIRED = "retired"
    """It was in service until a better one came."""
    WITHDRAWN = "withdrawn"
    """It was in service and was taken back."""
    REJECTED = "rejected"
    """The gate or a person said no."""


class Step(StrEnum):
    """What can happen to a version."""

    DEPLOY = "deploy"
    DEPLOYED = "deployed"
    GIVE_UP = "give_up"
    """The deployment of a promotion failed for good: a person may try again."""
    GIVE_UP_ROLLBACK = "give_up_rollback"
    DECLINE = "decline"
    REPLACE = "replace"
    WITHDRAW = "withdraw"
    SERVE = "serve"
    """Events show that somebody else brought it into service."""


class VersionReason(StrEnum):
    """Why a version is in its state."""

    FIRST_SEEN = "first_seen"
    SEEN = "seen"
    PASSED = "passed"
    APPROVED = "approved"
    BY_HAND = "by_hand"
    HELD = "held"
    """The gate could not tell."""
    REJECTED = "rejected"
    CHAMPION_CHANGED = "champion_changed"
    """It was compared with a version that is not in service any more."""
    DECLINED = "declined"
    SUPERSEDED = "superseded"
    """A later one passed the gate before anybody approved of this one."""
    DEPLOY_FAILED = "deploy_failed"
    REPLACED = "replaced"
    DISAPPOINTED = "disappointed"
    """It erred more in service than the gate promised."""
    TAKEN_BACK = "taken_back"
    """A person asked for the one before."""
    RESTORED = "restored"
    """Its successor was taken back."""


_STOPPED: Final = (VersionState.AWAITING, VersionState.REJECTED, VersionState.RETIRED, VersionState.WITHDRAWN)

MOVES: Final[Mapping[tuple[VersionState, Step], VersionState]] = {
    **{(state, Step.DEPLOY): VersionState.DEPLOYING for state in _STOPPED},
    **{(state, Step.SERVE): VersionState.CHAMPION for state in (*_STOPPED, VersionState.SEEN)},
    (VersionState.DEPLOYING, Step.DEPLOYED): VersionState.CHAMPION,
    (VersionState.DEPLOYING, Step.GIVE_UP): VersionState.AWAITING,
    (VersionState.DEPLOYING, Step.GIVE_UP_ROLLBACK): VersionState.RETIRED,
    (VersionState.AWAITING, Step.DECLINE): VersionState.REJECTED,
    (VersionState.CHAMPION, Step.REPLACE): VersionState.RETIRED,
    (VersionState.CHAMPION, Step.WITHDRAW): VersionState.WITHDRAWN,
}


class NotPossible(Exception):
    """The version cannot go where it was sent; ``reason`` says why in a word, ``hint`` what to type instead."""

    def __init__(self, reason: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.hint = hint


def moved(state: VersionState, step: Step) -> VersionState:
    """Where ``step`` takes a version from ``state``. Raises NotPossible."""
    if (state, step) not in MOVES:
        raise NotPossible(f"is_{state}", f"a version that is {state} cannot {step.replace('_', ' ')}")
    return MOVES[state, step]


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A row of the table. Times are epoch seconds; ``from_row`` is the first row that it served."""

    model: str
    version: str
    state: VersionState
    reason: str | None
    by: str | None
    origin: str
    path: str | None
    hash: str | None
    job: int | None
    created: float
    promoted: float | None
    adopted: float | None
    retired: float | None
    from_row: int | None
    previous: str | None
    metrics: dict[str, Any] | None

    @property
    def rolls_back(self) -> bool:
        """Whether its deployment takes the present champion back."""
        return self.state is VersionState.DEPLOYING and self.reason == VersionReason.RESTORED


def next_name(known: Iterable[str], champion: str | None) -> str:
    """Name the next version: one more than the highest number there is; ``CHAMPION+1`` where names are no numbers.

    ``v3`` is a number too, and ``v4`` comes after it. A date such as ``2024-11-20`` is none: the next one is not the
    21st's.
    """
    known = {*known, *([champion] if champion is not None else [])}
    pattern = re.compile(r"(v?)(\d{1,18})")
    found = None if champion is None else pattern.fullmatch(champion)
    if champion is None or found is not None:
        prefix = found[1] if found is not None else ""
        matches = [match for name in known if (match := pattern.fullmatch(name)) and match[1] == prefix]
        return f"{prefix}{max((int(match[2]) for match in matches), default=0) + 1}"
    base = re.sub(r"\+\d{1,18}$", "", champion)
    after = re.compile(re.escape(base) + r"\+(\d{1,18})")
    return f"{base}+{max((int(match[1]) for name in known if (match := after.fullmatch(name))), default=0) + 1}"
