"""A folder: the data folder itself, or one that every node has mounted at the same path."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from retrain.storage.base import StorageRefused, StoredFile
from retrain.syncing import sync

UNFINISHED: Final = ".part"


class FolderStorage:
    """Files below ``folder``. One is written beside its place, synchronised and then moved there in one step."""

    environment: Mapping[str, str] = {}

    def __init__(self, folder: Path) -> None:
        self.folder: Path | None = folder
        self._root = folder
        self.place = str(folder)

    def check(self) -> None:
        """See ``Storage``."""
        name = f".driftd-{uuid4().hex}"
        try:
            with whole(self._root / name) as path:
                path.write_bytes(b"")
            self.remove(name)
        except OSError as error:
            message = f"cannot write to the folder {self._root}: {error.strerror or error}"
            raise StorageRefused(f"{message}; let the daemon's user write there, or mount it") from error

    @contextmanager
    def create(self, name: str) -> Iterator[Any]:
        """See ``Storage``."""
        import pyarrow as pa

        with whole(self._root / name) as path, pa.OSFile(str(path), "wb") as sink:
            yield sink

    def open(self, name: str) -> Any:
        """See ``Storage``."""
        import pyarrow as pa

        return pa.OSFile(str(self._root / name), "rb")

    def put(self, file: Path, name: str) -> None:
        """See ``Storage``."""
        target = self._root / name
        if target.exists() and target.samefile(file):
            return
        with whole(target) as path:
            shutil.copyfile(file, path)

    def fetch(self, name: str, file: Path) -> None:
        """See ``Storage``."""
        if file.exists() and file.samefile(self._root / name):
            return
        with whole(file) as path:
            shutil.copyfile(self._root / name, path)

    def files(self, below: str) -> list[StoredFile]:
        """See ``Storage``."""
        found = []
        for path in (self._root / below).rglob("*"):
            try:
                state = path.stat()
            except FileNotFoundError:
                continue  # it was moved or removed meanwhile
            if path.is_file():
                found.append(StoredFile(path.relative_to(self._root).as_posix(), state.st_size, state.st_mtime))
        return found

    def remove(self, name: str) -> None:
        """See ``Storage``."""
        (self._root / name).unlink(missing_ok=True)


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Give a path to write to, which becomes ``target`` at the end of the block, whole and durably."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(target.name + UNFINISHED)
    try:
        yield temporary
        sync(temporary)
        temporary.rename(target)
    except BaseException:
        temporary.unlink(missing_ok=True)  # on a full disk it would stand in the way of the next try
        raise
    sync(target.parent)
