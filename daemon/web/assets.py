"""Files that the page uses, served from memory."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from aiohttp import web

from daemon.web.problem import not_found

FOLDER: Final = Path(__file__).parent / "static"
TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: its bytes, the same compressed, and a digest that changes with them."""

    content: bytes
    compressed: bytes
    content_type: str
    digest: str


@cache
def assets() -> dict[str, Asset]:
    """Every file by its path below the folder."""
    found = {}
    for path in sorted(FOLDER.rglob("*")):
        if path.suffix in TYPES:
            content = path.read_bytes()
            digest = hashlib.blake2s(content, digest_size=8).hexdigest()
            found[path.relative_to(FOLDER).as_posix()] = Asset(
                content, gzip.compress(content, mtime=0), TYPES[path.suffix], digest
            )
    return found


def asset_url(name: str) -> str:
    """The address of a file, which changes when the file does, so that browsers may keep it for ever."""
    return f"/static/{name}?v={assets()[name].digest}"


async def get_asset(request: web.Request) -> web.Response:
    """One file; 304 where the browser has it."""
    asset = assets().get(request.match_info["name"])
    if asset is None:
        raise not_found(f"there is no file {request.path}")
    current = request.query.get("v") == asset.digest
    headers = {
        "ETag": f'"{asset.digest}"',
        "Cache-Control": "public, max-age=31536000, immutable" if current else "no-cache",
        "Vary": "Accept-Encoding",
    }
    if asset.digest in {tag.value for tag in request.if_none_match or ()}:
        return web.Response(status=304, headers=headers)
    body = asset.content
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        body = asset.compressed
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=body, headers={**headers, "Content-Type": asset.content_type})
