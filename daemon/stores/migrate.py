"""Brings a store's tables to the form that this version of the daemon works with.

Alembic costs 11 MB and a sixth of a second to import: a store that is up to date is recognised without it.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from daemon.stores.engine import first_line, open_store
from daemon.stores.errors import StoreError
from daemon.stores.migrations import HEAD

MIGRATIONS: Final = Path(__file__).parent / "migrations"
INSUFFICIENT_PRIVILEGE: Final = "42501"


class StoreTooNew(StoreError):
    """The store was made by a newer version of driftd, whose tables this one does not know."""

    def __init__(self, url: str, revision: str) -> None:
        super().__init__(
            f"the store {make_url(url).render_as_string(hide_password=True)} was made by a newer driftd"
            f" (its revision is {revision}, this version knows {HEAD}):"
            " install that version again (pip install --upgrade driftd),"
            " or start with another DRIFTD_DATA_DIR or DRIFTD_DATABASE_URL"
        )
        self.revision = revision


def head() -> str:
    """Return the revision that this version of the daemon works with."""
    return HEAD


async def current(url: str) -> str | None:
    """Return the revision of the store at ``url``, None where it has no tables yet."""
    store = open_store(url)
    try:
        async with store.begin() as connection:  # not ``read``: that would refuse a file which does not exist yet
            return await connection.run_sync(_revision)
    finally:
        await store.close()


async def upgrade(url: str) -> str:
    """Make or migrate the tables of the store at ``url`` and return its revision.

    All or nothing: a failure leaves the store as it was. Where several processes try at once, one does the work while
    the others wait for it. Raises StoreTooNew for a store of a later version, and whatever the database raises where it
    cannot be reached or written.
    """
    store = open_store(url)
    try:
        async with store.begin() as connection:  # one process at a time: the others wait, and find the work done
            found = await connection.run_sync(_revision)
            if found != HEAD:
                if found is not None and not _known(found):
                    raise StoreTooNew(url, found)
                try:
                    await connection.run_sync(_migrate)
                except DBAPIError as error:
                    if getattr(error.orig, "sqlstate", None) == INSUFFICIENT_PRIVILEGE:
                        raise StoreError(_no_right(url, error)) from error
                    raise
        return HEAD
    finally:
        await store.close()


def _no_right(url: str, error: DBAPIError) -> str:
    user = make_url(url).username
    return (
        f"the store {make_url(url).render_as_string(hide_password=True)} does not let {user} make its tables"
        f" ({first_line(error)}): let its owner run"
        f' grant create on schema public to "{user}", or make the database with owner {user}'
    )


def _known(revision: str) -> bool:
    from alembic.script import ScriptDirectory

    return any(script.revision == revision for script in ScriptDirectory(MIGRATIONS).walk_revisions())


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("select version_num from alembic_version")).scalar()
    return found


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    command.upgrade(config, HEAD)
