"""What is set once for the daemon, and ``Settings``, which holds everything."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

from pydantic import BaseModel, Field, PrivateAttr, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from daemon.fleet.workers import ALL_ROLES, Role
from daemon.settings.names import DELIMITER, PREFIX, leaves, model_key
from daemon.settings.tunables import ModelSettings
from daemon.settings.values import (
    Accepts,
    Commas,
    Count,
    DatabaseUrl,
    Days,
    Group,
    Megabytes,
    Names,
    Seconds,
    Secret,
    SecretUrl,
    StorageUrl,
    Timezone,
    Unset,
    Url,
)

DEFAULT_HTTP_PORT: Final = 6066


class LogLevel(StrEnum):
    """The least important lines that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How log lines look."""

    AUTO = "auto"
    """Text on a terminal, JSON elsewhere."""
    TEXT = "text"
    JSON = "json"


class EventLogSettings(Group):
    """The embedded log of events. What has not been processed is never deleted."""

    retention_mb: Megabytes = 4_096
    """Size above which the oldest processed events are deleted, in MiB."""
    retention_days: Days = 7.0
    """Age above which processed events are deleted."""


class KafkaMechanism(StrEnum):
    """How a password is shown to Kafka."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"


class KafkaSettings(Group):
    """The cluster of DRIFTD_BROKER=kafka://HOST:PORT,... or, by TLS, kafka+ssl://HOST:PORT,..."""

    username: Annotated[str, Unset("driftd does not log in")] | None = None
    """User that driftd logs in as (SASL)."""
    password: Secret | None = None
    """The user's password."""
    mechanism: KafkaMechanism = KafkaMechanism.SCRAM_SHA_512
    """How it logs in. PLAIN shows the broker the password itself: with kafka+ssl:// only."""
    ca: Annotated[Path, Unset("those of the system")] | None = None
    """File of the certificates that kafka+ssl:// trusts, in PEM."""
    group: str = "driftd"
    """Consumer group. Installations that read the same topics each for themselves need one each."""
    create_topics: bool = True
    """Make topics that are missing; otherwise the daemon ends and says what to type."""
    partitions: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Partitions of a topic that is made."""
    replication: Annotated[Count, Unset("the cluster's default")] | None = None
    """Copies of a topic that is made."""
    wait_seconds: Seconds = 30.0
    """How long a start waits for a broker that does not answer; then the daemon ends, to be started again."""


class LimitSettings(Group):
    """What is refused, so that one sender cannot take the daemon down."""

    body_mb: Megabytes = 8
    """Largest request body, as sent, in MiB; a larger one is answered with 413."""
    decompressed_mb: Megabytes = 32
    """Largest request body after decompression, in MiB; a larger one is answered with 413."""
    event_kb: Count = 1_024
    """Largest single event, in KiB; a larger one is a dead letter."""
    features: Count = 2_000
    """Most features of an event; one with more is a dead letter."""
    text_chars: Count = 4_096
    """Longest text of a feature, a class or a name; an event with a longer one is a dead letter."""
    models: Count = 1_000
    """Most models; an event of a further one is a dead letter."""
    backlog_events: Count = 5_000_000
    """Events accepted and not yet processed, above which senders are told to wait (429)."""
    backlog_mb: Megabytes = 2_048
    """And their size, in MiB."""


class PipelineSettings(Group):
    """How events are worked through."""

    batch_events: Count = 20_000
    """Most events that are taken from the log at once."""
    checkpoint_ms: Annotated[int, Field(ge=1, le=60_000)] = 200
    """Time between two checkpoints of state and offsets, in milliseconds."""
    stall_seconds: Annotated[float, Field(ge=5)] = 60.0
    """With events waiting and none processed for so long, the daemon ends so that it is started again."""


class AlibiSettings(Group):
    """The detectors of alibi-detect, which run in an environment of their own (docs/alibi.md)."""

    python: Annotated[Path, Unset("that of the environment which `make alibi` makes")] | None = None
    """Interpreter of the environment that has alibi-detect 0.11.4."""
    memory_mb: Megabytes = 3_072
    """Most private memory of one of its processes, in MiB; Linux keeps to it."""
    answer_seconds: Seconds = 20.0
    """How long to wait for an answer; then the process is ended, and another started."""
    calibration_seconds: Seconds = 1_800.0
    """How long finding the thresholds of one detector may take, beside everything else."""


class DeadLetterSettings(Group):
    """Events that could not be used, kept to be looked at and sent again. Beyond a limit the oldest go."""

    max_events: Count = 10_000
    """Most events that are kept."""
    max_mb: Megabytes = 64
    """Most room that they take, in MiB."""
    days: Days = 30.0
    """Days for which they are kept."""


class Settings(ModelSettings, BaseSettings):
    """Every setting. What ``ModelSettings`` has is the value for all models that do not say otherwise.

    ``Settings(...)`` takes the defaults and what it is given, and reads nothing; ``load`` reads an environment.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        env_ignore_empty=True,
        enable_decoding=False,
    )

    data_dir: Path = Path("driftd-data")
    """Folder of the event log, the store, snapshots and models."""
    broker: Annotated[
        str,
        Field(pattern=r"^[a-z][a-z0-9+]*://[^@]*$"),
        Accepts("embedded://, kafka://HOST:PORT,... or kafka+ssl://HOST:PORT,..."),
    ] = "embedded://"
    """Where events are read from: embedded:// is a log in the data folder, kafka://HOST:PORT,... a cluster.

    kafka+ssl://HOST:PORT,... is one by TLS.
    """
    topics: Names = ("driftd.events",)
    """Topics that are read."""
    role: Annotated[
        frozenset[Role], Commas, Field(min_length=1), Accepts(f"any of {', '.join(Role)}, separated by commas")
    ] = ALL_ROLES
    """What this daemon does: ingest reads and decodes events, detect watches models, web serves HTTP, train retrains
    and deploys. Less than all needs a fleet: daemons with one Kafka cluster and one PostgreSQL store, in which each
    role has somebody."""
    database_url: Annotated[DatabaseUrl, Unset("SQLite in the data folder")] | None = None
    """The store: sqlite:///FILE, or postgresql://USER@HOST/DATABASE with libpq's parameters such as sslmode."""
    database_password: Annotated[Secret, Unset("that of the URL, if any")] | None = None
    """Password for DRIFTD_DATABASE_URL, so that the URL itself is no secret."""
    database_connections: Annotated[int, Field(ge=2, le=1_000)] = 8
    """Most connections to a PostgreSQL server at one time."""
    archive_url: Annotated[StorageUrl, Unset("the data folder")] | None = None
    """Where archived events, datasets and versions are kept, for all nodes to see: a folder that each has mounted, or
    s3://BUCKET/PREFIX."""
    archive_access_key: Annotated[Secret, Unset("as AWS_ACCESS_KEY_ID and the like say")] | None = None
    """Access key for the bucket of DRIFTD_ARCHIVE_URL."""
    archive_secret_key: Annotated[Secret, Unset("as AWS_SECRET_ACCESS_KEY and the like say")] | None = None
    """Its secret key."""
    http_host: str = "127.0.0.1"
    """Address to listen on. Anything but loopback needs DRIFTD_API_TOKEN."""
    http_port: Annotated[int, Field(ge=0, le=65_535)] = DEFAULT_HTTP_PORT
    """Port to listen on; 0 takes any that is free."""
    public_url: Annotated[Url, Unset("http://DRIFTD_HTTP_HOST:DRIFTD_HTTP_PORT")] | None = None
    """Address of the status page in alerts."""
    api_token: Annotated[Secret, Unset("changes by HTTP are refused")] | None = None
    """Bearer token for every route that changes something."""
    ingest_token: Annotated[Secret, Unset("events need no token")] | None = None
    """Bearer token for POST /v1/events."""
    slack_webhook_url: SecretUrl | None = None
    """Incoming webhook of a Slack channel. Without any Slack setting, alerts go to the log."""
    slack_bot_token: Secret | None = None
    """Slack bot token, with DRIFTD_SLACK_CHANNEL, instead of a webhook: messages can then be updated in place."""
    slack_app_token: Secret | None = None
    """Slack app-level token, for buttons (Socket Mode)."""
    slack_api_url: Annotated[Url, Unset("Slack's own")] | None = None
    """Base URL of the Slack Web API, for other clouds and proxies."""
    timezone: Timezone = "UTC"
    """Time zone of cron times."""
    log_level: LogLevel = LogLevel.INFO
    """Least important lines that are logged."""
    log_format: LogFormat = LogFormat.AUTO
    """auto is text on a terminal and JSON elsewhere."""
    shutdown_seconds: Annotated[float, Field(gt=0)] = 20.0
    """Time to finish in after a signal; what is not done by then is done again at the next start."""
    event_log: EventLogSettings = EventLogSettings()
    kafka: KafkaSettings = KafkaSettings()
    limits: LimitSettings = LimitSettings()
    pipeline: PipelineSettings = PipelineSettings()
    dead_letters: DeadLetterSettings = DeadLetterSettings()
    alibi: AlibiSettings = AlibiSettings()
    models: dict[str, ModelSettings] = Field(default_factory=dict)
    """Settings of single models, by ``model_key``, each complete."""

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 (the names are the base class's)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing but the arguments: ``load`` reads the environment that it is given."""
        return (init_settings,)

    @model_validator(mode="before")
    @classmethod
    def _complete_models(cls, values: Any) -> Any:
        """What one model leaves out is as it is for all."""
        if not isinstance(values, dict) or not values.get("models"):
            return values
        general = {name: value for name, value in values.items() if name in ModelSettings.model_fields}
        models = {model_key(name): _merged(general, own) for name, own in values["models"].items()}
        return {**values, "models": models}

    def model(self, name: str) -> ModelSettings:
        """What holds for the model ``name``: its own settings where it has some, and those of all otherwise."""
        return self.models.get(model_key(name), self)

    @property
    def store_url(self) -> str:
        """The database URL, with its password."""
        if self.database_url is not None:
            url = self.database_url.get_secret_value()
            return url if self.database_password is None else _with_password(url, self.database_password)
        return f"sqlite:///{self.data_dir.absolute() / 'store.db'}"

    @property
    def is_fleet(self) -> bool:
        """Whether several daemons may share the work: events are in Kafka, and the store is in PostgreSQL."""
        return self.broker.startswith(("kafka://", "kafka+ssl://")) and self.store_url.startswith("postgresql")

    @property
    def local_url(self) -> str:
        """Where a program on this machine reaches the daemon, without a slash at the end."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.http_host, self.http_host)  # noqa: S104 (not bound here)
        return f"http://[{host}]:{self.http_port}" if ":" in host else f"http://{host}:{self.http_port}"

    @property
    def page_url(self) -> str:
        """Where a person finds the status page, without a slash at the end."""
        return self.public_url.rstrip("/") if self.public_url is not None else self.local_url

    def source(self, variable: str) -> str:
        """Where the value of a variable came from: ``environment``, a file, a credential, or ``default``."""
        return self._sources.get(variable, "default")

    def remember_sources(self, sources: Mapping[str, str]) -> None:
        """Note where the values of variables came from."""
        self._sources.update(sources)

    def secrets(self) -> list[str]:
        """Every secret value, so that logs can be kept free of them."""
        found = [name.value(self) for name in leaves(Settings)]
        found += [name.value(model) for model in self.models.values() for name in leaves(ModelSettings)]
        return sorted({one.get_secret_value() for one in found if isinstance(one, SecretStr)})


def _with_password(url: str, password: SecretStr) -> str:
    scheme, rest = url.split("://", 1)
    user, place = rest.split("@", 1)
    return f"{scheme}://{user}:{quote(password.get_secret_value(), safe='')}@{place}"


def _merged(general: Mapping[str, Any], own: Any) -> dict[str, Any]:
    """``general`` with what ``own`` says otherwise, group by group."""
    merged = _as_dict(general)
    for name, value in _as_dict(own).items():
        inside = merged.get(name)
        merged[name] = _merged(_as_dict(inside), value) if isinstance(inside, dict | BaseModel) else value
    return merged


def _as_dict(values: Any) -> dict[str, Any]:
    if isinstance(values, BaseModel):
        return {name: getattr(values, name) for name in values.model_fields_set}
    return dict(values)
