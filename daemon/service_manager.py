"""Tells systemd how the daemon is (sd_notify); does nothing where nobody asked."""

import os
import socket
from collections.abc import Mapping


class ServiceManager:
    """The service manager that started this process, if it wants to be told."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET")
        microseconds = environ.get("WATCHDOG_USEC", "")
        self.watchdog_seconds = int(microseconds) / 1e6 if microseconds.isdecimal() else None

    def ready(self, status: str) -> None:
        """The daemon takes events."""
        self._tell(f"READY=1\nSTATUS={status}")

    def waiting(self, status: str, seconds: float) -> None:
        """The daemon cannot start yet, and needs so much more time."""
        self._tell(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}\nSTATUS={status}")

    def alive(self) -> None:
        """The daemon makes progress. To be said only when it does."""
        self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """The daemon is about to end."""
        self._tell("STOPPING=1")

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        # a name that begins with @ is in the abstract namespace
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as one:
            try:
                one.connect(address)
                one.sendall(message.encode())
            except OSError:
                pass  # a manager that is gone cannot be told, and its absence harms nobody
