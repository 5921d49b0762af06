"""A small archive as the daemon writes it: a model in service that misses half of what decides the label."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from retrain.job import Job

CUTOFF = 2_000_000.0
CLASSES = {"binary": ["0", "1"], "multiclass": ["high", "low", "middle"]}


def make_archive(folder: Path, task: str = "binary", rows: int = 600, *, seed: int = 7, signal: bool = True) -> None:
    """Write ``events.parquet`` and ``labels.parquet``. Without ``signal`` the features say nothing of the label."""
    rng = np.random.default_rng(seed)
    income, age, debt = rng.normal(size=(3, rows))
    region = rng.choice(["north", "south", "west"], rows)
    truth = income + age + (region == "west") + 0.3 * rng.normal(size=rows)
    served = income + 0.3 * rng.normal(size=rows)
    if not signal:
        truth = rng.normal(size=rows)
    score: Any = pa.nulls(rows, pa.float64())
    if task == "regression":
        label, prediction = truth, served
    elif task == "binary":
        label, prediction = (np.array(CLASSES[task])[(value > 0).astype(int)] for value in (truth, served))
        score = 1 / (1 + np.exp(-2 * served))
    else:
        label, prediction = (
            np.array(["low", "middle", "high"])[np.digitize(value, [-0.7, 0.9])] for value in (truth, served)
        )
    ids = [f"row-{row}" for row in range(rows)]
    ts = 1_000_000.0 + np.arange(rows)
    numbers = {"feature:income": income, "feature:age": age, "feature:debt": debt}
    for column in numbers.values():
        column[rng.random(rows) < 0.03] = np.nan
    segments = [json.dumps({"channel": name}) for name in rng.choice(["web", "shop"], rows)]
    events = {
        "row": np.arange(rows),
        "id": ids,
        "ts": ts,
        "version": ["1"] * rows,
        "segment": segments,
        "prediction": prediction,
        "score": score,
        "score_classes": pa.nulls(rows, pa.string()),
        **{name: pa.array(column, from_pandas=True) for name, column in numbers.items()},
        "feature:region": pa.array(region, mask=rng.random(rows) < 0.03),
    }
    pq.write_table(pa.table(events), folder / "events.parquet")
    labels = {"id": ids, "ts": ts + 50, "received": ts + 60, "label": label, "row": np.arange(rows)}
    pq.write_table(pa.table(labels), folder / "labels.parquet")


def make_job(folder: Path, task: str = "binary", **settings: Any) -> Job:
    """A job over the archive in ``folder``; ``settings`` are parts of the job file."""
    files = {"files": [str(folder / "events.parquet")], "labels": [str(folder / "labels.parquet")]}
    job = {
        "job": "job-1",
        "model": "loans",
        "task": task,
        "version": "2",
        "champion": {"version": "1"},
        "cutoff_ts": CUTOFF,
        **settings,
        "dataset": files | settings.get("dataset", {}),
    }
    return msgspec.convert(job, Job, strict=False)


def write_rows(file: Path, **columns: Any) -> str:
    """Write a Parquet file of these columns (``feature_NAME`` for ``feature:NAME``). Returns its path."""
    table = {name.replace("feature_", "feature:"): column for name, column in columns.items()}
    pq.write_table(pa.table(table), file)
    return str(file)
