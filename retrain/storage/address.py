"""How a storage is addressed: ``/folder``, ``file:///folder`` or ``s3://BUCKET/PREFIX?endpoint_override=...``."""

import os
import re
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

ACCEPTED: Final = "a folder, or s3://BUCKET/PREFIX?region=NAME&endpoint_override=http://HOST:PORT (both optional)"
OPTIONS: Final = frozenset({"endpoint_override", "region"})
BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
ACCESS_KEY: Final = "DRIFTD_ARCHIVE_ACCESS_KEY"
SECRET_KEY: Final = "DRIFTD_ARCHIVE_SECRET_KEY"  # noqa: S105 (the name of a variable)


@dataclass(frozen=True, slots=True)
class Keys:
    """What proves to S3 who asks."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class FolderAddress:
    """A folder of this machine, or one that is mounted here."""

    path: Path


@dataclass(frozen=True, slots=True)
class S3Address:
    """A part of a bucket. ``endpoint`` is None for Amazon's own; ``region`` None for that of the environment."""

    bucket: str
    prefix: str
    endpoint: str | None = None
    region: str | None = None

    def __str__(self) -> str:
        options = {"endpoint_override": self.endpoint, "region": self.region}
        query = "&".join(f"{name}={quote(value, safe=':/')}" for name, value in options.items() if value)
        path = f"/{quote(self.prefix)}" if self.prefix else ""
        return f"s3://{self.bucket}{path}" + (f"?{query}" if query else "")


def read_address(text: str) -> FolderAddress | S3Address:
    """Read an address. Raises ValueError; its text holds nothing of ``text`` but option names and the scheme."""
    scheme, found, _ = text.partition("://")
    if not found:
        return FolderAddress(Path(text))
    if scheme == "file":
        parts = urlsplit(text)
        if parts.netloc not in {"", "localhost"} or parts.query:
            raise ValueError("a file:// address is file:///FOLDER")
        return FolderAddress(Path(unquote(parts.path)))
    if scheme != "s3":
        raise ValueError(f"{scheme}:// is no storage that is supported")
    return _read_s3(text)


def _read_s3(text: str) -> S3Address:
    parts = urlsplit(text)
    if "@" in parts.netloc or "@" in text.partition("?")[0]:
        raise ValueError(f"keys do not belong into the address: set {ACCESS_KEY} and {SECRET_KEY}")
    if not BUCKET.fullmatch(parts.netloc):
        raise ValueError("a bucket has 3 to 63 lower-case letters, digits, dots and dashes")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(set(options) - OPTIONS)
    if unknown or parts.fragment:
        raise ValueError(f"known options are {' and '.join(sorted(OPTIONS))}, not {', '.join(unknown) or '#'}")
    endpoint = options.get("endpoint_override")
    if endpoint is not None:
        if "://" not in endpoint:
            endpoint = f"https://{endpoint}"
        place = urlsplit(endpoint)
        if place.scheme not in {"http", "https"} or not place.hostname or place.path.strip("/") or "@" in endpoint:
            raise ValueError("endpoint_override is http://HOST:PORT or https://HOST:PORT")
        endpoint = f"{place.scheme}://{place.netloc}"
    prefix = "/".join(part for part in unquote(parts.path).split("/") if part)
    return S3Address(parts.netloc, prefix, endpoint, options.get("region") or None)


def take_keys(environ: MutableMapping[str, str] = os.environ) -> Keys | None:
    """Return the keys that the process was started with, and take them out of its environment."""
    access_key, secret_key = environ.pop(ACCESS_KEY, None), environ.pop(SECRET_KEY, None)
    return Keys(access_key, secret_key) if access_key and secret_key else None
