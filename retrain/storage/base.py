"""The seam for files that outlive a process and that other machines may want: archive, datasets, versions."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

ARCHIVE: Final = "archive"
"""Below it the events, as ``MODEL/KIND-HEX.parquet``."""
MODELS: Final = "models"
"""Below it the versions, as ``MODEL/VERSION/``."""
JOBS: Final = "jobs"
"""Below it what is kept of each retrain: its dataset, the rows of its reference, its picture."""


class StorageError(OSError):
    """The storage does not answer, or not as it should; the text says how, and holds no secret. Try again later."""


class StorageRefused(StorageError):
    """The storage cannot be used as it is set up: correct what the text names. Waiting may not help."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a storage: its name, its size in bytes, and when it was written, in epoch seconds."""

    name: str
    bytes: int
    modified: float


class Storage(Protocol):
    """Files by name, such as ``archive/loans/events-1f.parquet``. Every method may block; none changes a file in part.

    A file that is there is whole. What cannot be done raises StorageError, or for a folder any other OSError; a file
    that is not there raises FileNotFoundError.
    """

    place: str
    """Where it is, as an address that ``open_storage`` takes, without secrets."""
    folder: Path | None
    """The folder that it is, where it is one."""
    environment: Mapping[str, str]
    """What a process that we start needs in its environment to open it; may hold secrets."""

    def check(self) -> None:
        """Return if files can be listed, written, read and removed. Raises StorageError, which says what to type."""
        ...

    def create(self, name: str) -> AbstractContextManager[Any]:
        """Give a sink for pyarrow (``write``, ``tell``); at the end of the block the file is there, durably.

        If the block raises, no file is there.
        """
        ...

    def open(self, name: str) -> Any:
        """Return the file as a source for pyarrow, at any place of which it can read."""
        ...

    def put(self, file: Path, name: str) -> None:
        """Copy a file of this machine into the storage, or replace what is there."""
        ...

    def fetch(self, name: str, file: Path) -> None:
        """Copy a file of the storage to this machine."""
        ...

    def files(self, below: str) -> list[StoredFile]:
        """Return every file whose name begins with ``below/``, unfinished ones of a killed process too."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        ...
