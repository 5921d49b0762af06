"""The tables of the first release, as they were: changes are made by later revisions, never here."""

from alembic import op
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

revision = "0001"
down_revision = None

metadata = MetaData()
Serial = BigInteger().with_variant(Integer, "sqlite")

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
    Column("task", String),
    Column("state", String, nullable=False),
    Column("learning", Boolean, nullable=False, server_default=text("true")),
    Column("watching", Boolean, nullable=False, server_default=text("false")),
    Column("held", Text),
    Column("version", String),
    Column("rows", BigInteger, nullable=False, server_default="0"),
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
    Column("part", String, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

waiting = Table(
    "waiting",
    metadata,
    Column("model", String, primary_key=True),
    Column("partition", String, primary_key=True),
    Column("first", BigInteger, primary_key=True),
    Column("rows", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

archive_chunks = Table(
    "archive_chunks",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("first_row", BigInteger),
    Column("last_row", BigInteger),
    Column("last_ts", Float),
    Column("data", LargeBinary, nullable=False),
    Index("archive_chunks_model_kind", "model", "kind"),
)

archive_files = Table(
    "archive_files",
    metadata,
    Column("path", String, primary_key=True),
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
    Column("row", BigInteger, nullable=False),
    Column("ts", Float, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("category", String),
    Column("value", Float),
    Column("low", Float),
    Column("high", Float),
    Column("reference", Float),
    Column("effect", Float),
    Column("counts", JSON),
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
    Column("state", String, nullable=False),
    Column("incident", BigInteger),
    Column("raised", Float, nullable=False),
    Column("closed", Float),
    Column("closed_reason", String),
    Column("closed_row", BigInteger),
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

jobs = Table(
    "jobs",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", String, nullable=False),
    Column("state", String, nullable=False),
    Column("trigger", String, nullable=False),
    Column("alarm", BigInteger),
    Column("since_row", BigInteger),
    Column("cutoff", Float),
    Column("version", String),
    Column("champion", String),
    Column("by", String),
    Column("stage", String),
    Column("progress", Float),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("owner", String),
    Column("lease_until", Float),
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("finished", Float),
    Column("outcome", String),
    Column("reasons", JSON),
    Column("result", JSON),
    Column("error", Text),
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
    Column("state", String, nullable=False),
    Column("reason", String),
    Column("by", String),
    Column("origin", String, nullable=False),
    Column("path", String),
    Column("hash", String),
    Column("job", BigInteger),
    Column("created", Float, nullable=False),
    Column("promoted", Float),
    Column("adopted", Float),
    Column("retired", Float),
    Column("from_row", BigInteger),
    Column("previous", String),
    Column("metrics", JSON),
    Index(
        "versions_one_champion",
        "model",
        unique=True,
        sqlite_where=text("state = 'champion'"),
        postgresql_where=text("state = 'champion'"),
    ),
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

incidents = Table(
    "incidents",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", String, nullable=False),
    Column("state", String, nullable=False),
    Column("opened", Float, nullable=False),
    Column("closed", Float),
    Column("headline", Text, nullable=False, server_default=""),
    Column("message_ts", String),
    Column("channel", String),
    Index("incidents_model_state", "model", "state"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("incident", BigInteger),
    Column("model", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("body", JSON, nullable=False),
    Column("state", String, nullable=False),
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
    Column("signal", String),
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


def upgrade() -> None:
    """Make every table and index."""
    metadata.create_all(op.get_bind(), checkfirst=False)
