"""What can be tuned, for every model at once and for each model apart."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from daemon.settings.values import (
    Accepts,
    Arguments,
    Commas,
    Confidence,
    Count,
    Cron,
    Days,
    DetectorChoice,
    Detectors,
    Group,
    Names,
    Seconds,
    Secret,
    SecretUrl,
    Segments,
    Share,
    Unset,
)

HOUR_SECONDS: Final = 3600.0


class Mode(StrEnum):
    """How far the daemon goes by itself."""

    OBSERVE = "observe"
    """Alerts only."""
    RECOMMEND = "recommend"
    """Trains and gates; a person approves."""
    AUTO = "auto"
    """Redeploys what passes the gate, within the budget."""


class Task(StrEnum):
    """What a model predicts."""

    AUTO = "auto"
    """Learned from its predictions."""
    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"


class LabelSettings(Group):
    """How labels find their predictions."""

    max_waiting: Count = 200_000
    """Predictions, and labels that came before theirs, that wait for the other half; the oldest leave first."""


class VolumeSettings(Group):
    """When silence is an alarm. Both bounds of a pair must be passed."""

    traffic_seconds: Seconds = 300.0
    """Without any prediction for so long, traffic has stopped; a backlog that is still to be read is none."""
    traffic_factor: Annotated[float, Field(ge=1)] = 10.0
    """And for so many times the longest silence in the reference."""
    labels_seconds: Seconds = HOUR_SECONDS
    """Without any label for so long, while predictions come, labels have stopped."""
    labels_factor: Annotated[float, Field(ge=1)] = 10.0
    """And for so many times the longest silence of the labels in the reference."""


class AlertSettings(Group):
    """How alarms are told."""

    group_seconds: Seconds = 5.0
    """An incident waits so long for further alarms before it is first sent."""
    repeat_hours: Annotated[float, Field(gt=0)] = 24.0
    """An incident that stays open is sent again after so long."""


class RetrainSettings(Group):
    """When and how a model is trained again."""

    trainer: str = "sklearn"
    """Registry name of the trainer; command runs your own training code."""
    command: Arguments | None = None
    """What the trainer "command" runs."""
    python: Annotated[Path, Unset("the command is run as it is")] | None = None
    """The Python interpreter for your own training code; put before the command."""
    directory: Annotated[Path, Unset("the daemon's own")] | None = None
    """Folder in which the command is run."""
    format: Literal["parquet", "csv"] = "parquet"
    """Format of the rows that the command is given."""
    algorithms: Annotated[Names, Unset("all")] | None = None
    """Algorithms that the trainer "sklearn" compares."""
    folds: Annotated[int, Field(ge=2, le=20)] = 3
    """Folds of the cross-validation, in order of time, by which "sklearn" picks the algorithm."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of everything random in a training."""
    on: Annotated[
        tuple[Literal["concept", "performance", "drift"], ...],
        Commas,
        Accepts("any of concept, performance, drift, separated by commas"),
    ] = ("concept", "performance")
    """Kinds of alarm that start a retrain. Broken data never does."""
    cron: Cron | None = None
    """Also retrain at these times, in the daemon's time zone."""
    cooldown_seconds: Seconds = HOUR_SECONDS
    """Least time from the end of a retrain to the start of the next."""
    budget_per_day: Annotated[int, Field(ge=0)] = 6
    """Most retrains in any 24 hours, those by hand not counted."""
    minimum_labels: Count = 500
    """Fresh labels, those after the change, without which nothing is trained."""
    window_rows: Count = 50_000
    """Most rows to train from, the newest."""
    refits: Annotated[int, Field(ge=0)] = 2
    """How often to train again after an alarm, each time the labels since the change have doubled."""
    timeout_seconds: Annotated[float, Field(gt=0)] = HOUR_SECONDS / 2
    """A training that takes longer is stopped and has failed."""
    memory_mb: Annotated[int, Field(ge=128)] = 4_096
    """Most memory of a training, in MiB."""
    threads: Count = 1
    """Threads of a training."""
    keep_versions: Annotated[int, Field(ge=0)] = 20
    """Newest versions of a model whose files are kept; beside them always the one in service, the one before it, and
    those that wait for approval. What is known of the others stays in the store."""


