"""Several workers on one store: who there is, who does what, and what one has ready for another."""

from alembic import op
from sqlalchemy import JSON, BigInteger, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"

metadata = MetaData()
Serial = BigInteger().with_variant(Integer, "sqlite")
Json = JSON().with_variant(JSONB(), "postgresql")
Name = String().with_variant(String(collation="C"), "postgresql")

TABLES = (
    Table(
        "workers",
        metadata,
        Column("worker", Name, primary_key=True),
        Column("host", Name, nullable=False),
        Column("roles", Json, nullable=False),
        Column("release", Name, nullable=False),
        Column("url", Name),
        Column("started", Float, nullable=False),
        Column("seen", Float, nullable=False),
    ),
    Table(
        "leases",
        metadata,
        Column("name", Name, primary_key=True),
        Column("worker", Name, nullable=False),
        Column("until", Float, nullable=False),
        Column("mark", Name, nullable=False, server_default=""),
    ),
    Table(
        "parcels",
        metadata,
        Column("id", Serial, primary_key=True),
        Column("model", Name, nullable=False),
        Column("topic", Name, nullable=False),
        Column("partition", Integer, nullable=False),
        Column("first", Float, nullable=False),
        Column("last", Float, nullable=False),
        Column("events", Integer, nullable=False),
        Column("taken", Integer, nullable=False, server_default="0"),
        Column("data", LargeBinary, nullable=False),
        Index("parcels_model_first", "model", "first", "id"),
        sqlite_autoincrement=True,
    ),
    Table(
        "changes",
        metadata,
        Column("id", Serial, primary_key=True),
        Column("model", Name, nullable=False),
        Column("data", LargeBinary, nullable=False),
        Column("created", Float, nullable=False),
        Index("changes_model_id", "model", "id"),
        sqlite_autoincrement=True,
    ),
)


def upgrade() -> None:
    """Make the tables, and say of partitions who reads them."""
    metadata.create_all(op.get_bind(), tables=TABLES, checkfirst=False)
    for column in (
        Column("worker", Name),
        Column("seen", Float),
        Column("watermark", Float),
        Column("behind", BigInteger),
    ):
        op.add_column("partitions", column)
    # silences are stored with their model from now on; what is known of them is learned again soon
    op.execute("delete from states where model = '' and part = 'volume'")
    if op.get_bind().dialect.name == "postgresql":
        # what is inside is compressed already
        op.execute("alter table parcels alter column data set storage external")
