"""Listens, and stops listening in bounded time."""

import asyncio
import errno
import socket
from dataclasses import dataclass
from typing import Final

from aiohttp import web

BACKLOG: Final = 512
LAST_CONNECTION_SECONDS: Final = 5.0
"""How long a request under way may take once the server stops."""
LINGERING_SECONDS: Final = 1.0
"""How long the rest of a body that was refused is read, so that its sender gets to see the answer."""


class CannotListen(OSError):
    """The address cannot be listened on: free it, or name another one as the text says."""


@dataclass(frozen=True, slots=True)
class Server:
    """A listening server."""

    host: str
    port: int
    _runner: web.AppRunner

    @property
    def url(self) -> str:
        """Where a person on this machine finds it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104 (a comparison)
        return f"http://[{host}]:{self.port}/" if ":" in host and "[" not in host else f"http://{host}:{self.port}/"

    async def stop(self, seconds: float = LAST_CONNECTION_SECONDS + 1) -> None:
        """Take no more connections, let requests under way end, close everything. Never takes longer than this."""
        try:
            async with asyncio.timeout(seconds):
                await self._runner.cleanup()
        except TimeoutError:
            pass  # what is still open ends with the process


async def serve(app: web.Application, host: str, port: int) -> Server:
    """Listen on ``host`` and ``port`` (0 takes a free one). Raises CannotListen, which says what to type."""
    runner = web.AppRunner(
        app,
        handle_signals=False,
        access_log=None,
        # bodies are decompressed by hand, within a bound: 298 KB of gzip can be 679 MB
        auto_decompress=False,
        shutdown_timeout=LAST_CONNECTION_SECONDS,
        keepalive_timeout=75.0,
        lingering_time=LINGERING_SECONDS,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=BACKLOG)
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise CannotListen(_reason(error, host, port)) from error
    return Server(host, runner.addresses[0][1], runner)


def _reason(error: OSError, host: str, port: int) -> str:
    if isinstance(error, socket.gaierror):
        return f"{host!r} is no address of this machine; set DRIFTD_HTTP_HOST=127.0.0.1"
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"port {port} on {host} is in use by another program, perhaps by another driftd; "
                f"stop it, or choose another port: DRIFTD_HTTP_PORT={port + 1} driftd run"
            )
        case errno.EACCES:
            return f"port {port} needs more rights than this user has; set DRIFTD_HTTP_PORT=6066"
        case errno.EADDRNOTAVAIL:
            return f"{host} is no address of this machine; set DRIFTD_HTTP_HOST=127.0.0.1"
    # Python 3.13 gives no number where none of a host's addresses would do
    why = error.strerror or str(error)
    return f"cannot listen on {host} port {port}: {why}; set DRIFTD_HTTP_HOST=127.0.0.1 or another DRIFTD_HTTP_PORT"