class GateSettings(Group):
    """What a candidate must show before it is promoted.

    Gains and losses are shares: of rows for classes, of the champion's error for numbers.
    """

    loss: Literal["error", "brier", "squared"] = "error"
    """What is compared: error is 0 or 1 for classes and the absolute error for numbers."""
    minimum_gain: Annotated[float, Field(ge=-1, le=1)] = 0.0
    """The gain over the champion must be above this with confidence."""
    confidence: Confidence = 0.95
    """Confidence of the bound on the gain."""
    minimum_rows: Count = 100
    """Labelled rows, later than those trained on, without which nothing is judged."""
    evaluation_share: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of the rows, the latest, that is kept for the comparison."""
    slice_floor: Share = 0.05
    """No slice may lose more than this."""
    slice_rows: Count = 50
    """Slices with fewer rows are not judged apart."""
    slice_features: Annotated[Names, Unset("segments only")] | None = None
    """Features whose categories are slices too, beside the segments."""
    fairness_attribute: str | None = None
    """Feature or segment by whose values the candidate is compared for fairness."""
    fairness_bound: Share = 0.1
    """Largest difference in the rate of positive predictions (in the error, for numbers) between its values."""
    calibration_bound: Annotated[Share, Unset("not judged")] | None = 0.02
    """How much worse than the champion's the Brier score may be."""
    latency_ms: Annotated[float, Field(gt=0)] | None = None
    """Longest time for one prediction (99th percentile), in milliseconds."""
    size_mb: Annotated[float, Field(gt=0)] | None = None
    """Largest size of the model's files, in MiB."""


class DeploySettings(Group):
    """How a promoted version comes into service."""

    deployer: str = "symlink"
    """Registry name: symlink, command, webhook or none."""
    directory: Annotated[Path, Unset("deployed/ in the data folder")] | None = None
    """Folder in which "symlink" keeps MODEL/current."""
    command: Arguments | None = None
    """What the deployer "command" runs."""
    url: SecretUrl | None = None
    """Where the deployer "webhook" posts; it may hold a token and is treated as a secret."""
    token: Secret | None = None
    """Sent as the bearer token by the deployer "webhook"."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 120.0
    """A deployment that takes longer has failed."""


class WatchSettings(Group):
    """How a new version is watched against what the gate promised."""

    rows: Annotated[int, Field(ge=1, le=2_000)] = 2_000
    """Labelled rows of the new version after which it is trusted (2,000 at most)."""
    rollback: bool = True
    """Take it back; otherwise say so only."""


class ArchiveSettings(Group):
    """The Parquet files that retrains read."""

    days: Days = 90.0
    """Days that are kept."""
    file_rows: Count = 50_000
    """Rows after which a file is closed."""


class ModelSettings(Group):
    """Everything that can be tuned for one model."""

    task: Task = Task.AUTO
    """What the model predicts."""
    positive: Annotated[str, Unset("found from the predictions")] | None = None
    """The class whose probability a plain score is, and that F1 is of."""
    mode: Mode = Mode.AUTO
    """How far the daemon goes by itself: observe alerts only, recommend also trains and gates and waits for a person,
    auto redeploys what passes the gate."""
    detectors: Detectors = (DetectorChoice("default"),)
    """Detectors to run, by registry name; default stands for the default set. docs/settings.md has their parameters."""
    features: Annotated[Names, Unset("all")] | None = None
    """The features to watch."""
    exclude: Names | None = None
    """Features not to watch, such as identifiers."""
    events_per_false_alarm: Annotated[Count, Field(ge=100)] = 1_000_000
    """Events of a model that may pass, on average, until something is raised though nothing changed; all its monitors
    share it."""
    reference_rows: Annotated[Count, Field(ge=50)] = 2_000
    """Rows that make the reference when none is given."""
    reference_bins: Annotated[int, Field(ge=2, le=200)] = 20
    """Bins of a signal in the reference."""
    window_rows: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Rows that are counted together: alarms are raised at the end of such a window."""
    performance_rows: Count = 2_000
    """Labelled rows over which performance is measured."""
    min_effect: Annotated[float, Field(ge=0)] = 0.1
    """Smaller shifts of features, predictions and scores (population stability index) are recorded and not raised."""
    min_loss: Annotated[float, Field(ge=0)] = 0.01
    """Smaller changes of the error rate (for numbers: of the error relative to the reference's) are recorded and not
    raised."""
    estimates: bool = True
    """Estimate performance before labels come, and hold the estimates against the labels when they do."""
    segments: Segments = ("carried",)
    """By what a model's traffic is told apart: fields of an event's segment and feature:NAME, at most 5; carried stands
    for whichever fields events carry, none for no segments."""
    max_gap: Annotated[Share, Unset("shown, not raised")] | None = None
    """Largest difference in the rate of positive predictions, or of errors, between two segments that is not raised."""
    signal_days: Days = 90.0
    """Days for which the measured signals are kept."""
    slack_channel: str | None = None
    """Slack channel for the bot, such as #models or its id."""
    labels: LabelSettings = LabelSettings()
    volume: VolumeSettings = VolumeSettings()
    alerts: AlertSettings = AlertSettings()
    retrain: RetrainSettings = RetrainSettings()
    gate: GateSettings = GateSettings()
    deploy: DeploySettings = DeploySettings()
    watch: WatchSettings = WatchSettings()
    archive: ArchiveSettings = ArchiveSettings()
