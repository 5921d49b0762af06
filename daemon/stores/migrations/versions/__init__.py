"""One file a revision; the rest is Alembic's."""
