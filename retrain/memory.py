"""How much memory processes take, and a limit on it that is kept by looking.

RLIMIT_AS and RLIMIT_DATA would be kept by the kernel, but libraries do not survive it: OpenBLAS asks for ever for the
memory that it was refused, and Arrow waits for ever for a thread that could not be made. So the limit is kept by
whoever watches, and the kernel only refuses what is far beyond it.
"""

import os
import resource
import sys
from pathlib import Path
from typing import Final

MIB: Final = 1024 * 1024
MARGIN_MIB: Final = 1024
"""Beyond the limit, from where on the kernel refuses: one absurd allocation fails at once and is told as such."""


def refuse_absurd(memory_mb: int) -> None:
    """Let the kernel refuse what is far beyond ``memory_mb``, here and in every command that is run from here.

    Linux counts private writable memory against RLIMIT_DATA. macOS knows the limit and refuses to set it.
    """
    if sys.platform == "linux":
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        size = (memory_mb + MARGIN_MIB) * MIB
        if hard == resource.RLIM_INFINITY or size < hard:
            resource.setrlimit(resource.RLIMIT_DATA, (size, hard))


def private_bytes(process: int | str = "self") -> int:
    """What a process has in memory or swapped out and shares with no file; 0 where that is not told."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon:", "VmSwap:")))


def group_private_bytes(group: int) -> int:
    """The same for all processes of a group."""
    total = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(entry.name)) == group:
                total += private_bytes(entry.name)
        except (ProcessLookupError, PermissionError):
            continue
    return total
