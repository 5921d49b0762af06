"""What a measurement was made on."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("numpy", "scipy", "scikit-learn", "river")


def machine() -> str:
    """Processor and system, without any name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} cores, {models[0] if models else platform.machine()}, {platform.system()}"


def versions() -> dict[str, str]:
    """Of Python, and of what the figures rest on."""
    return {"Python": platform.python_version()} | {name: version(name) for name in LIBRARIES}
