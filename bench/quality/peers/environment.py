"""Asks a peer that has an environment of its own: its columns in a file, what it says in another."""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.quality.table import NotRun

FOLDER = Path(__file__).resolve().parent
PYTHON = FOLDER.parents[2] / ".venv-peers" / "bin" / "python"
"""The interpreter of the environment that `make peers` makes."""
HANDED_DOWN = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
QUIET = {
    "DO_NOT_TRACK": "1",  # Evidently
    "NML_DISABLE_USAGE_LOGGING": "1",  # NannyML
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
MOST_SECONDS = 3_600
Columns = dict[str, NDArray[Any]]


def ask(peer: str, question: dict[str, Any], **tables: Columns) -> dict[str, Any]:
    """What the script of ``peer`` answers to a question about some tables. Raises NotRun where it has no environment.

    It tells nobody of being used: what these packages would send is switched off.
    """
    if not PYTHON.is_file():
        raise NotRun("make peers")
    with tempfile.TemporaryDirectory(prefix="driftd-bench-") as name:
        folder = Path(name)
        for table, columns in tables.items():
            np.savez(folder / f"{table}.npz", allow_pickle=False, **columns)
        (folder / "question.json").write_text(json.dumps(question), encoding="utf-8")
        environment = {one: os.environ[one] for one in HANDED_DOWN if one in os.environ} | QUIET
        done = subprocess.run(
            [str(PYTHON), "-I", str(FOLDER / f"{peer}_child.py"), str(folder)],
            env=environment | {"HOME": name, "TMPDIR": name, "MPLCONFIGDIR": name},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
            check=False,
        )
        if done.returncode:
            raise NotRun(f"{peer} failed: {done.stderr.strip().splitlines()[-1:]}")
        return dict(json.loads((folder / "answer.json").read_text(encoding="utf-8")))
