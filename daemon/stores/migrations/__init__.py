"""The revisions of the store's tables, in ``versions``. A released one is never changed."""

from typing import Final

HEAD: Final = "0002"
"""The newest of them, which the code works with: known without loading Alembic, and compared with it by a test."""
