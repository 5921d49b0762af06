"""What can go wrong with an event log, named by what the caller has to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class TransportError(Exception):
    """Something about the log of events needs attention."""


class Backlog(TransportError):
    """More events wait to be processed than allowed: slow down and send the same events again later.

    Nothing was written. `retry_after` is how many seconds to wait, from the pace of the last seconds.
    """

    def __init__(self, *, events: int, size: int, retry_after: float) -> None:
        super().__init__(
            f"{events:,} events ({size:,} bytes) wait to be processed, which is more than allowed; "
            f"send again in {retry_after:.0f} s"
        )
        self.retry_after = retry_after


class AppendFailed(TransportError):
    """The events could not be stored: send the same events again, after an operator has looked at the disk.

    Nothing of the append was written. The log goes on working as soon as the disk does.
    """


class LogFull(AppendFailed):
    """The disk is full: free some space and send the same events again. Nothing was written, nothing is lost."""


class NotAcknowledged(AppendFailed):
    """Kafka has not confirmed the events: send the same events again.

    Some or all of them may have been stored; driftd tells a second copy of an event by its id.
    """


class RecordTooLarge(AppendFailed):
    """The topic takes no record as large as this event: have it take them, or send smaller events."""


class LogClosed(TransportError):
    """The log was closed: the daemon is stopping, send the same events to it once it runs again."""


class CannotOpen(TransportError):
    """The log cannot be opened: the daemon must not start until an operator has done what the text says."""


class BrokerUnreachable(CannotOpen):
    """No broker answers: it is started again until one does, or until an operator has done what the text says."""


class DataFolderInUse(CannotOpen):
    """Another daemon works on this data folder: stop it, or give this one a folder of its own."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        owner = "another process" if pid is None else f"process {pid}"
        super().__init__(
            f"the data folder {folder} is in use by {owner}; "
            "stop it, or set DRIFTD_DATA_DIR to another folder for this daemon"
        )
        self.folder = folder
        self.pid = pid


class DataFolderNotWritable(CannotOpen):
    """The data folder cannot be written: give the daemon's user the right to, or name another folder."""

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(
            f"the data folder {folder} cannot be written ({reason}); "
            "make it writable for the user that the daemon runs as, or set DRIFTD_DATA_DIR to another folder"
        )
        self.folder = folder


class LogTooNew(CannotOpen):
    """A newer driftd wrote this log: install that version again, or point this one at another data folder."""

    def __init__(self, path: Path, found: int, known: int) -> None:
        super().__init__(
            f"{path} has format {found}, and this driftd reads formats up to {known}; "
            "install the newer driftd again, or set DRIFTD_DATA_DIR to another folder"
        )


class LogDamaged(CannotOpen):
    """The file is not an event log, or its pages are broken: move it away, or restore a copy."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is not a readable event log ({reason}); move it away, or restore a copy of it")
