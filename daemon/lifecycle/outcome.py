"""What a retrain answered, and what follows for the version that it made."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from daemon.lifecycle.jobs import Job
from daemon.lifecycle.promotion import VersionReason, VersionState
from daemon.logs import without_secrets
from daemon.settings import Mode
from retrain.base import Outcome, Reason
from retrain.result import RESULT_FILE

KILLED: Final = -9


class Result(msgspec.Struct):
    """The part of ``result.json`` that the daemon acts on; everything else in it is stored and shown."""

    outcome: Outcome
    reasons: list[str]
    message: str = ""
    hint: str = ""
    version: str | None = None
    path: str | None = None
    model_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a retrain. ``stored`` is the result as the ledger keeps it."""

    result: Result
    stored: dict[str, Any]

    @property
    def text(self) -> str:
        """What a person should read."""
        return f"{self.result.message} ({self.result.hint})" if self.result.hint else self.result.message


def failed(reason: str, message: str, hint: str = "") -> Answer:
    """Answer for a retrain that could not answer itself."""
    result = Result(Outcome.FAILED, [reason], message, hint)
    return Answer(result, {"outcome": "failed", "reasons": [reason], "message": message, "hint": hint})


def read_answer(folder: Path, job: Job, code: int, tail: str) -> Answer:
    """Read what the child left in ``folder``; ``code`` is its exit code, ``tail`` the end of its log.

    The child is given no secret of the daemon; where somebody's training code knows one by itself it is hidden.
    """
    tail = without_secrets(tail)
    try:
        content = (folder / RESULT_FILE).read_bytes()
        result = msgspec.json.decode(content, type=Result)
        result.message, result.hint = without_secrets(result.message), without_secrets(result.hint)
        stored: dict[str, Any] = msgspec.json.decode(content) | {"message": result.message, "hint": result.hint}
    except FileNotFoundError:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        reason = Reason.OUT_OF_MEMORY if code == KILLED else Reason.UNEXPECTED
        return failed(reason, f"the retrain ended with {how} and left no result\n{tail}".strip())
    except (OSError, msgspec.DecodeError) as error:
        return failed(Reason.UNEXPECTED, f"{RESULT_FILE} cannot be read: {error}")
    complete = result.version == job.version and result.path and result.model_hash
    if result.outcome is not Outcome.FAILED and not complete:
        return failed(Reason.UNEXPECTED, f"{RESULT_FILE} is not about version {job.version}, or names no files")
    (stored.get("reference_error") or {}).pop("values", None)  # thousands of figures, which the reference has too
    return Answer(result, stored)


def standing(outcome: Outcome, mode: Mode, *, same_champion: bool) -> tuple[VersionState, VersionReason]:
    """Decide what becomes of a version about which the gate has spoken.

    ``same_champion``: the version that it was compared with is still the one in service.
    """
    if outcome is not Outcome.PROMOTE:
        held = outcome is Outcome.HOLD
        return VersionState.REJECTED, VersionReason.HELD if held else VersionReason.REJECTED
    if not same_champion:
        return VersionState.REJECTED, VersionReason.CHAMPION_CHANGED
    if mode is Mode.AUTO:
        return VersionState.DEPLOYING, VersionReason.PASSED
    return VersionState.AWAITING, VersionReason.PASSED
