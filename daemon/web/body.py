"""Reads a body into memory, within bounds."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib import import_module
from typing import Any, Final

from aiohttp import web

from daemon.transports.errors import Backlog
from daemon.web.context import CONTEXT, Limits
from daemon.web.faults import too_large
from daemon.web.problem import Problem, ProblemKind

GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS  # finds out by itself which of the two it is
RAW_DEFLATE: Final = -zlib.MAX_WBITS
ZSTD_MODULES: Final = ("compression.zstd", "backports.zstd")


class Room:
    """The memory that bodies may take together. Whoever finds it full is told to come back."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Keep ``size`` bytes of room meanwhile. Raises Backlog where there is none."""
        if self.held and self.held + size > self.limit:
            raise Backlog(events=0, size=self.held, retry_after=1)
        self.held += size
        try:
            yield
        finally:
            self.held -= size


ROOM: Final = web.AppKey("room", Room)


async def read_body(request: web.Request) -> bytes:
    """The body of ``request``, decompressed.

    Raises a Problem: 413 where it is too large as sent or once decompressed, 408 where it comes too slowly, 400 where
    it is not what its Content-Encoding says, 415 for an encoding that is not known.
    """
    limits = request.app[CONTEXT].limits
    encodings = [name.strip().lower() for name in request.headers.get("Content-Encoding", "").split(",")]
    decoders = [_decoder(name) for name in reversed(encodings) if name not in {"", "identity"}]
    if (request.content_length or 0) > limits.body_bytes:
        raise too_large(limits.body_bytes)
    try:
        async with asyncio.timeout(limits.body_seconds):
            body = await request.read()
    except TimeoutError:
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT,
            ProblemKind.BODY_TIMEOUT,
            f"the body did not arrive within {limits.body_seconds:g} s",
            hint="send fewer events at a time",
            headers={"Connection": "close"},
        ) from None
    for decode in decoders:
        body = decode(body, limits.decompressed_bytes)
    return body


def expected_bytes(request: web.Request, limits: Limits) -> int:
    """How much memory a request may come to need, as far as its headers tell."""
    sent = request.content_length if request.content_length is not None else limits.body_bytes
    return limits.decompressed_bytes if request.headers.get("Content-Encoding") else sent


def encodings() -> tuple[str, ...]:
    """The encodings that are understood here."""
    return ("gzip", "deflate", *(("zstd",) if _zstd() is not None else ()))


def _decoder(encoding: str) -> Callable[[bytes, int], bytes]:
    if encoding in {"gzip", "x-gzip"}:
        return lambda body, limit: _inflate(body, limit, GZIP_OR_ZLIB)
    if encoding == "deflate":
        # the name stands for zlib, and some send the bare stream; a zlib header is a multiple of 31
        return lambda body, limit: _inflate(
            body, limit, GZIP_OR_ZLIB if int.from_bytes(body[:2], "big") % 31 == 0 else RAW_DEFLATE
        )
    zstd = _zstd()
    if encoding == "zstd" and zstd is not None:
        return lambda body, limit: _decompress(body, limit, zstd.ZstdDecompressor, zstd.ZstdError)
    raise Problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        ProblemKind.UNSUPPORTED_ENCODING,
        f"Content-Encoding {encoding[:40]!r} is not understood",
        hint=f"use {', '.join(encodings())}, or none",
        headers={"Accept-Encoding": ", ".join(encodings())},
    )


def _inflate(body: bytes, limit: int, window: int) -> bytes:
    return _decompress(body, limit, lambda: zlib.decompressobj(window), zlib.error)


def _decompress(body: bytes, limit: int, start: Callable[[], Any], error: type[Exception]) -> bytes:
    """``body`` decompressed; never takes more than ``limit`` bytes and one, whatever it would come to."""
    parts: list[bytes] = []
    size = 0
    while body:
        stream = start()
        try:
            # one byte more than allowed, and never 0, which would mean without limit
            parts.append(stream.decompress(body, limit - size + 1))
        except error:
            raise _broken("it is damaged, or of another kind") from None
        size += len(parts[-1])
        if size > limit:
            raise too_large(limit, decompressed=True)
        if not stream.eof:
            raise _broken("it ends too early")
        body = stream.unused_data  # several streams one after the other are one body
    return b"".join(parts)


def _broken(how: str) -> Problem:
    return Problem(
        HTTPStatus.BAD_REQUEST,
        ProblemKind.BAD_ENCODING,
        f"the body cannot be decompressed: {how}",
        hint="check Content-Encoding, or send the body without one",
    )


def _zstd() -> Any:
    for name in ZSTD_MODULES:
        try:
            return import_module(name)
        except ImportError:
            continue
    return None
