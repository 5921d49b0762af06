"""Stands in for a training: a child process that does as it is told: ``FOLDER DOES... JOB_FOLDER``."""

import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retrain.registry import Registry

REASONS = {"promote": "gain_proven", "hold": "gain_not_proven", "reject": "worse", "failed": "one_class"}

NINE = ("loans", "9", "champion", "external")


def play(folder: Path, does: Sequence[str], job_folder: Path) -> None:
    """Be the child."""
    number = len(list((folder / "starts").iterdir()))
    (folder / "starts" / str(number)).write_text(str(os.getpid()))
    act = does[min(number, len(does) - 1)]
    job = json.loads((job_folder / "job.json").read_text())
    (job_folder / "result.json").unlink(missing_ok=True)
    print("a trainer may print what it likes")  # noqa: T201
    print(json.dumps({"stage": "dataset", "done": 1.0, "text": "", "rows": 480}))  # noqa: T201
    print(json.dumps({"stage": "train", "done": 0.5, "text": "half"}), flush=True)  # noqa: T201
    if act == "meanwhile":  # somebody else brings another version into service
        act = "promote"
        with sqlite3.connect(folder / "store.db") as store:
            store.execute("update versions set state = 'retired' where state = 'champion'")
            store.execute("insert into versions (model, version, state, origin, created) values (?, ?, ?, ?, 0)", NINE)
    if act == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
    if act == "crash":
        sys.stderr.write("the trouble was this\n")
        os.kill(os.getpid(), signal.SIGKILL)
    if act == "garbage":
        (job_folder / "result.json").write_text("{")
        return
    result: dict[str, Any] = {"outcome": act, "reasons": [REASONS[act]], "message": f"it is to {act}"}
    if act != "failed":
        files = job_folder / "candidate"
        files.mkdir(exist_ok=True)
        (files / "model.txt").write_text(f"made at start {number}")
        registry = Registry(Path(job["registry"]))
        made = {"model": job["model"], "version": job["version"], "job": str(job["job"]), "created": job["cutoff_ts"]}
        manifest = registry.publish(files, **made, details={}, card="")
        result |= {"version": job["version"], "path": str(registry.path(job["model"], job["version"]))}
        result |= {"model_hash": manifest.model_hash, "gain": {"estimate": 0.1, "low": 0.02, "confidence": 0.95}}
        result["reference_error"] = {"n": 3, "mean": 0.2, "values": [0, 0, 1]}
    (job_folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    play(Path(sys.argv[1]), sys.argv[2:-1], Path(sys.argv[-1]))
