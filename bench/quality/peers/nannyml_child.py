"""NannyML on its defaults, a chunk at a time: which columns it calls drifted, and how good it thinks the model is.

Runs in the environment of `make peers`: reads question.json, reference.npz and live.npz in the folder that it is given,
and writes answer.json.
"""

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import nannyml
import numpy as np
import pandas as pd

warnings.filterwarnings("ignore")


def drift(question: dict[str, Any], reference: pd.DataFrame, live: pd.DataFrame) -> dict[str, Any]:
    """The columns that are called drifted, each by itself, chunk by chunk."""
    calculator = nannyml.UnivariateDriftCalculator(
        column_names=list(reference), treat_as_categorical=question["categories"], chunk_size=question["chunk_rows"]
    )
    found = calculator.fit(reference).calculate(live).filter(period="analysis").to_df()
    alerts = {name: found[name].xs("alert", axis=1, level=-1).any(axis=1) for name in reference}
    return {"columns": [[name for name in reference if alerts[name].iloc[i]] for i in range(len(found))]}


def accuracy(question: dict[str, Any], reference: pd.DataFrame, live: pd.DataFrame) -> dict[str, Any]:
    """Confidence-based estimates of the accuracy (CBPE), and their sampling errors."""
    estimator = nannyml.CBPE(
        y_pred_proba="score",
        y_pred="prediction",
        y_true="label",
        problem_type="classification_binary",
        metrics=["accuracy"],
        chunk_size=question["chunk_rows"],
    )
    found = estimator.fit(reference).estimate(live).filter(period="analysis").to_df()["accuracy"]
    return {"values": found["value"].tolist(), "errors": found["sampling_error"].tolist()}


def absolute_error(question: dict[str, Any], reference: pd.DataFrame, live: pd.DataFrame) -> dict[str, Any]:
    """Direct estimates of the mean absolute error (DLE), and their sampling errors."""
    estimator = nannyml.DLE(
        feature_column_names=[name for name in reference if name not in ("prediction", "label")],
        y_pred="prediction",
        y_true="label",
        metrics=["mae"],
        chunk_size=question["chunk_rows"],
    )
    found = estimator.fit(reference).estimate(live).filter(period="analysis").to_df()["mae"]
    return {"values": found["value"].tolist(), "errors": found["sampling_error"].tolist()}


def main(folder: Path) -> None:
    """Answer the question."""
    question = json.loads((folder / "question.json").read_text())
    reference, live = (pd.DataFrame(dict(np.load(folder / f"{name}.npz"))) for name in ("reference", "live"))
    asked = {"drift": drift, "accuracy": accuracy, "absolute_error": absolute_error}
    began = time.process_time()
    answer = asked[question["ask"]](question, reference, live)
    seconds = time.process_time() - began
    (folder / "answer.json").write_text(json.dumps(answer | {"version": nannyml.__version__, "seconds": seconds}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
