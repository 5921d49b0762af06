"""One daemon per data folder, kept by a lock that the system drops when its holder dies."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Self

from daemon.transports.errors import DataFolderInUse, DataFolderNotWritable

if TYPE_CHECKING:
    from pathlib import Path


class FolderLock:
    """An exclusive `flock` on a file of the folder, held from `acquire` to `release`.

    The file holds the owner's process id, for the error text of whoever comes second. It is never removed:
    removing a lock file lets two processes hold "the" lock on two different files.
    """

    def __init__(self, folder: Path, descriptor: int) -> None:
        self.folder = folder
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, folder: Path, name: str) -> Self:
        """Make the folder if it is missing, and lock the file `name` in it.

        Raises DataFolderInUse if another process (or another lock of this one) holds it, and
        DataFolderNotWritable if the folder or the file cannot be made.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise DataFolderNotWritable(folder, error.strerror or str(error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(descriptor, 32, 0)
            os.close(descriptor)
            raise DataFolderInUse(folder, int(owner) if owner.strip().isdigit() else None) from error
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        except OSError:
            # a full disk: the lock holds all the same, only the other side cannot name its owner
            pass
        return cls(folder, descriptor)

    def release(self) -> None:
        """Let the next one in; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
