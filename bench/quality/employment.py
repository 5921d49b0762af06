"""employment_ma: a frozen model's real predictions and scores on the American Community Survey, labels apart.

2015 is the reference, 2016 to 2018 are live. The mix of households and group quarters (RELP) changes at live rows
69,126, 133,619 and 143,890, and with it the model's accuracy.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from detectors.columns import Columns, Stream

NAME = "employment_ma"
NO_FEATURES = ("id", "year", "prediction", "predicted_probability", "employed")
CHANGES = (69_126, 133_619, 143_890)


@dataclass(frozen=True)
class Employment:
    """Reference and live rows, with whether each prediction was wrong."""

    reference: pd.DataFrame
    live: pd.DataFrame

    @classmethod
    def read(cls, folder: Path, rows: int | None = None) -> "Employment":
        """Read the files of the data set, or the first ``rows`` of each."""
        reference, live, labels = (
            pd.read_csv(folder / f"{name}.csv.gz", nrows=rows) for name in ("reference", "analysis", "analysis_target")
        )
        return cls(reference, live.merge(labels, on="id"))

    @property
    def features(self) -> list[str]:
        """What the model is given."""
        return [str(name) for name in self.live if name not in NO_FEATURES]


def losses(frame: pd.DataFrame) -> NDArray[np.float64]:
    """1 where the prediction is wrong."""
    return np.asarray((frame.prediction != frame.employed).to_numpy(dtype=np.float64))


def columns(frame: pd.DataFrame) -> Columns:
    """What is known of rows before their labels."""
    values = {f"feature:{name}": frame[name].to_numpy(np.float64) for name in frame if name not in NO_FEATURES}
    values["prediction"] = frame.prediction.astype(str).to_numpy(object)
    values["score"] = frame.predicted_probability.to_numpy(np.float64)
    rows = np.arange(len(frame))
    return Columns(Stream.FEATURES, rows, rows.astype(np.float64), values)
