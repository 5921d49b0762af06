"""Every table of the store, on one page. Times are epoch seconds."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    UniqueConstraint,
    text,
)

from daemon.stores.column_types import Json, Name, Serial, Words

metadata = MetaData()

# --- the stream: where it stands, and what was derived from it, written in one transaction per checkpoint

partitions = Table(
    "partitions",
    metadata,
    Column("topic", Name, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
    Column("mark", Name, nullable=False),  # of the checkpoint that moved it last
    # where several workers share the work
    Column("worker", Name),  # who reads it
    Column("seen", Float),  # when that worker last said so
    Column("watermark", Float),  # no event that is still to come counts as having arrived before
    Column("behind", BigInteger),  # records that were not read yet
)

models = Table(
    "models",
    metadata,
    Column("model", Name, primary_key=True),
    Column("task", Name),  # binary, multiclass or regression; null while unknown
    Column("state", Name, nullable=False),  # derived by ``versions.settle``
    Column("learning", Boolean, nullable=False, server_default=text("true")),  # has no reference yet
    Column("watching", Boolean, nullable=False, server_default=text("false")),  # a new version is on probation
    Column("held", Words),  # what a person has to see to before anything happens by itself again
    Column("version", Name),  # the version in service
    Column("rows", BigInteger, nullable=False, server_default="0"),  # distinct predictions so far
    Column("first_ts", Float),
    Column("last_ts", Float),
    Column("last_label_ts", Float),
    Column("last_arrival", Float),
    Column("performance", Json),
    Column("created", Float, nullable=False),
)

counters = Table(
    "counters",
    metadata,
    Column("model", Name, primary_key=True),
    Column("name", Name, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

states = Table(
    "states",
    metadata,
    Column("model", Name, primary_key=True),
    Column("part", Name, primary_key=True),  # such as "reference:features" or "detector:features:e_detector"
    Column("data", LargeBinary, nullable=False),
)

waiting = Table(
    "waiting",
    metadata,
    Column("model", Name, primary_key=True),
    Column("partition", Name, primary_key=True),
    Column("first", BigInteger, primary_key=True),  # chunks are applied in this order
    Column("rows", BigInteger, nullable=False),  # the model's row count when it was written
    Column("data", LargeBinary, nullable=False),
)

archive_chunks = Table(
    "archive_chunks",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", Name, nullable=False),
    Column("kind", Name, nullable=False),  # events, features or labels
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
    Column("path", Name, primary_key=True),  # below the archive's folder
    Column("model", Name, nullable=False),
    Column("kind", Name, nullable=False),
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
    Column("model", Name, nullable=False),
    Column("signal", Name, nullable=False),
    Column("version", Name),
    Column("row", BigInteger, nullable=False),  # last row of the chunk
    Column("ts", Float, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("category", Name),  # of a category, the value whose share is drawn: the reference's most frequent one
    Column("value", Float),  # what is drawn: mean, error rate or share
    Column("low", Float),
    Column("high", Float),
    Column("reference", Float),
    Column("effect", Float),  # population stability index against the reference
    Column("counts", Json),  # rows per bin
    Index("signals_model_signal_row", "model", "signal", "row"),
    Index("signals_model_id", "model", "id"),
    Index("signals_model_ts", "model", "ts"),
)

alarms = Table(
    "alarms",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", Name, nullable=False),
    Column("version", Name),
    Column("kind", Name, nullable=False),
    Column("signal", Name, nullable=False),
    Column("detector", Name, nullable=False),
    Column("severity", Name, nullable=False),
    Column("row", BigInteger, nullable=False),
    Column("ts", Float, nullable=False),
    Column("change_row", BigInteger),
    Column("change_ts", Float),
    Column("evidence", Json, nullable=False),
    Column("ranking", Json, nullable=False),
    Column("state", Name, nullable=False),  # open or closed
    Column("incident", BigInteger),
    Column("raised", Float, nullable=False),
    Column("closed", Float),
    Column("closed_reason", Name),
    Column("closed_row", BigInteger),  # first row after what was raised: broken rows before it never train
    Column("acknowledged_by", Name),
    Column("acknowledged", Float),
    Index("alarms_model_state", "model", "state"),
    Index("alarms_model_id", "model", "id"),
    Index("alarms_incident", "incident"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", Name, nullable=False),
    Column("at", Float, nullable=False),
    Column("row", BigInteger),
    Column("alarm", BigInteger),
    Column("action", Name, nullable=False),
    Column("reason", Name, nullable=False),
    Column("detail", Json, nullable=False),
    Index("decisions_model", "model", "id"),
)

# --- several workers: who there is, who does what, and what one has ready for another

workers = Table(
    "workers",
    metadata,
    Column("worker", Name, primary_key=True),
    Column("host", Name, nullable=False),
    Column("roles", Json, nullable=False),  # ingest, detect, web, train
    Column("release", Name, nullable=False),  # the version of driftd
    Column("url", Name),  # of its page, where it has one
    Column("started", Float, nullable=False),
    Column("seen", Float, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Name, primary_key=True),  # of what one worker does at a time: "model:" and a model
    Column("worker", Name, nullable=False),
    Column("until", Float, nullable=False),
    Column("mark", Name, nullable=False, server_default=""),  # of the checkpoint that relied on it last
)

parcels = Table(
    "parcels",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", Name, nullable=False),
    Column("topic", Name, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("first", Float, nullable=False),  # when the first of its events arrived, and the last
    Column("last", Float, nullable=False),
    Column("events", Integer, nullable=False),
    Column("taken", Integer, nullable=False, server_default="0"),  # events that its model's owner has judged
    Column("data", LargeBinary, nullable=False),
    Index("parcels_model_first", "model", "first", "id"),
    # as on PostgreSQL, a number is never given out again: whoever still sees a row that is gone tells it by that
    sqlite_autoincrement=True,
)

changes = Table(
    "changes",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", Name, nullable=False),
    Column("data", LargeBinary, nullable=False),  # what the model's owner is to go by from now on
    Column("created", Float, nullable=False),
    Index("changes_model_id", "model", "id"),
    sqlite_autoincrement=True,
)

# --- retrains and versions

jobs = Table(
    "jobs",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", Name, nullable=False),
    Column("state", Name, nullable=False),  # queued, running, succeeded, failed
    Column("trigger", Name, nullable=False),  # alarm, schedule, refit or manual
    Column("alarm", BigInteger),
    Column("since_row", BigInteger),
    Column("cutoff", Float),
    Column("version", Name),  # the version to make
    Column("champion", Name),  # the version it is compared with
    Column("by", Name),  # who asked for it
    Column("stage", Name),
    Column("progress", Float),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("owner", Name),
    Column("lease_until", Float),
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("finished", Float),
    Column("outcome", Name),  # promote, hold, reject or failed
    Column("reasons", Json),
    Column("result", Json),
    Column("error", Words),
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
    Column("model", Name, primary_key=True),
    Column("version", Name, primary_key=True),
    Column("state", Name, nullable=False),  # see versions.VersionState
    Column("reason", Name),  # why it is in that state
    Column("by", Name),  # who put it there
    Column("origin", Name, nullable=False),  # trained or external
    Column("path", Name),  # its files, while they are kept; of an external one what its service was given
    Column("hash", Name),
    Column("job", BigInteger),
    Column("created", Float, nullable=False),
    Column("promoted", Float),
    Column("adopted", Float),  # when the pipeline took over its reference
    Column("retired", Float),
    Column("from_row", BigInteger),
    Column("previous", Name),
    Column("metrics", Json),
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
    Column("job", Name, primary_key=True),
    Column("slot", Float, primary_key=True),
)

# --- people

incidents = Table(
    "incidents",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", Name, nullable=False),
    Column("state", Name, nullable=False),  # open or closed
    Column("opened", Float, nullable=False),
    Column("closed", Float),
    Column("headline", Words, nullable=False, server_default=""),
    Column("message_ts", Name),  # Slack's name for the message
    Column("channel", Name),
    Index("incidents_model_state", "model", "state"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("incident", BigInteger),
    Column("model", Name, nullable=False),
    Column("kind", Name, nullable=False),  # opened, updated, detail or closed
    Column("body", Json, nullable=False),
    Column("state", Name, nullable=False),  # waiting, sent, dropped
    Column("created", Float, nullable=False),
    Column("not_before", Float, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("sent", Float),
    Column("error", Words),
    Column("maybe_sent", Boolean, nullable=False, server_default=text("false")),
    Index("outbox_state", "state", "id"),
    Index("outbox_incident", "incident"),
)

silences = Table(
    "silences",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", Name, nullable=False),
    Column("signal", Name),  # null: all of the model
    Column("until", Float, nullable=False),
    Column("by", Name, nullable=False),
    Column("reason", Words, nullable=False, server_default=""),
    Column("created", Float, nullable=False),
    Index("silences_model_until", "model", "until"),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("topic", Name, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("line", Integer, nullable=False),
    Column("model", Name),
    Column("reason", Name, nullable=False),
    Column("detail", Words, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("at", Float, nullable=False),
    Column("resent", Float),
    UniqueConstraint("topic", "partition", "offset", "line"),
)
