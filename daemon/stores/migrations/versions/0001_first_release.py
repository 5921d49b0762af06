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
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

metadata = MetaData()
Serial = BigInteger().with_variant(Integer, "sqlite")
Json = JSON().with_variant(JSONB(), "postgresql")
Name = String().with_variant(String(collation="C"), "postgresql")

partitions = Table(
    "partitions",
    metadata,
    Column("topic", Name, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
    Column("mark", Name, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("model", Name, primary_key=True),
    Column("task", Name),
    Column("state", Name, nullable=False),
    Column("learning", Boolean, nullable=False, server_default=text("true")),
    Column("watching", Boolean, nullable=False, server_default=text("false")),
    Column("held", Text),
    Column("version", Name),
    Column("rows", BigInteger, nullable=False, server_default="0"),
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
    Column("part", Name, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

waiting = Table(
    "waiting",
    metadata,
    Column("model", Name, primary_key=True),
    Column("partition", Name, primary_key=True),
    Column("first", BigInteger, primary_key=True),
    Column("rows", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

archive_chunks = Table(
    "archive_chunks",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", Name, nullable=False),
    Column("kind", Name, nullable=False),
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
    Column("path", Name, primary_key=True),
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
    Column("row", BigInteger, nullable=False),
    Column("ts", Float, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("category", Name),
    Column("value", Float),
    Column("low", Float),
    Column("high", Float),
    Column("reference", Float),
    Column("effect", Float),
    Column("counts", Json),
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
    Column("state", Name, nullable=False),
    Column("incident", BigInteger),
    Column("raised", Float, nullable=False),
    Column("closed", Float),
    Column("closed_reason", Name),
    Column("closed_row", BigInteger),
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

jobs = Table(
    "jobs",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", Name, nullable=False),
    Column("state", Name, nullable=False),
    Column("trigger", Name, nullable=False),
    Column("alarm", BigInteger),
    Column("since_row", BigInteger),
    Column("cutoff", Float),
    Column("version", Name),
    Column("champion", Name),
    Column("by", Name),
    Column("stage", Name),
    Column("progress", Float),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("owner", Name),
    Column("lease_until", Float),
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("finished", Float),
    Column("outcome", Name),
    Column("reasons", Json),
    Column("result", Json),
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
    Column("model", Name, primary_key=True),
    Column("version", Name, primary_key=True),
    Column("state", Name, nullable=False),
    Column("reason", Name),
    Column("by", Name),
    Column("origin", Name, nullable=False),
    Column("path", Name),
    Column("hash", Name),
    Column("job", BigInteger),
    Column("created", Float, nullable=False),
    Column("promoted", Float),
    Column("adopted", Float),
    Column("retired", Float),
    Column("from_row", BigInteger),
    Column("previous", Name),
    Column("metrics", Json),
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
    Column("job", Name, primary_key=True),
    Column("slot", Float, primary_key=True),
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", Name, nullable=False),
    Column("state", Name, nullable=False),
    Column("opened", Float, nullable=False),
    Column("closed", Float),
    Column("headline", Text, nullable=False, server_default=""),
    Column("message_ts", Name),
    Column("channel", Name),
    Index("incidents_model_state", "model", "state"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("incident", BigInteger),
    Column("model", Name, nullable=False),
    Column("kind", Name, nullable=False),
    Column("body", Json, nullable=False),
    Column("state", Name, nullable=False),
    Column("created", Float, nullable=False),
    Column("not_before", Float, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("sent", Float),
    Column("error", Text),
    Column("maybe_sent", Boolean, nullable=False, server_default=text("false")),
    Index("outbox_state", "state", "id"),
    Index("outbox_incident", "incident"),
)

silences = Table(
    "silences",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", Name, nullable=False),
    Column("signal", Name),
    Column("until", Float, nullable=False),
    Column("by", Name, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
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
    Column("detail", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("at", Float, nullable=False),
    Column("resent", Float),
    UniqueConstraint("topic", "partition", "offset", "line"),
)


def upgrade() -> None:
    """Make every table and index."""
    metadata.create_all(op.get_bind(), checkfirst=False)
