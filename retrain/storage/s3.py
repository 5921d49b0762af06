"""S3, and whatever speaks its protocol. Nothing of it is loaded before it is used."""

import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

from retrain.storage.address import ACCESS_KEY, SECRET_KEY, Keys, S3Address
from retrain.storage.base import StorageError, StorageRefused, StoredFile
from retrain.storage.folder import whole

CONNECT_SECONDS: Final = 5.0
REQUEST_SECONDS: Final = 30.0
"""Without any byte for so long, a request is given up."""
ATTEMPTS: Final = 3
PIECE_BYTES: Final = 8 << 20
"""Asked for at once."""
DENIED: Final = frozenset(
    {"ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "INVALID_CLIENT_TOKEN_ID"}
)
ANSWERS_BY_CODE: Final = re.compile(r"AWS Error (\w+)(?: \(HTTP status (\d+)\))?")
SECRETS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class S3Storage:
    """Objects of one bucket below a prefix. Without ``keys`` the usual AWS variables and files hold."""

    folder: Path | None = None

    def __init__(self, address: S3Address, keys: Keys | None = None) -> None:
        self.place = str(address)
        self._address = address
        self._keys = keys
        self._root = "/".join(part for part in (address.bucket, address.prefix) if part)
        self.environment: Mapping[str, str] = (
            {} if keys is None else {ACCESS_KEY: keys.access_key, SECRET_KEY: keys.secret_key}
        )
        self._lock = threading.Lock()
        self._made: Any = None

    def check(self) -> None:
        """See ``Storage``."""
        import pyarrow.fs

        name = f".driftd-{uuid4().hex}"
        with self._told():
            self._system.get_file_info(pyarrow.fs.FileSelector(self._root, allow_not_found=True))
        with self.create(name) as sink:
            sink.write(b"driftd")
        with self._told():
            self._system.open_input_file(self._at(name)).read()
        self.remove(name)

    @contextmanager
    def create(self, name: str) -> Iterator[Any]:
        """See ``Storage``."""
        import pyarrow as pa

        # as a whole in memory first: a stream that is given up half-way would leave half an object
        content = pa.BufferOutputStream()
        yield content
        with self._told(), self._writing(name) as sink:
            sink.write(content.getvalue())

    def open(self, name: str) -> Any:
        """See ``Storage``."""
        with self._told():
            return self._system.open_input_file(self._at(name))

    def put(self, file: Path, name: str) -> None:
        """See ``Storage``."""
        import pyarrow as pa

        with pa.OSFile(str(file)) as source, self._told(), self._writing(name) as sink:
            sink.upload(source)

    def fetch(self, name: str, file: Path) -> None:
        """See ``Storage``."""
        with self.open(name) as source, whole(file) as path, path.open("wb") as sink, self._told():
            shutil.copyfileobj(source, sink, PIECE_BYTES)

    def files(self, below: str) -> list[StoredFile]:
        """See ``Storage``."""
        from pyarrow.fs import FileSelector, FileType

        with self._told():
            found = self._system.get_file_info(FileSelector(self._at(below), recursive=True, allow_not_found=True))
        start = len(self._root) + 1
        return [
            StoredFile(one.path[start:], one.size, one.mtime.timestamp()) for one in found if one.type == FileType.File
        ]

    def remove(self, name: str) -> None:
        """See ``Storage``."""
        with suppress(FileNotFoundError), self._told():
            self._system.delete_file(self._at(name))

    def __repr__(self) -> str:
        return f"S3Storage({self.place})"

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _writing(self, name: str) -> Any:
        return self._system.open_output_stream(self._at(name))

    @property
    def _system(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> Any:
        from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

        options: dict[str, Any] = {}
        if self._keys is not None:
            options |= {"access_key": self._keys.access_key, "secret_key": self._keys.secret_key}
        if self._address.endpoint is not None:
            endpoint = urlsplit(self._address.endpoint)
            options |= {"endpoint_override": endpoint.netloc, "scheme": endpoint.scheme}
        if self._address.region is not None:
            options["region"] = self._address.region
        return S3FileSystem(
            **options,
            connect_timeout=CONNECT_SECONDS,
            request_timeout=REQUEST_SECONDS,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
            allow_delayed_open=True,  # a small file is one request
        )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Let errors say what to do about them, and nothing that is secret."""
        import pyarrow as pa

        try:
            yield
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException) as error:
            # from None: the original may hold the access key
            raise self._explained(str(error)) from None

    def _explained(self, text: str) -> StorageError:
        found = ANSWERS_BY_CODE.search(text)
        code, status = (found[1], found[2]) if found is not None else ("", None)
        bucket = f"the bucket {self._address.bucket}"
        where = self._address.endpoint or "Amazon S3"
        if code == "NO_SUCH_BUCKET":
            return StorageRefused(f"{bucket} is not there at {where}: make it, or correct DRIFTD_ARCHIVE_URL")
        if code in DENIED or status in {"401", "403"}:
            hint = f"check {ACCESS_KEY} and {SECRET_KEY} (or the AWS_ variables), and the rights in docs/archive.md"
            return StorageRefused(f"access to {bucket} at {where} is denied ({code}): {hint}")
        if code == "NETWORK_CONNECTION":
            return StorageError(f"{where} cannot be reached: see that it runs, and that DRIFTD_ARCHIVE_URL is right")
        return StorageError(f"{bucket} at {where} cannot be used: {self._without_secrets(text)}")

    def _without_secrets(self, text: str) -> str:
        known = [*self.environment.values(), *(os.environ.get(name) for name in SECRETS)]
        for secret in known:
            if secret:
                text = text.replace(secret, "***")
        return " ".join(text.split())
