"""What a retrain is made of: its results, the reasons for them, and the two seams, Trainer and Deployer."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from retrain.job import Job

if TYPE_CHECKING:
    import pyarrow as pa


class Stage(StrEnum):
    """The steps of a retrain, in order."""

    DATASET = "dataset"
    TRAIN = "train"
    GATE = "gate"
    REGISTER = "register"
    PLOT = "plot"
    PUBLISH = "publish"


class Outcome(StrEnum):
    """What became of a retrain."""

    PROMOTE = "promote"
    """Better than the champion, with confidence, and within every limit."""
    HOLD = "hold"
    """Not proven either way."""
    REJECT = "reject"
    """Worse than the champion, or a limit broken, with confidence."""
    FAILED = "failed"
    """No candidate came of it."""


class Reason(StrEnum):
    """Why a retrain ended as it did."""

    GAIN_PROVEN = "gain_proven"
    GAIN_NOT_PROVEN = "gain_not_proven"
    WORSE = "worse"
    TOO_FEW_ROWS = "too_few_rows"
    NO_BETTER_THAN_CONSTANT = "no_better_than_constant"
    SLICE_FLOOR = "slice_floor"
    FAIRNESS = "fairness"
    CALIBRATION = "calibration"
    LATENCY = "latency"
    SIZE = "size"

    BAD_JOB = "bad_job"
    BAD_SETTING = "bad_setting"
    BAD_ARCHIVE = "bad_archive"
    NO_FEATURES = "no_features"
    ONE_CLASS = "one_class"
    TRAINER_FAILED = "trainer_failed"
    BAD_OUTPUT = "bad_output"
    NOT_REGISTERED = "not_registered"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    STOPPED = "stopped"
    UNEXPECTED = "unexpected"


class RetrainError(Exception):
    """A retrain that can go no further: the reason, what happened, and what the operator can do about it."""

    def __init__(self, reason: Reason, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.hint = hint


Progress = Callable[[float, str], None]
"""Told how much of a stage is done (0 to 1) and what is being done."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trained model as files, and what those files predict for the rows that the gate judges.

    ``predictions`` has one entry per evaluation row: class texts (object) or numbers (float64). ``probabilities`` is
    float64 of shape (rows, len(classes)), or None where the model gives none.
    """

    folder: Path
    algorithm: str
    predictions: NDArray[Any]
    classes: tuple[str, ...] = ()
    probabilities: NDArray[np.float64] | None = None
    latency_seconds: float | None = None
    """99th percentile of the time of one prediction; None where nobody measured it."""
    details: dict[str, Any] = field(default_factory=dict)
    """What else the trainer has to say, JSON-able: scores of the algorithms, features used, library versions."""


class Trainer(Protocol):
    """Makes a candidate.

    ``train`` may block for as long as the job's limits allow. It gets the training rows with their labels (columns
    ``row``, ``ts``, ``label`` and ``feature:NAME``) and the evaluation rows without: it cannot learn from what it will
    be judged by. It writes into ``output``, an empty folder, and raises ``RetrainError`` when nothing came of it.
    """

    name: str

    def train(
        self, job: Job, training: "pa.Table", evaluation: "pa.Table", output: Path, progress: Progress
    ) -> Candidate:
        """Train on ``training``, predict ``evaluation``, leave the model's files in ``output``."""
        ...


class DeployReason(StrEnum):
    """Why a deployment failed."""

    BAD_SETTING = "bad_setting"
    TAMPERED = "tampered"
    NOT_WRITABLE = "not_writable"
    COMMAND_FAILED = "command_failed"
    TIMED_OUT = "timed_out"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    NOT_OURS = "not_ours"
    """It was not made here, and nobody knows what the service was given."""


class DeployError(Exception):
    """A version did not come into service. What served before still does, as far as the deployer can tell."""

    def __init__(self, reason: DeployReason, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Deployed:
    """A version that is now in service; ``changed`` is False where it already was."""

    model: str
    version: str
    target: str
    changed: bool
    detail: str = ""


class Deployer(Protocol):
    """Brings a version into service.

    ``deploy`` blocks, for a bounded time, and raises ``DeployError``. Deploying the version that is in service
    changes nothing, so a deployment cut short by a crash is simply done again; a rollback is the deployment of the
    former version. It does not check the files: ``retrain.deployers.deploy`` does, for all of them.
    """

    name: str

    def deploy(self, model: str, version: str, path: Path) -> Deployed:
        """Put the version whose files are in ``path`` into service."""
        ...

    def given(self, model: str) -> str | None:
        """What the service is given now, as ``restore`` takes it; None where that cannot be told, or was made here."""
        ...

    def restore(self, model: str, version: str, given: str | None) -> Deployed:
        """Put a version that was not made here back into service, ``given`` what it was. Blocks and raises as above."""
        ...
