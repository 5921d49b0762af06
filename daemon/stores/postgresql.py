"""PostgreSQL as the store: a server that several daemons and people share.

The URL is libpq's, parameters such as ``sslmode`` and ``sslrootcert`` included. Writers exclude each other as they do
on SQLite, by advisory locks that are taken first and in one order: no transaction reads what another is about to
change, and none can wait for another in a circle. Checkpoints of different models go beside each other.
"""

import json
import re
import ssl
from collections.abc import Collection, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import asyncpg
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from daemon.stores.column_types import storable
from daemon.stores.errors import StoreAway, StoreError, StoreRefuses

CONNECT_SECONDS: Final = 10.0
"""To open a connection, unless the URL's ``connect_timeout`` says otherwise."""
COMMAND_SECONDS: Final = 60.0
"""After which a statement without an answer counts as lost: the network may be gone without a word."""
POOL_SECONDS: Final = 10.0
"""To wait for a connection that another task uses."""
SESSION: Final = {
    "application_name": "driftd",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "jit": "off",  # compiling costs more than any of our statements takes
}

WRITES: Final = {
    # a worker that stops dead inside a transaction must not hold up the others for ever
    "idle_in_transaction_session_timeout": "30s",
}

FILES: Final = frozenset({"sslrootcert", "sslcert", "sslkey", "sslcrl"})
"""Parameters that name a file."""

WRITERS: Final = 0x64726966
"""The lock of all writers ("drif" in ASCII); one who writes to single models shares it, and takes a lock for each."""

MAYBE_NOT_STORABLE: Final = re.compile(r"\\u(0000|d[89a-f])")
"""The character zero, and halves of characters; whole ones are written like that too."""

REFUSED: Final = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    ssl.SSLError,
)


def engines(url: str, connections: int) -> tuple[AsyncEngine, AsyncEngine]:
    """A writer and a reader, with so many ``connections`` together.

    Each has its own, so that many who read do not hold up a checkpoint.
    """
    parsed = make_url(url).set(drivername="postgresql")
    writers = max(1, connections // 3)
    writer = _engine(parsed, writers, SESSION | WRITES, isolation_level="READ COMMITTED")
    reader = _engine(parsed, connections - writers, SESSION, isolation_level="REPEATABLE READ")
    return writer, reader.execution_options(postgresql_readonly=True)


def _engine(url: URL, connections: int, session: Mapping[str, str], **options: Any) -> AsyncEngine:
    place = url.set(query={}).render_as_string(hide_password=True)
    arguments = _arguments(url, session)
    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: _connect(place, arguments),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=POOL_SECONDS,
        pool_pre_ping=True,
        json_serializer=_json,
        **options,
    )


async def _connect(place: str, arguments: Mapping[str, Any]) -> Any:
    try:
        return await asyncpg.connect(**arguments)
    except asyncpg.ClientConfigurationError as error:
        raise StoreRefuses(f"{place} cannot be used as DRIFTD_DATABASE_URL says: {error}") from error
    except REFUSED as error:
        raise StoreRefuses(
            f"{place} does not let driftd in: {error}. Check user, password and TLS in DRIFTD_DATABASE_URL and"
            " DRIFTD_DATABASE_PASSWORD_FILE, and that the database exists and the user may use it"
        ) from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        why = str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
        raise StoreAway(f"{place} does not answer: {why}") from error


def _arguments(url: URL, session: Mapping[str, str]) -> dict[str, Any]:
    """What asyncpg takes: the URL as it is, but for what it would not understand."""
    query = dict(url.query)
    seconds = query.pop("connect_timeout", str(CONNECT_SECONDS))
    try:
        timeout = float(str(seconds))
    except ValueError:
        raise StoreError(f"connect_timeout={seconds} in DRIFTD_DATABASE_URL is no number of seconds") from None
    for name in FILES & query.keys():
        if query[name] != "system" and not Path(str(query[name])).is_file():
            raise StoreError(f"{name}={query[name]} in DRIFTD_DATABASE_URL: there is no such file")
    return {
        "dsn": url.set(query=query).render_as_string(hide_password=False),
        "timeout": timeout,
        "command_timeout": COMMAND_SECONDS,
        "server_settings": {name: value for name, value in session.items() if name not in query},
    }


def _json(value: object) -> str:
    """JSON that PostgreSQL takes: it has no NaN, no infinity, and no character zero."""
    try:
        written = json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_storable(value))
    return json.dumps(_storable(value)) if MAYBE_NOT_STORABLE.search(written) else written


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {_storable(key): _storable(held) for key, held in value.items()}
    return [_storable(held) for held in value] if isinstance(value, list | tuple) else value


async def exclude(connection: AsyncConnection, models: Collection[str] | None) -> None:
    """Take the locks of a write transaction, which its end gives back."""
    if models is None:
        await connection.execute(text("select pg_advisory_xact_lock(:writers)"), {"writers": WRITERS})
        return
    await connection.execute(text("select pg_advisory_xact_lock_shared(:writers)"), {"writers": WRITERS})
    # two names with one key only wait for each other without need
    keys = sorted({crc32(model.encode()) - (1 << 31) for model in models})
    await connection.execute(
        text("select pg_advisory_xact_lock(cast(:writers as int), key) from unnest(cast(:keys as int[])) as key"),
        {"writers": WRITERS, "keys": keys},
    )
