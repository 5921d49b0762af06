"""The types of the store's columns, each in the form that suits the database."""

from typing import Any

from sqlalchemy import JSON, BigInteger, Dialect, Integer, String, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine

Serial = BigInteger().with_variant(Integer, "sqlite")
"""A key that numbers itself: SQLite does that for INTEGER only, PostgreSQL wants the room of BIGINT."""

Json = JSON().with_variant(JSONB(), "postgresql")
"""What JSON can say; NaN and infinity are null on PostgreSQL, which has no word for them there."""


class _Storable(TypeDecorator[str]):
    """Text that every database can store."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 (SQLAlchemy's own)
        """On its way into the store."""
        return None if value is None else storable(value)


class Words(_Storable):
    """Text for people."""

    impl = Text
    cache_ok = True


class Name(_Storable):
    """A name, which is compared and ordered by its characters' numbers on every database.

    An index that follows a language's order breaks when the server's own idea of that order changes with an update.
    """

    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The same order on PostgreSQL as on SQLite."""
        return dialect.type_descriptor(String(collation="C" if dialect.name == "postgresql" else None))


def storable(text: str) -> str:
    """``text`` with a mark in place of what PostgreSQL has no room for: the character zero, halves of characters."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
