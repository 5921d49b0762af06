"""Evidently's report on data drift, a chunk at a time, on its defaults: which columns it calls drifted.

Runs in the environment of `make peers`: reads question.json, reference.npz and live.npz in the folder that it is given,
and writes answer.json.
"""

import json
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

warnings.filterwarnings("ignore")


def _is_drifted(value: float, config: dict[str, Any]) -> bool:
    """A p-value is small, a distance large."""
    least = float(config["threshold"])
    return value < least if "p_value" in config["method"] else value >= least


def main(folder: Path) -> None:
    """Answer with the drifted columns of each chunk, and whether the chunk as a whole is called drifted."""
    question = json.loads((folder / "question.json").read_text())
    reference, live = (pd.DataFrame(dict(np.load(folder / f"{name}.npz"))) for name in ("reference", "live"))
    categories = question["categories"]
    definition = DataDefinition(
        numerical_columns=[name for name in reference if name not in categories], categorical_columns=categories
    )
    known = Dataset.from_pandas(reference, data_definition=definition)
    columns, whole = [], []
    began = time.process_time()
    rows = question["chunk_rows"]
    for start in range(0, len(live) - rows + 1, rows):
        chunk = Dataset.from_pandas(live.iloc[start : start + rows], data_definition=definition)
        told = Report([DataDriftPreset()]).run(chunk, known).dict()
        metrics: dict[str, list[Any]] = {"column": [], "drift_share": []}
        for metric in told["metrics"]:
            for kind in metrics.keys() & metric["config"].keys():
                metrics[kind].append(metric)
        drifted = [one["config"]["column"] for one in metrics["column"] if _is_drifted(one["value"], one["config"])]
        (counted,) = metrics["drift_share"]
        if counted["value"]["count"] != len(drifted):
            raise ValueError(f"Evidently counts {counted['value']['count']} drifted columns, and these are {drifted}")
        columns.append(drifted)
        whole.append(counted["value"]["share"] >= counted["config"]["drift_share"])
    seconds = time.process_time() - began
    answer = {"version": version("evidently"), "columns": columns, "whole": whole, "seconds": seconds}
    (folder / "answer.json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
