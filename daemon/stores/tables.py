"""Every table of the store, on one page. Times are epoch seconds."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

# SQLite numbers only INTEGER keys by itself; PostgreSQL wants the room of BIGINT
Serial = BigInteger().with_variant(Integer, "sqlite")

# --- the stream: where it stands, and what was derived from it, written in one transaction per checkpoint

partitions = Table(
    "partitions",
    metadata,
    Column("topic", String, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("model", String, primary_key=True),
    Column("task", String),  # binary, multiclass or regression; null while unknown
    Column("state", String, nullable=False),  # derived by ``versions.settle``
    Column("learning", Boolean, nullable=False, server_default=text("true")),  # has no reference yet
    Column("watching", Boolean, nullable=False, server_default=text("false")),  # a new version is on probation
    Column("held", Text),  # what a person has to see to before anything happens by itself again
    Column("version", String),  # the version in service
    Column("rows", BigInteger, nullable=False, server_default="0"),  # distinct predictions so far
    Column("first_ts", Float),
    Column("last_ts", Float),
    Column("last_label_ts", Float),
    Column("last_arrival", Float),
    Column("performance", JSON),
    Column("created", Float, nullable=False),
)

counters = Table(
    "counters",
    metadata,
    Column("model", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

states = Table(
    "states",
    metadata,
    Column("model", String, primary_key=True),
    Column("part", String, primary_key=True),  # such as "reference:features" or "detector:features:e_detector"
    Column("data", LargeBinary, nullable=False),
)

waiting = Table(
    "waiting",
    metadata,
    Column("model", String, primary_key=True),
    Column("partition", String, primary_key=True),
    Column("first", BigInteger, primary_key=True),  # chunks are applied in this order
    Column("rows", BigInteger, nullable=False),  # the model's row count when it was written
    Column("data", LargeBinary, nullable=False),
)

archive_chunks = Table(
    "archive_chunks",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", String, nullable=False),
    Column("kind", String, nullable=False),  # events, features or labels
    Column("rows", BigInteger, nullable=False),
    Column("first_row", BigInteger),
    Column("last_row", BigInteger),
    Column("last_ts", Float),
    Column("data", LargeBinary, nullable=False),  # Arrow IPC stream
    Index("archive_chunks_model_kind", "model", "kind"),
)

archive_files = Table(
    "archive_files",
    metadata,
    Column("path", String, primary_key=True),  # below the archive's folder
    Column("model", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("first_row", BigInteger),
    Column("last_row", BigInteger),
    Column("last_ts", Float),
    Column("bytes", BigInteger, nullable=False),
    Index("archive_files_model_kind", "model", "kind"),
)

signals = Table(
    "signals",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", String, nullable=False),
    Column("signal", String, nullable=False),
    Column("version", String),
    Column("row", BigInteger, nullable=False),  # last row of the chunk
    Column("ts", Float, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("category", String),  # of a category, the value whose share is drawn: the reference's most frequent one
    Column("value", Float),  # what is drawn: mean, error rate or share
    Column("low", Float),
    Column("high", Float),
    Column("reference", Float),
    Column("effect", Float),  # population stability index against the reference
    Column("counts", JSON),  # rows per bin
    Index("signals_model_signal_row", "model", "signal", "row"),
)

alarms = Table(
    "alarms",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", String, nullable=False),
    Column("version", String),
    Column("kind", String, nullable=False),
    Column("signal", String, nullable=False),
    Column("detector", String, nullable=False),
    Column("severity", String, nullable=False),
    Column("row", BigInteger, nullable=False),
    Column("ts", Float, nullable=False),
    Column("change_row", BigInteger),
    Column("change_ts", Float),
    Column("evidence", JSON, nullable=False),
    Column("ranking", JSON, nullable=False),
    Column("state", String, nullable=False),  # open or closed
    Column("incident", BigInteger),
    Column("raised", Float, nullable=False),
    Column("closed", Float),
    Column("closed_reason", String),
    Column("closed_row", BigInteger),  # first row after what was raised: broken rows before it never train
    Column("acknowledged_by", String),
    Column("acknowledged", Float),
    Index("alarms_model_state", "model", "state"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", String, nullable=False),
    Column("at", Float, nullable=False),
    Column("row", BigInteger),
    Column("alarm", BigInteger),
    Column("action", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("detail", JSON, nullable=False),
    Index("decisions_model", "model", "id"),
)

# --- retrains and versions

jobs = Table(
    "jobs",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", String, nullable=False),
    Column("state", String, nullable=False),  # queued, running, succeeded, failed
    Column("trigger", String, nullable=False),  # alarm, schedule, refit or manual
    Column("alarm", BigInteger),
    Column("since_row", BigInteger),
    Column("cutoff", Float),
    Column("version", String),  # the version to make
    Column("champion", String),  # the version it is compared with
    Column("by", String),  # who asked for it
    Column("stage", String),
    Column("progress", Float),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("owner", String),
    Column("lease_until", Float),
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("finished", Float),
    Column("outcome", String),  # promote, hold, reject or failed
    Column("reasons", JSON),
    Column("result", JSON),
    Column("error", Text),
    # one retrain at a time per model, whoever asks
    Index(
        "jobs_one_active",
        "model",
        unique=True,
        sqlite_where=text("state in ('queued', 'running')"),
        postgresql_where=text("state in ('queued', 'running')"),
    ),
    Index("jobs_model", "model", "id"),
)

versions = Table(
    "versions",
    metadata,
    Column("model", String, primary_key=True),
    Column("version", String, primary_key=True),
    Column("state", String, nullable=False),  # see versions.VersionState
    Column("reason", String),  # why it is in that state
    Column("by", String),  # who put it there
    Column("origin", String, nullable=False),  # trained or external
    Column("path", String),  # its files, while they are kept; of an external one what its service was given
    Column("hash", String),
    Column("job", BigInteger),
    Column("created", Float, nullable=False),
    Column("promoted", Float),
    Column("adopted", Float),  # when the pipeline took over its reference
    Column("retired", Float),
    Column("from_row", BigInteger),
    Column("previous", String),
    Column("metrics", JSON),
    # one champion a model
    Index(
        "versions_one_champion",
        "model",
        unique=True,
        sqlite_where=text("state = 'champion'"),
        postgresql_where=text("state = 'champion'"),
    ),
    # one deployment under way a model
    Index(
        "versions_one_deploying",
        "model",
        unique=True,
        sqlite_where=text("state = 'deploying'"),
        postgresql_where=text("state = 'deploying'"),
    ),
)

slots = Table(
    "slots",
    metadata,
    Column("job", String, primary_key=True),
    Column("slot", Float, primary_key=True),
)

# --- people

incidents = Table(
    "incidents",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", String, nullable=False),
    Column("state", String, nullable=False),  # open or closed
    Column("opened", Float, nullable=False),
    Column("closed", Float),
    Column("headline", Text, nullable=False, server_default=""),
    Column("message_ts", String),  # Slack's name for the message
    Column("channel", String),
    Index("incidents_model_state", "model", "state"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("incident", BigInteger),
    Column("model", String, nullable=False),
    Column("kind", String, nullable=False),  # opened, updated, detail or closed
    Column("body", JSON, nullable=False),
    Column("state", String, nullable=False),  # waiting, sent, dropped
    Column("created", Float, nullable=False),
    Column("not_before", Float, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("sent", Float),
    Column("error", Text),
    Column("maybe_sent", Boolean, nullable=False, server_default=text("false")),
    Index("outbox_state", "state", "id"),
)

silences = Table(
    "silences",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", String, nullable=False),
    Column("signal", String),  # null: all of the model
    Column("until", Float, nullable=False),
    Column("by", String, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("created", Float, nullable=False),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("topic", String, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("line", Integer, nullable=False),
    Column("model", String),
    Column("reason", String, nullable=False),
    Column("detail", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("at", Float, nullable=False),
    Column("resent", Float),
    UniqueConstraint("topic", "partition", "offset", "line"),
)
